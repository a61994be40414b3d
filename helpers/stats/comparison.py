"""Is one figure larger than another, or is it noise?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from helpers.stats.confidence import Interval


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


def _distance(value: float, bound: float | None) -> float | None:
    """How far a bound is from its estimate, in natural logarithms."""
    return None if bound is None or bound <= 0 else abs(math.log(value / bound))


def _together(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else math.hypot(first, second)
