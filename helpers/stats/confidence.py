"""How sure a figure is: 95 % confidence intervals without assuming a distribution of latencies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95

# Student's t, 0.975 quantile, by batches: degrees of freedom are one less. Any statistics table.
_BATCHES = {20: 2.093, 10: 2.262, 5: 2.776}
_EXACT_UP_TO = 20_000  # values; beyond, the binomial is a normal distribution to four digits


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval. None: the samples give no bound on that side."""

    low: float | None
    high: float | None

    def __str__(self) -> str:
        low = "?" if self.low is None else f"{self.low:.3g}"
        high = "?" if self.high is None else f"{self.high:.3g}"
        return f"{low} to {high}"


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


def enough_for(q: float) -> int:
    """How many values a `q`-quantile needs: so many that one of them is expected beyond it."""
    return math.ceil(round(1 / (1 - q), 6)) if q < 1 else 1


def mean_of_batches(
    times_s: npt.NDArray[np.float64], *, duration_s: float
) -> tuple[Interval, float]:
    """A confidence interval of a rate, in events a second, from the times of the events.

    Batch means: the run is cut into equal batches, long enough to be nearly independent, and their
    rates are treated as a sample of Student's t. (Law, Simulation Modeling and Analysis, 9.5.3.)

    Args:
        times_s: when each event happened, in [0, duration_s).
        duration_s: the length of the run.

    Returns:
        The interval, without bounds if there are under 25 events, and the standard error of the
        rate (infinite then).
    """
    for batches, t in _BATCHES.items():
        if len(times_s) >= 5 * batches:
            counts = np.histogram(times_s, bins=batches, range=(0, duration_s))[0]
            rates = counts * batches / duration_s
            error = float(rates.std(ddof=1)) / math.sqrt(batches)
            mean = float(rates.mean())
            return Interval(max(mean - t * error, 0.0), mean + t * error), error
    return Interval(None, None), math.inf


def _binomial_quantile(probability: float, count: int, q: float) -> int:
    """The smallest k with P(Binomial(count, q) <= k) >= probability."""
    mean, deviation = count * q, math.sqrt(count * q * (1 - q))
    if count > _EXACT_UP_TO:
        return round(mean + NormalDist().inv_cdf(probability) * deviation)
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
