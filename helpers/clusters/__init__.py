"""Where replicas of the model server run: this machine, or a Kubernetes cluster.

    with connect("local") as cluster:
        cluster.apply(replicas=2)
        cluster.wait_until_ready()
        …  # ask cluster.load_balancer

`interface` says what every target offers; `local` does it with processes and `kubernetes` with
pods. Both read the same manifests: `manifest` reads a Deployment (`schema` checks it, `patches`
change it) and `arguments` makes command lines of it. `diagnosis` finds the words when a replica
doesn't become ready, `loadtest` sends load from where the replicas are, `gke` rents a cluster, and
`cleanup` finds what any of them left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers import settings
from helpers.clusters.interface import Cluster, Pod, Pods, Start
from helpers.errors import SetupError

__all__ = ["Cluster", "Pod", "Pods", "Start", "connect"]

TARGETS = {
    "local": "replicas are processes on this machine; needs nothing else",
    "kubernetes": "replicas are pods of a cluster that a kubeconfig context names",
}


def connect(
    target: str = "local",
    *,
    models: Path = settings.MODELS,
    context: str | None = None,
    namespace: str | None = None,
    overlay: str | None = None,
    **options: Any,
) -> Cluster:
    """Connects to a target; on `local`, this starts its supervisor.

    Use it in a `with` block, or call `close()`; whatever happens to this process, the replicas of
    the local target don't outlive it.

    Args:
        target: `local` or `kubernetes`.
        models: the directory of models, which a container sees as `/models`.
        context: of the kubeconfig; `kubernetes` wants it named, here or in the environment's
            `TUTORIAL_CONTEXT`. `local` has no use for these three, so that a notebook can hand on
            its parameters whatever its target.
        namespace: in that cluster; None for `TUTORIAL_NAMESPACE`, else `inception-tutorial`.
        overlay: a folder of `manifests/overlays/`; None for `TUTORIAL_OVERLAY`, else what
            `kubernetes/contexts.txt` has for the context.
        options: of the target. `local`: `port` and `rest_port`, the load balancer's (0: free
            ones), and `logs`, a directory. `kubernetes`: `kubeconfig` and `confirmed`; see
            `kubernetes.KubernetesCluster`.

    Raises:
        SetupError: there is no such target, or something that it needs is missing.
        ClusterError: it can't be reached or started.
    """
    if target == "local":
        from helpers.clusters.local import LocalCluster

        return LocalCluster(models, **options)
    if target == "kubernetes":
        from helpers.clusters.kubernetes import KubernetesCluster

        return KubernetesCluster(
            models, context=context, namespace=namespace, overlay=overlay, **options
        )
    raise no_target(target)


def no_target(name: str) -> SetupError:
    """The error for a target that there isn't."""
    return SetupError(
        f"there is no target {name!r}",
        cause="there are " + ", ".join(f"{name!r} ({what})" for name, what in TARGETS.items()),
        next_step="Correct the name; 'local' needs nothing.",
    )
