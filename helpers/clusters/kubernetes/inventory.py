"""What the tutorial has in a namespace, found by its label, and its removal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from kubernetes import dynamic
from kubernetes.dynamic.exceptions import ForbiddenError, NotFoundError, ResourceNotFoundError

from helpers.clusters.kubernetes.problems import translated
from helpers.clusters.kubernetes.render import MANAGER, OWNED, SELECTOR, Resource
from helpers.errors import ClusterError

# In the order of deletion: what makes pods goes before the pods.
_KINDS = (
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "ServiceAccount"),
)
# Superseded ConfigMaps stay until `delete`: replicas of an older revision still mount them.
_PRUNED = ("HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Service")
# What makes pods, and so mounts Secrets. A revision that can be gone back to is a ReplicaSet.
_MOUNTING = ("Deployment", "ReplicaSet", "Job")


class Inventory:
    """The resources of one namespace that carry our label.

    Args:
        api: the dynamic client.
        context: for errors to name.
        namespace: the only place where anything is ever deleted.
    """

    def __init__(self, api: dynamic.DynamicClient, context: str, namespace: str) -> None:
        self._api = api
        self._context = context
        self._namespace = namespace

    def lines(self) -> list[str]:
        """What is there, a line each: `Deployment inception-tutorial/inception`."""
        with translated("what is left can't be listed", context=self._context):
            found = [
                f"{kind} {self._namespace}/{item.metadata.name}"
                for _, kind, items in self._all()
                for item in items
            ]
            if self._our_namespace() is not None:
                found.append(f"Namespace {self._namespace}")
        return found

    def prune(self, wanted: Sequence[Resource]) -> None:
        """Deletes what an earlier `apply` made and this one doesn't have."""
        keep = {(resource["kind"], resource["metadata"]["name"]) for resource in wanted}
        with translated("what is no longer wanted can't be deleted", context=self._context):
            for api, kind, items in self._all(_PRUNED):
                for item in items:
                    if (kind, item.metadata.name) not in keep:
                        self._delete(api, item.metadata.name)
            self._prune_secrets(keep)

    def _prune_secrets(self, keep: Collection[tuple[str, str]]) -> None:
        """Deletes our Secrets, which may hold private keys, that no revision mounts any more."""
        ours = {
            item.metadata.name: api
            for api, kind, items in self._all(("Secret",))
            for item in items
            if (kind, item.metadata.name) not in keep
        }
        if not ours:
            return
        mounting = {kind: items for _, kind, items in self._all(_MOUNTING)}
        if set(mounting) != set(_MOUNTING):
            return  # who may not see what mounts them can't tell
        for item in (item for items in mounting.values() for item in items):
            volumes = item.to_dict()["spec"]["template"]["spec"].get("volumes") or ()
            for volume in volumes:
                ours.pop(volume.get("secret", {}).get("secretName"), None)
        for name, api in ours.items():
            self._delete(api, name)

    def delete(self, *, timeout_s: float = 180) -> None:
        """Deletes it all and waits until it is gone.

        Raises:
            ClusterError: something is still there after that time.
        """
        deadline = time.monotonic() + timeout_s
        with translated("it can't be deleted", context=self._context):
            for api, _, items in self._all():
                for item in items:
                    self._delete(api, item.metadata.name)
            if self._our_namespace() is not None:
                self._delete(self._api.resources.get(api_version="v1", kind="Namespace"))
        while left := self.lines():
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{len(left)} things are still there {timeout_s:g} s after they were deleted",
                    cause=", ".join(left[:5]),
                    next_step="A finalizer may hold them: `kubectl describe` says which.",
                )
            time.sleep(0.5)

    def _all(self, kinds: Iterable[str] = ()) -> Iterator[tuple[Any, str, list[Any]]]:
        for version, kind in _KINDS:
            if kinds and kind not in kinds:
                continue
            try:
                api = self._api.resources.get(api_version=version, kind=kind)
                found = api.get(namespace=self._namespace, label_selector=SELECTOR)
            except (ForbiddenError, ResourceNotFoundError):
                continue  # what we may not even list, we did not make
            yield api, kind, list(found.items)

    def _our_namespace(self) -> Any | None:
        api = self._api.resources.get(api_version="v1", kind="Namespace")
        try:
            found = api.get(name=self._namespace)
        except (NotFoundError, ForbiddenError):
            return None
        return found if dict(found.metadata.labels or {}).get(OWNED) == MANAGER else None

    def _delete(self, api: Any, name: str | None = None) -> None:
        with contextlib.suppress(NotFoundError):  # it went with what owned it
            api.delete(
                name=name or self._namespace,
                namespace=self._namespace if name else None,
                body={"propagationPolicy": "Background"},
            )
