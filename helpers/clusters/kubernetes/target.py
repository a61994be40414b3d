"""The `kubernetes` target: replicas are pods of the cluster that a kubeconfig context names."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from kubernetes import client, watch
from kubernetes.dynamic.exceptions import ConflictError

from helpers import settings
from helpers.clusters import metrics
from helpers.clusters.interface import BASE, Pod, Pods
from helpers.clusters.kubernetes import connection, problems, render, rollout, timeline
from helpers.clusters.kubernetes.forward import Forward, reachable
from helpers.clusters.kubernetes.inventory import Inventory
from helpers.clusters.kubernetes.problems import translated
from helpers.clusters.progress import Line
from helpers.errors import ClusterError, NotReadyError

NAMESPACE = "inception-tutorial"
_TIMEOUT_S = 30  # of one call of the API
_METRICS = "monitoring/prometheus/metrics"
_RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


class KubernetesCluster:
    """A namespace of a Kubernetes cluster, behind the interface that `local` has too.

    Everything that it makes carries its label and its field manager's name, and only what carries
    the label is ever deleted.

    Args:
        models: not used: the model is in the image.
        context: the kubeconfig context; None for the environment's `TUTORIAL_CONTEXT`.
        namespace: None for `TUTORIAL_NAMESPACE`, else `inception-tutorial`. It is made if it isn't
            there, with the Pod Security Standard *restricted*, and deleted only if made.
        kubeconfig: the file; None for `$KUBECONFIG` or `~/.kube/config`.
        overlay: a folder of `manifests/overlays/` that `apply` takes in the place of the base; None
            for `TUTORIAL_OVERLAY`.
        confirmed: use the context although it isn't on the list in `contexts.txt`.

    Raises:
        SetupError: no context was named, it may not be used, or its credentials don't work.
        ClusterError: its API server doesn't answer.
    """

    target = "kubernetes"
    limitations: Mapping[str, str] = {}

    def __init__(
        self,
        models: Path = settings.MODELS,
        *,
        context: str | None = None,
        namespace: str | None = None,
        kubeconfig: str | Path | None = None,
        overlay: str | None = None,
        confirmed: bool = False,
    ) -> None:
        del models
        file = str(kubeconfig) if kubeconfig else None
        self.context = connection.choose_context(context, kubeconfig=file, confirmed=confirmed)
        self.namespace = namespace or os.environ.get("TUTORIAL_NAMESPACE") or NAMESPACE
        overlay = overlay or os.environ.get("TUTORIAL_OVERLAY")
        self.manifests = settings.MANIFESTS / "overlays" / overlay if overlay else BASE
        self.api = connection.connect_api(self.context, kubeconfig=file)
        self._dynamic = connection.dynamic_client(self.api, self.context)
        self._core, self._apps = client.CoreV1Api(self.api), client.AppsV1Api(self.api)
        self.inventory = Inventory(self._dynamic, self.context, self.namespace)
        self._options = [f"--context={self.context}", f"--namespace={self.namespace}"]
        self._options += [f"--kubeconfig={file}"] if file else []
        self._forwards: dict[str, Forward] = {}
        self._direct: bool | None = None  # whether this machine reaches the pods' own addresses

    def apply(
        self, manifests: Path = BASE, *, replicas: int | None = None, args: Sequence[str] = ()
    ) -> None:
        """Makes the manifests so, by server-side apply. See `interface.Cluster.apply`."""
        folder = Path(self.manifests if manifests == BASE else manifests).resolve()
        rendered = render.render(folder)
        self._ensure_namespace()
        wanted = render.prepare(rendered, namespace=self.namespace, replicas=replicas, args=args)
        for resource in wanted:
            self.apply_resource(resource, folder)
        self.inventory.prune(wanted)

    def apply_resource(self, resource: render.Resource, folder: Path = BASE) -> None:
        """Applies one resource, with the file that it came from for errors to name.

        Raises:
            ManifestError: the API server refuses it.
            ClusterError: it can't be applied for another reason.
        """
        what = f"{resource['kind']} {resource['metadata']['name']}"
        manifest = render.origin(resource, folder)
        with translated(f"{what} can't be applied", context=self.context, manifest=manifest):
            api = self._dynamic.resources.get(
                api_version=resource["apiVersion"], kind=resource["kind"]
            )
            options = {"field_manager": render.MANAGER, "_request_timeout": _TIMEOUT_S}
            try:
                api.server_side_apply(body=resource, namespace=self.namespace, **options)
            except ConflictError as error:
                # `scale` changes a field that `apply` owns too; anybody else's change stays.
                if problems.conflicting_managers(error) - {render.MANAGER}:
                    raise
                options["force_conflicts"] = True
                api.server_side_apply(body=resource, namespace=self.namespace, **options)

    def scale(self, replicas: int) -> None:
        """Asks for another number of replicas. See `interface.Cluster.scale`."""
        if replicas < 0:
            raise ClusterError(
                f"there can't be {replicas} replicas", next_step="Ask for 0 or more."
            )
        with translated(f"{render.DEPLOYMENT} can't be scaled", context=self.context):
            self._apps.patch_namespaced_deployment_scale(
                render.DEPLOYMENT,
                self.namespace,
                {"spec": {"replicas": replicas}},
                field_manager=render.MANAGER,
                _request_timeout=_TIMEOUT_S,
            )

    def wait_until_ready(self, timeout_s: float = 300) -> Pods:
        """Waits until the roll-out is complete. See `interface.Cluster.wait_until_ready`."""
        line, start = Line(), time.monotonic()
        try:
            while True:
                state = self.progress()
                if state.done:
                    return self.pods()
                if state.stuck:
                    raise rollout.failure(state, render.DEPLOYMENT, self._last_words())
                left_s = start + timeout_s - time.monotonic()
                line.show(
                    f"{state.ready} of {state.wanted} replicas ready"
                    + (f", {state.others} coming or going" if state.others else "")
                    + f" … {time.monotonic() - start:.0f} s"
                )
                if left_s <= 0:
                    raise self._late(state, timeout_s)
                self._await_change(min(left_s, 2.0))
        finally:
            line.end()

    def progress(self) -> rollout.Rollout:
        """Where the Deployment is now."""
        with translated(f"{render.DEPLOYMENT} can't be read", context=self.context):
            deployment = self._apps.read_namespaced_deployment(
                render.DEPLOYMENT, self.namespace, _request_timeout=_TIMEOUT_S
            )
            events = self._core.list_namespaced_event(
                self.namespace,
                field_selector="reason=TriggeredScaleUp",
                _request_timeout=_TIMEOUT_S,
            )
        return rollout.judge(deployment, self._pods(), events.items)

    def pods(self) -> Pods:
        """The replicas as they are now."""
        return rollout.table(self._pods())

    @property
    def load_balancer(self) -> str:
        """`host:port` of the Service's gRPC port; a forwarded port where it has no address."""
        return self._service(settings.GRPC_PORT)

    @property
    def rest_load_balancer(self) -> str:
        """`host:port` of the Service's REST port."""
        return self._service(settings.REST_PORT)

    def addresses(self) -> list[str]:
        """The ready replicas' gRPC addresses: their own where this machine reaches them."""
        ready = [pod for pod in self.pods() if pod.ready]
        if self._direct is None and ready:
            self._direct = reachable(ready[0].address)
        if self._direct:
            return [pod.address for pod in ready]
        return [self._forwarded(f"pod/{pod.name}", settings.GRPC_PORT) for pod in ready]

    def request_counts(self) -> dict[str, int]:
        """Requests answered by each ready replica. See `interface.Cluster.request_counts`.

        Asked through the API server, so that no pod has to be reachable from here.
        """
        counts = {}
        for pod in self.pods():
            if pod.ready:
                with translated(f"{pod.name} gives no metrics", context=self.context):
                    text = self._core.connect_get_namespaced_pod_proxy_with_path(
                        f"{pod.name}:{settings.REST_PORT}",
                        self.namespace,
                        _METRICS,
                        _preload_content=False,
                        _request_timeout=_TIMEOUT_S,
                    ).data.decode()
                counts[pod.name] = metrics.count(text)
        return counts

    def logs(self, pod: str | Pod) -> str:
        """What a replica has written so far; of one that crashed, its last words."""
        name = pod.name if isinstance(pod, Pod) else pod
        with translated(f"the log of {name} can't be read", context=self.context):
            text = self._log(name)
            return text or self._log(name, previous=True)

    def events(self) -> list[timeline.Event]:
        """What the namespace's events say, oldest first."""
        with translated("the events can't be read", context=self.context):
            found = self._core.list_namespaced_event(self.namespace, _request_timeout=_TIMEOUT_S)
        return timeline.events(found.items)

    def starts(self) -> list[timeline.Start]:
        """How each ready replica came up."""
        events = self.events()
        starts = (timeline.start_of(pod, events) for pod in self._pods())
        return [start for start in starts if start is not None]

    def delete(self) -> None:
        """Removes all that carries our label, and the namespace if it was made here."""
        self._close_forwards()
        self.inventory.delete()

    def leftovers(self) -> list[str]:
        """What carries our label and is still there, a line each."""
        return self.inventory.lines()

    def close(self) -> None:
        """Ends the connection and the forwarded ports; the replicas go on. May be called again."""
        self._close_forwards()
        self.api.close()

    def __enter__(self) -> KubernetesCluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ensure_namespace(self) -> None:
        doing = f"the namespace {self.namespace} can't be used"
        with translated(doing, context=self.context):
            try:
                self._core.read_namespace(self.namespace, _request_timeout=_TIMEOUT_S)
                return
            except client.ApiException as error:
                if error.status == 403:  # it may well be there: a learner's role is inside of it
                    return
                if error.status != 404:
                    raise
            labels = {render.OWNED: render.MANAGER, **_RESTRICTED}
            body = {"metadata": {"name": self.namespace, "labels": labels}}
            self._core.create_namespace(
                body, field_manager=render.MANAGER, _request_timeout=_TIMEOUT_S
            )

    def _pods(self) -> list[Any]:
        with translated("the pods can't be listed", context=self.context):
            found = self._core.list_namespaced_pod(
                self.namespace,
                label_selector=f"app.kubernetes.io/name={render.DEPLOYMENT}",
                _request_timeout=_TIMEOUT_S,
            )
        return list(found.items)

    def _await_change(self, timeout_s: float) -> None:
        """Until a pod changes, or the time is over."""
        watched = watch.Watch()
        with translated("the pods can't be watched", context=self.context):
            version = self._core.list_namespaced_pod(
                self.namespace, limit=1, _request_timeout=_TIMEOUT_S
            ).metadata.resource_version
            stream = watched.stream(
                self._core.list_namespaced_pod,
                self.namespace,
                resource_version=version,
                timeout_seconds=max(int(timeout_s), 1),
                _request_timeout=timeout_s + 10,
            )
            for _ in stream:
                watched.stop()

    def _late(self, state: rollout.Rollout, timeout_s: float) -> NotReadyError:
        reasons = [f"{p.name} is {p.status} {p.reason}".strip() for p in self.pods() if not p.ready]
        words = self._last_words()
        tail = " / ".join(words.strip().splitlines()[-3:])
        return NotReadyError(
            f"{render.DEPLOYMENT} had {state.ready} of {state.wanted} replicas ready after "
            f"{timeout_s:g} s",
            cause="; ".join(reasons) + (f"; its log ends: {tail}" if tail else ""),
            next_step="Read `logs()` and `events()`; allow more time (timeout_s) if it only starts "
            "slowly.",
        )

    def _last_words(self) -> str:
        """The log of a replica that isn't ready; of one that crashed, from before it did."""
        for pod in self._pods():
            statuses = pod.status.container_statuses or []
            if statuses and not statuses[0].ready and pod.metadata.deletion_timestamp is None:
                return self._log(pod.metadata.name, previous=bool(statuses[0].restart_count))
        return ""

    def _log(self, name: str, *, previous: bool = False) -> str:
        try:
            answer = self._core.read_namespaced_pod_log(
                name,
                self.namespace,
                previous=previous,
                _preload_content=False,  # the client would turn JSON and quotes into Python's
                _request_timeout=_TIMEOUT_S,
            )
        except client.ApiException as error:
            if error.status == 400:  # the container hasn't started, or not twice
                return ""
            raise
        return str(answer.data.decode(errors="replace"))

    def _service(self, port: int) -> str:
        doing = f"the Service {render.DEPLOYMENT} can't be read"
        with translated(doing, context=self.context):
            service = self._core.read_namespaced_service(
                render.DEPLOYMENT, self.namespace, _request_timeout=_TIMEOUT_S
            )
        balancer = service.status.load_balancer
        ingress = (balancer.ingress if balancer else None) or []
        if ingress:
            return f"{ingress[0].ip or ingress[0].hostname}:{port}"
        return self._forwarded(f"service/{render.DEPLOYMENT}", port)

    def _forwarded(self, what: str, port: int) -> str:
        key = f"{what}:{port}"
        known = self._forwards.get(key)
        if known is None or not known.alive:
            self._forwards[key] = Forward(what, port, self._options)
        return self._forwards[key].address

    def _close_forwards(self) -> None:
        while self._forwards:
            self._forwards.popitem()[1].close()
