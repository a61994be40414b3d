"""What a load test found, wherever it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from helpers import stats

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
    def shares(self) -> dict[str, float]:
        """The part of all requests that each replica answered, by pod."""
        total = max(sum(self.requests.values()), 1)
        return {pod: count / total for pod, count in self.requests.items()}

    @property
    def busiest_share(self) -> float:
        """The part of all requests that the busiest replica answered: 1.0 is pinning."""
        return max(self.shares.values(), default=0.0)

    @property
    def imbalance(self) -> float:
        """How far the furthest replica is from the mean, as a share of the mean."""
        mean = sum(self.requests.values()) / max(len(self.requests), 1)
        return max((abs(n - mean) for n in self.requests.values()), default=0.0) / max(mean, 1)

    def __repr__(self) -> str:
        failed = ", ".join(f"{n} {code}" for code, n in self.summary.failures.items()) or "none"
        by_pod = ", ".join(f"{pod}: {count}" for pod, count in self.requests.items())
        invalid = "".join(f"\nnot valid: {problem}" for problem in self.problems)
        speed = stats.short(self.summary.images_per_s)
        return (
            f"{speed} images/s, median {self.summary.latency['p50']}, "
            f"failures: {failed}\nrequests by replica: {by_pod}{invalid}"
        )


def difference(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """Requests since `before`, by pod; of a server that was restarted meanwhile, all it has."""
    return {
        pod: count - before.get(pod, 0) if count >= before.get(pod, 0) else count
        for pod, count in after.items()
    }
