"""One load test, from where the replicas are: this machine, or inside the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from helpers import load, photos, stats
from helpers.clusters.interface import Cluster

if TYPE_CHECKING:
    from helpers.clusters.kubernetes import KubernetesCluster

Through = Literal["service", "replicas"]


@dataclass(frozen=True)
class Result:
    """What a load test found, and which replica did the work.

    Args:
        summary: throughput, failures and latencies, of all generators together.
        requests: how many requests each replica answered, the warm-up included, by pod; from the
            servers' own metrics, before and after.
        problems: why the figures can't be trusted, if they can't.
    """

    summary: stats.Summary
    requests: Mapping[str, int]
    problems: tuple[str, ...] = ()

    @property
    def busiest_share(self) -> float:
        """The part of all requests that the busiest replica answered: 1.0 is pinning."""
        return max(self.requests.values(), default=0) / max(sum(self.requests.values()), 1)

    @property
    def imbalance(self) -> float:
        """How far the furthest replica is from the mean, as a share of the mean."""
        mean = sum(self.requests.values()) / max(len(self.requests), 1)
        return max((abs(n - mean) for n in self.requests.values()), default=0.0) / max(mean, 1)

    def __repr__(self) -> str:
        failed = ", ".join(f"{n} {code}" for code, n in self.summary.failures.items()) or "none"
        by_pod = ", ".join(f"{pod}: {count}" for pod, count in self.requests.items())
        invalid = "".join(f"\nnot valid: {problem}" for problem in self.problems)
        return (
            f"{self.summary.images_per_s:.4g} images/s, median {self.summary.latency['p50']}, "
            f"failures: {failed}\nrequests by replica: {by_pod}{invalid}"
        )


def run(
    cluster: Cluster,
    through: Through = "replicas",
    *,
    channels: int = 1,
    concurrency: int = 8,
    duration_s: float = 10,
    warmup_s: float = 2,
    generators: int = 1,
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

    Raises:
        LoadError: a generator failed.
    """
    options: dict[str, Any] = {
        "channels": channels,
        "concurrency": concurrency,
        "duration_s": duration_s,
        "warmup_s": warmup_s,
    }
    if cluster.target == "kubernetes":
        from helpers.clusters.kubernetes import loadtest

        inside = cast("KubernetesCluster", cluster)
        return loadtest.start(inside, through, generators=generators, **options).result()
    options |= {"concurrency": concurrency * generators, "processes": generators}
    address = [cluster.load_balancer] if through == "service" else cluster.addresses()
    before = cluster.request_counts()
    done = load.closed_loop(address, photos.samples(), **options)
    return Result(done.summary(), difference(cluster.request_counts(), before), done.problems)


def difference(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """Requests since `before`, by pod; of a server that was restarted meanwhile, all it has."""
    return {
        pod: count - before.get(pod, 0) if count >= before.get(pod, 0) else count
        for pod, count in after.items()
    }
