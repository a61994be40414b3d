"""Is one figure larger than another, or is it noise?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helpers.stats.confidence import Interval, student


@dataclass(frozen=True)
class Ratio:
    """One measured figure over another, with its 95 % confidence interval.

    Attributes:
        value: the quotient.
        interval: where the true one lies in 95 % of all such measurements; a bound is None where
            the samples give none.
    """

    value: float
    interval: Interval

    @property
    def is_noise(self) -> bool:
        """Whether the difference may be chance: the interval holds 1, or has no bound there."""
        low, high = self.interval.low, self.interval.high
        if self.value >= 1:
            return low is None or low <= 1
        return high is None or high >= 1

    @property
    def half_width(self) -> float:
        """Of the interval, as a share of the value; infinity where a bound is missing."""
        low, high = self.interval.low, self.interval.high
        return math.inf if low is None or high is None else (high - low) / 2 / self.value

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.interval})"


def ratio(a: float, a_interval: Interval, b: float, b_interval: Interval) -> Ratio:
    """`a` over `b`, from the intervals of both.

    The distances from estimate to bound are added as squares, on a logarithmic scale, each with
    the one that it meets (MOVER; Donner and Zou, Statistical Methods in Medical Research 21,
    2012). It needs no distribution, and keeps lopsided intervals lopsided.

    Args:
        a: a positive figure.
        a_interval: its 95 % confidence interval.
        b: a positive figure measured independently.
        b_interval: its 95 % confidence interval.

    Raises:
        ValueError: a figure isn't positive, so that there is no ratio.
    """
    if not (a > 0 and b > 0):
        raise ValueError(f"there is no ratio of {a} and {b}")
    down = _together(_distance(a, a_interval.low), _distance(b, b_interval.high))
    up = _together(_distance(a, a_interval.high), _distance(b, b_interval.low))
    value = a / b
    return Ratio(
        value,
        Interval(
            None if down is None else value * math.exp(-down),
            None if up is None else value * math.exp(up),
        ),
    )


def ratio_of_rounds(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """The rounds of one measurement over the rounds of another, by their geometric means.

    Welch's t test on the logarithms (Biometrika 34, 1947): each round is one value, however many
    requests it had. Requests of a round share its minute of the machine and queue behind each
    other, so that intervals from requests call two runs of the same thing different.

    Args:
        a: a positive figure, once for each round.
        b: the same figure of the other measurement, taken independently.

    Returns:
        The ratio; its interval is without bounds if one side has fewer than two rounds.

    Raises:
        ValueError: a figure isn't positive, or there is none.
    """
    if not (a and b and min(*a, *b) > 0):
        raise ValueError(f"there is no ratio of {a} and {b}")
    logs = np.log(a), np.log(b)
    value = math.exp(logs[0].mean() - logs[1].mean())
    if min(len(a), len(b)) < 2:
        return Ratio(value, Interval(None, None))
    errors = [float(log.var(ddof=1)) / len(log) for log in logs]
    if not sum(errors):
        return Ratio(value, Interval(value, value))
    freedom = sum(errors) ** 2 / sum(
        error**2 / (len(log) - 1) for error, log in zip(errors, logs, strict=True)
    )
    reach = math.exp(student(freedom) * math.sqrt(sum(errors)))
    return Ratio(value, Interval(value / reach, value * reach))


def _distance(value: float, bound: float | None) -> float | None:
    """How far a bound is from its estimate, in natural logarithms."""
    return None if bound is None or bound <= 0 else abs(math.log(value / bound))


def _together(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else math.hypot(first, second)
