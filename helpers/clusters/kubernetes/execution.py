"""A command run in a replica's container, as `kubectl exec` does."""

from __future__ import annotations

from collections.abc import Sequence

from kubernetes import client
from kubernetes.stream import stream
from websocket import WebSocketException

from helpers.clusters.kubernetes.problems import translated
from helpers.clusters.kubernetes.target import KubernetesCluster
from helpers.errors import ClusterError

_TIMEOUT_S = 30


def run(cluster: KubernetesCluster, pod: str, command: Sequence[str]) -> str:
    """Runs a command in a pod's container and returns what it wrote.

    Args:
        cluster: where the pod is.
        pod: its name.
        command: a program of the image, and its arguments.

    Raises:
        ClusterError: it can't be run.
    """
    doing = f"`{' '.join(command)}` can't be run in {pod}"
    # `stream` puts a method of its own into the client that it is given, so it gets one to itself.
    core = client.CoreV1Api(client.ApiClient(cluster.api.configuration))
    try:
        with translated(doing, context=cluster.context):
            answer = stream(
                core.connect_get_namespaced_pod_exec,
                pod,
                cluster.namespace,
                command=list(command),
                stdout=True,
                stderr=True,
                stdin=False,
                tty=False,
                _request_timeout=_TIMEOUT_S,
            )
    except WebSocketException as error:
        raise ClusterError(
            doing, cause=str(error), next_step="See whether the pod runs: `pods()`."
        ) from error
    return str(answer)
