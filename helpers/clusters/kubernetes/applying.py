"""Resources made so by server-side apply, under a field manager of our own."""

from __future__ import annotations

from pathlib import Path

from kubernetes import client, dynamic
from kubernetes.dynamic.exceptions import ConflictError

from helpers.clusters.interface import BASE
from helpers.clusters.kubernetes import problems, render
from helpers.clusters.kubernetes.problems import translated

_AUTOSCALER = "kube-controller-manager"  # the HorizontalPodAutoscaler's controller is part of it
_RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


class Applier:
    """Applies resources in one namespace.

    Args:
        api: the dynamic client.
        core: the same connection's client for Namespaces.
        context: for errors to name.
        namespace: where the resources go.
    """

    def __init__(
        self, api: dynamic.DynamicClient, core: client.CoreV1Api, context: str, namespace: str
    ) -> None:
        self._api, self._core = api, core
        self._context, self._namespace = context, namespace

    def ensure_namespace(self) -> None:
        """Makes the namespace if it isn't there, with the Pod Security Standard *restricted*.

        Raises:
            ClusterError: it can't be read or made.
        """
        doing = f"the namespace {self._namespace} can't be used"
        with translated(doing, context=self._context):
            try:
                self._core.read_namespace(self._namespace)
                return
            except client.ApiException as error:
                if error.status == 403:  # it may well be there: a learner's role is inside of it
                    return
                if error.status != 404:
                    raise
            labels = {render.OWNED: render.MANAGER, **_RESTRICTED}
            body = {"metadata": {"name": self._namespace, "labels": labels}}
            self._core.create_namespace(body, field_manager=render.MANAGER)

    def apply(self, resource: render.Resource, folder: Path = BASE) -> None:
        """Applies one resource.

        Args:
            resource: in the namespace and with our label, as `render.prepare` leaves it.
            folder: the manifests that it came from, for errors to name the file.

        Raises:
            ManifestError: the API server refuses it.
            ClusterError: it can't be applied for another reason.
        """
        what = f"{resource['kind']} {resource['metadata']['name']}"
        manifest = render.origin(resource, folder)
        with translated(f"{what} can't be applied", context=self._context, manifest=manifest):
            api = self._api.resources.get(api_version=resource["apiVersion"], kind=resource["kind"])
            options = {"namespace": self._namespace, "field_manager": render.MANAGER}
            try:
                api.server_side_apply(body=resource, **options)
            except ConflictError as error:
                # `scale` and our autoscaler change a field that `apply` owns too; anybody else's
                # change stays.
                if problems.conflicting_managers(error) - {render.MANAGER, _AUTOSCALER}:
                    raise
                api.server_side_apply(body=resource, force_conflicts=True, **options)
