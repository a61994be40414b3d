"""What changed from one result to another, and what is noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from helpers.errors import ResultError
from helpers.load.results.record import Result
from helpers.stats import QUANTILES, Interval, Ratio, ratio, ratio_of_rounds


@dataclass(frozen=True)
class Difference:
    """One figure in two results.

    Attributes:
        name: the run's and the figure's name.
        before: the figure in the first, the geometric mean of its rounds; None if one of them
            has too few samples for it.
        after: the figure in the second.
        ratio: after over before; None if there is none. Without an interval if there was only one
            round, since nobody can tell then what is noise.
    """

    name: str
    before: float | None
    after: float | None
    ratio: Ratio | None


def compare(before: Result, after: Result) -> list[Difference]:
    """What changed from one result to another, in the runs and figures that both have.

    Runs are compared by their rounds, `NAME, round 1`, `NAME, round 2`, …: each is one value, so
    that two results of the same thing differ in 5 % of the comparisons, by chance. A figure with
    an interval of its own is compared by that.

    Raises:
        ResultError: they are of different benchmarks, or of machines of different classes.
    """
    for what, first, second in [
        ("benchmarks", before.name, after.name),
        ("processors", *(r.machine["processor_class"] for r in (before, after))),
    ]:
        if first != second:
            raise ResultError(
                "The results can't be compared",
                cause=f"they are of different {what}: {first} and {second}",
                next_step="Compare two of the same benchmark on processors of the same class.",
            )
    found = []
    rounds, other_rounds = before.rounds(), after.rounds()
    for key in [key for key in rounds if key in other_rounds]:
        pair = rounds[key], other_rounds[key]
        rates = ([summary.throughput_per_s for summary in side] for side in pair)
        found.append(_by_rounds(f"{key}: requests/s", *rates))
        for name, q in QUANTILES.items():
            times = ([summary.percentile(q).ms for summary in side] for side in pair)
            found.append(_by_rounds(f"{key}: {name} ms", *times))
    for key in [key for key in before.figures if key in after.figures]:
        f, g = before.figures[key], after.figures[key]
        found.append(_difference(key, (f.value, f.interval), (g.value, g.interval)))
    return found


def _by_rounds(
    name: str, before: Sequence[float | None], after: Sequence[float | None]
) -> Difference:
    known = [[value for value in side if value] for side in (before, after)]
    b, a = (
        side if len(side) == len(every) else []
        for side, every in zip(known, (before, after), strict=True)
    )
    return Difference(
        name,
        geometric_mean(b) if b else None,
        geometric_mean(a) if a else None,
        ratio_of_rounds(a, b) if a and b else None,
    )


def _difference(
    name: str, before: tuple[float | None, Interval], after: tuple[float | None, Interval]
) -> Difference:
    (b, b_interval), (a, a_interval) = before, after
    quotient = ratio(a, a_interval, b, b_interval) if a and b else None
    return Difference(name, b, a, quotient)
