"""Is the canary worse? Two flows of requests compared, with a stated chance of being wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from helpers import stats
from helpers.errors import NoRequestsError
from helpers.load.traffic import Flow

CHANCE = 0.01  # of calling a canary worse that isn't
TOLERATED = 1.5  # times stable's median: what is slower by less isn't worth a roll-back


@dataclass(frozen=True)
class Verdict:
    """What two flows say of the canary.

    Attributes:
        stable: the one that all the others get.
        canary: the new one.
        errors_p: the probability of so many of the failures being the canary's, or more, if
            failing had nothing to do with the version.
        slower: the canary's median latency over stable's, with its 95 % interval.
    """

    stable: Flow
    canary: Flow
    errors_p: float
    slower: stats.Ratio | None

    @property
    def reasons(self) -> list[str]:
        """Why not to promote it; none: it may be."""
        found = []
        if self.errors_p < CHANCE:
            found.append(
                f"it fails more often: {self.canary.lost} of {self.canary.requests} against "
                f"{self.stable.lost} of {self.stable.requests} (p = {self.errors_p:.2g})"
            )
        low = self.slower.interval.low if self.slower else None
        if self.slower is not None and low is not None and low > TOLERATED:
            found.append(f"it is slower: {self.slower} times stable's median")
        return found

    @property
    def promote(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    def __repr__(self) -> str:
        told = "; ".join(self.reasons) or f"nothing speaks against it (p = {self.errors_p:.2g})"
        slower = f", median {self.slower} times stable's" if self.slower else ""
        return f"stable: {self.stable}\ncanary: {self.canary}{slower}\n{told}"


def compare(stable: Flow, canary: Flow) -> Verdict:
    """Compares the share of failures and the median latency.

    Failures by Fisher's exact test, to one side, which is right for few of them too (Fisher, The
    Design of Experiments, 1935). The median rather than the p99, since a canary gets few requests;
    its interval needs no distribution, see `stats.quantile_ranks`.

    Args:
        stable: at the same time as the canary, since load changes.
        canary: of the new version.

    Raises:
        NoRequestsError: one of them has none.
    """
    if not stable.requests or not canary.requests:
        raise NoRequestsError(
            "There is nothing to compare", next_step="Send requests to both versions."
        )
    p = fisher(canary.lost, canary.requests, stable.lost, stable.requests)
    a, b = _median(canary), _median(stable)
    return Verdict(stable, canary, p, stats.ratio(*a, *b) if a and b else None)


def fisher(hits: int, count: int, other_hits: int, other_count: int) -> float:
    """Fisher's exact test, to one side: the probability of `hits` or more in `count`.

    Given how many hits there are in both together, and that they fall on both alike.
    """
    total, everything = hits + other_hits, count + other_count

    def chance(k: int) -> float:
        return math.exp(
            _log_binomial(count, k)
            + _log_binomial(other_count, total - k)
            - _log_binomial(everything, total)
        )

    least = max(hits, total - other_count)
    return min(1.0, sum(chance(k) for k in range(least, min(total, count) + 1)))


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _median(flow: Flow) -> tuple[float, stats.Interval] | None:
    values = flow.latencies_ms
    if not len(values):
        return None
    low, high = stats.quantile_ranks(0.5, len(values))
    bounds = [None if rank is None else float(values[rank - 1]) for rank in (low, high)]
    return float(np.median(values)), stats.Interval(*bounds)
