"""How sure a figure is: 95 % confidence intervals without assuming a distribution of latencies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from helpers.stats.digits import short

CONFIDENCE = 0.95

# Student's t: its 0.975 quantile for 1, 2, … degrees of freedom. Any statistics table.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_BATCHES = (20, 10, 5)
_EXACT_UP_TO = 20_000  # values; beyond, a normal distribution and its skew give it within one


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval. None: the samples give no bound on that side."""

    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.low is None:
            few = "too few samples for an interval"
            return few if self.high is None else f"at most {short(self.high)}"
        low = short(self.low)
        return f"at least {low}" if self.high is None else f"{low} to {short(self.high)}"


def quantile_ranks(q: float, count: int) -> tuple[int | None, int | None]:
    """The ranks of the two sorted values that enclose the true `q`-quantile in 95 % of all runs.

    How many of `count` independent values fall below the quantile is binomial, whatever their
    distribution: so the ranks are the binomial's quantiles. (Conover, Practical Nonparametric
    Statistics, 3.2; Le Boudec, Performance Evaluation, 2.2.) Requests that queue behind each other
    aren't independent, so for a busy server the interval is narrower than the truth.

    Returns:
        Ranks, 1 being the smallest value; None for a side on which `count` is too small.
    """
    tail = (1 - CONFIDENCE) / 2
    low = _binomial_quantile(tail, count, q)
    high = _binomial_quantile(1 - tail, count, q) + 1
    return (low if low >= 1 else None, high if high <= count else None)


def at_most(share: float, hits: int, count: int, *, chance: float) -> bool | None:
    """Whether a thing that happened `hits` times in `count` happens in at most this share of cases.

    The exact binomial test, to both sides. (Conover, Practical Nonparametric Statistics, 3.1.)

    Args:
        share: strictly between 0 and 1.
        hits: how often it happened.
        count: how often it might have.
        chance: of being wrong, for either answer.

    Returns:
        None if there are too few cases to tell.
    """
    if count and hits < _binomial_quantile(chance, count, share):
        return True
    if count and hits > _binomial_quantile(1 - chance, count, share):
        return False
    return None


def at_most_in_batches(
    share: float, hits: Sequence[int], counts: Sequence[int], *, chance: float
) -> bool | None:
    """As `at_most`, for things that depend on each other, as requests that queue do.

    The verdict of `at_most` on all of them, if the batches bear it out: what each had too many or
    too few is a sample, whose mean is on the same side of 0 by Student's t. (Batch means; Law,
    Simulation Modeling and Analysis, 9.5.3.) For queues near their limit, simulated, it says too
    much too soon in 3 % of the cases, where `at_most` alone does in 30 %.

    Args:
        share: strictly between 0 and 1.
        hits: how often it happened in each batch, in the order of time; at least two batches.
        counts: how often it might have.
        chance: of being wrong, for either answer, if the batches are independent.

    Returns:
        None if that can't be told.
    """
    verdict = at_most(share, sum(hits), sum(counts), chance=chance)
    surplus = np.asarray(hits) - share * np.asarray(counts)
    reach = student(len(hits) - 1) * math.sqrt(len(hits) * float(surplus.var(ddof=1)))
    total = float(surplus.sum())
    if verdict is None or (total + reach > 0 if verdict else total - reach <= 0):
        return None
    return verdict


def enough_for(q: float) -> int:
    """How many values a `q`-quantile needs: so many that one of them is expected beyond it."""
    return math.ceil(round(1 / (1 - q), 6)) if q < 1 else 1


def mean(values: Sequence[float] | npt.NDArray[np.float64]) -> tuple[float, Interval]:
    """The mean of independent values, such as the rounds of a benchmark, and its interval.

    Student's t. (Jain, The Art of Computer Systems Performance Analysis, 13.2.)

    Args:
        values: at least one; with only one there is no interval.
    """
    average = float(np.mean(values))
    if len(values) < 2:
        return average, Interval(None, None)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    t = student(len(values) - 1)
    return average, Interval(average - t * error, average + t * error)


def student(freedom: float) -> float:
    """Student's t: its 0.975 quantile for so many degrees of freedom, which may be a fraction.

    From a table up to 30, between two of its entries on a straight line from reciprocal to
    logarithm (at most 3 % too wide, between 1 and 2), and beyond by its expansion around the normal
    distribution (Abramowitz and Stegun, 26.7.5).
    """
    if freedom > len(_T):
        z = NormalDist().inv_cdf(0.975)
        first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
        return z + first / freedom + second / freedom**2
    below = max(1, int(freedom))
    low, high = _T[below - 1], _T[min(below, len(_T) - 1)]
    between = (1 / below - 1 / max(freedom, 1)) * below * (below + 1)
    return float(low ** (1 - between) * high**between)


def mean_of_batches(times_s: npt.NDArray[np.float64], *, duration_s: float) -> Interval:
    """A confidence interval of a rate, in events a second, from the times of the events.

    Batch means: the run is cut into equal batches, long enough to be nearly independent, and their
    rates are treated as a sample. (Law, Simulation Modeling and Analysis, 9.5.3.)

    Args:
        times_s: when each event happened, in [0, duration_s).
        duration_s: the length of the run.

    Returns:
        The interval; without bounds if there are under 25 events.
    """
    for batches in _BATCHES:
        if len(times_s) >= 5 * batches:
            counts = np.histogram(times_s, bins=batches, range=(0, duration_s))[0]
            _, interval = mean(counts * batches / duration_s)
            return Interval(max(interval.low or 0.0, 0.0), interval.high)
    return Interval(None, None)


def rate_between_pauses(times_s: npt.NDArray[np.float64]) -> float:
    """Events a second, when the events come in lumps, as the answers of a batching server do.

    Counting those in a window errs by up to a lump at either end: 10 % of 20 s on a slow machine.
    So this counts from the end of one lump to the end of another: from the longest pause in the
    first quarter of the events to the longest pause in the last.

    Args:
        times_s: when each event happened, in order; at least eight.

    Raises:
        ValueError: there are fewer.
    """
    count = len(times_s)
    if count < 8:
        raise ValueError(f"{count} events are too few for a rate between pauses")
    gaps = np.diff(times_s)
    first = int(np.argmax(gaps[: count // 4]))
    last = count - count // 4 - 1 + int(np.argmax(gaps[count - count // 4 - 1 :]))
    return float((last - first) / (times_s[last] - times_s[first]))


def _binomial_quantile(probability: float, count: int, q: float) -> int:
    """The smallest k with P(Binomial(count, q) <= k) >= probability."""
    mean, deviation = count * q, math.sqrt(count * q * (1 - q))
    if count > _EXACT_UP_TO:
        z = NormalDist().inv_cdf(probability)
        # Cornish and Fisher's expansion, to its second term.
        return round(mean + z * deviation + (z * z - 1) * (1 - 2 * q) / 6)
    # What lies ten deviations below the mean adds nothing to a sum in double precision.
    cumulative, k = 0.0, max(-1, int(mean - 10 * deviation) - 2)
    while cumulative < probability and k < count:
        k += 1
        cumulative += math.exp(
            math.lgamma(count + 1)
            - math.lgamma(k + 1)
            - math.lgamma(count - k + 1)
            + k * math.log(q)
            + (count - k) * math.log1p(-q)
        )
    return k
