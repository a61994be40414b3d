"""One load test, from where the replicas are: this machine, or inside the cluster."""

from __future__ import annotations

from typing import Any, cast

from helpers import load, photos
from helpers.clusters.interface import Cluster
from helpers.clusters.load_result import Result, Through, difference
from helpers.errors import LoadError

__all__ = ["Result", "Through", "run"]


def run(
    cluster: Cluster,
    through: Through = "replicas",
    *,
    channels: int = 1,
    concurrency: int = 8,
    duration_s: float = 10,
    warmup_s: float = 2,
    generators: int = 1,
    only: int | None = None,
) -> Result:
    """Keeps requests in flight for a while, and counts who answered them.

    Args:
        cluster: with replicas that are ready. On `local` the generator is a process of this
            machine; on `kubernetes` it is a Job in the cluster, see `kubernetes.loadtest`.
        through: `service` asks the Service's one address, as most clients do; `replicas` opens a
            connection to each replica and takes them in turns (`round_robin`).
        channels: connections to each address, of each generator.
        concurrency: requests in flight, of each generator.
        duration_s: seconds that are measured.
        warmup_s: seconds of the same load before.
        generators: pods (or processes) that put load on the replicas at once.
        only: of `replicas`, the first so many; the others stay idle. None for all.

    Raises:
        LoadError: a generator failed, or there are fewer ready replicas than that.
    """
    options: dict[str, Any] = {
        "channels": channels,
        "concurrency": concurrency,
        "duration_s": duration_s,
        "warmup_s": warmup_s,
    }
    if only is not None and not 0 < only <= sum(pod.ready for pod in cluster.pods()):
        raise LoadError(
            f"Load can't be put on {only} replicas",
            cause=f"{sum(pod.ready for pod in cluster.pods())} are ready",
            next_step="Scale up first, and wait until they are ready.",
        )
    if cluster.target == "kubernetes":
        from helpers.clusters.kubernetes import KubernetesCluster, loadtest

        inside = cast(KubernetesCluster, cluster)
        return loadtest.start(inside, through, generators=generators, only=only, **options).result()
    options |= {"concurrency": concurrency * generators, "processes": generators}
    address = [cluster.load_balancer] if through == "service" else cluster.addresses()[:only]
    before = cluster.request_counts()
    done = load.closed_loop(address, photos.samples(), **options)
    return Result(done.summary(), difference(cluster.request_counts(), before), done.problems)
