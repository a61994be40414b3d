"""Whether a goal was reached, missed, or can't be told from what was measured."""

from __future__ import annotations

import math
from typing import Literal

from helpers.load.results.record import Figure

Verdict = Literal["reached", "MISSED", "not told"]


def verdict(figure: Figure, *, least: float = -math.inf, most: float = math.inf) -> Verdict:
    """Judges a figure by its confidence interval, not by where its middle happens to lie.

    Args:
        figure: what was measured. One that was counted, and needs no interval, is `Figure.exact`.
        least: what it is to be at least.
        most: what it is to be at most.

    Returns:
        `reached` if the whole interval is within the goal, `MISSED` if all of it is outside.
        `not told` if it lies across an end of the goal, or isn't known: measure longer.
    """
    low, high = figure.interval.low, figure.interval.high
    if low is None or high is None:
        return "not told"
    if least <= low and high <= most:
        return "reached"
    return "MISSED" if high < least or low > most else "not told"
