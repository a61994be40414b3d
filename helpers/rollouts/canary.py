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
# Two versions that are both right about 78 photos in 100, as Inception-v3 is, give 56 of them the
# same right answer at least. If they disagree about more than 44, one of them can't be that good.
MOST_DISAGREEMENT = 2 * (1 - 0.78)


@dataclass(frozen=True)
class Verdict:
    """What two flows say of the canary.

    Attributes:
        stable: the one that all the others get.
        canary: the new one.
        errors_p: the probability that at least as many of the failures would be the canary's if
            failing had nothing to do with the version.
        slower: the canary's median latency over stable's, with its 95 % interval.
        differ: photos about which the two versions say something else.
        compared: photos that both were asked about.
    """

    stable: Flow
    canary: Flow
    errors_p: float
    slower: stats.Ratio | None
    differ: int = 0
    compared: int = 0

    @property
    def reasons(self) -> list[str]:
        """Why not to promote it; none: it may be."""
        found = []
        if self.errors_p < CHANCE:
            found.append(
                f"it fails more often: {self.canary.lost} of {self.canary.requests} against "
                f"{self.stable.lost} of {self.stable.requests} ({in_words(self.errors_p)})"
            )
        low = self.slower.interval.low if self.slower else None
        if self.slower is not None and low is not None and low > TOLERATED:
            found.append(f"it is slower: {self.slower} times stable's median")
        if stats.at_most(MOST_DISAGREEMENT, self.differ, self.compared, chance=CHANCE) is False:
            found.append(
                f"it says something else about {self.differ} of {self.compared} photos: one of the "
                "two versions is often wrong, so look at the answers"
            )
        return found

    @property
    def promote(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    def __repr__(self) -> str:
        told = "; ".join(self.reasons) or "nothing speaks against it"
        lines = [
            f"stable: {self.stable}",
            f"canary: {self.canary}",
            f"failures: {in_words(self.errors_p)}",
            f"median latency: {self.slower or '?'} times stable's",
            f"other answers: {self.differ} of {self.compared} photos",
            f"promote: {'yes' if self.promote else 'no'}, {told}",
        ]
        return "\n".join(lines)


def compare(stable: Flow, canary: Flow, *, differ: int = 0, compared: int = 0) -> Verdict:
    """Compares failures, the median latency, and what the two versions say.

    Failures by Fisher's exact test, to one side, which is right for few of them too (Fisher, The
    Design of Experiments, 1935). The median rather than the p99, since a canary gets few requests;
    its interval needs no distribution, see `stats.quantile_ranks`.

    Args:
        stable: at the same time as the canary, since load changes.
        canary: of the new version.
        differ: photos about which the two versions say something else, as a shadow finds out.
        compared: photos that both were asked about.

    Raises:
        NoRequestsError: one of them has none.
    """
    if not stable.requests or not canary.requests:
        raise NoRequestsError(
            "There is nothing to compare", next_step="Send requests to both versions."
        )
    p = fisher(canary.lost, canary.requests, stable.lost, stable.requests)
    a, b = _median(canary), _median(stable)
    slower = stats.ratio(*a, *b) if a and b else None
    return Verdict(stable, canary, p, slower, differ, compared)


def in_words(p: float) -> str:
    """A probability as people write it: no more digits than it deserves."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


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
