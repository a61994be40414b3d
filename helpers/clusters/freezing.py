"""A replica that neither answers nor ends: what probes are for."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, cast

from helpers.clusters.interface import Cluster, Pod
from helpers.errors import ClusterError

if TYPE_CHECKING:
    from helpers.clusters.kubernetes import KubernetesCluster


def freeze(cluster: Cluster, pod: Pod) -> None:
    """Stops a replica's server in the middle of what it does (SIGSTOP), without ending it.

    Args:
        cluster: where it runs.
        pod: one of `cluster.pods()`.

    Raises:
        ClusterError: it can't be reached.
    """
    if cluster.target == "kubernetes":
        from helpers.clusters.kubernetes import execution

        # To all that this user may signal, but the shell itself: in the pod that is the server.
        inside = cast("KubernetesCluster", cluster)
        execution.run(inside, pod.name, ["sh", "-c", "kill -s STOP -- -1"])
        return
    try:
        if pod.pid is None:
            raise ProcessLookupError("it has no process")
        os.kill(pod.pid, signal.SIGSTOP)
    except OSError as error:
        raise ClusterError(
            f"{pod.name} can't be stopped",
            cause=str(error),
            next_step="See which replicas run: `pods()`.",
        ) from error
