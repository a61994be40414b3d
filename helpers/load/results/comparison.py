"""What changed from one result to another, and what is noise."""

from __future__ import annotations

from dataclasses import dataclass

from helpers.errors import ResultError
from helpers.load.results.record import Result
from helpers.stats import Interval, Percentile, Ratio, pooled, ratio


@dataclass(frozen=True)
class Difference:
    """One figure in two results.

    Attributes:
        name: the run's and the figure's name.
        before: the figure in the first, None if it has too few samples for it.
        after: the figure in the second.
        ratio: after over before; None if there is none.
    """

    name: str
    before: float | None
    after: float | None
    ratio: Ratio | None


def compare(before: Result, after: Result) -> list[Difference]:
    """What changed from one result to another, in the runs and figures that both have.

    Rounds of a run are pooled.

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
    one_by_one, other_by_one = before.rounds(), after.rounds()
    for key in [key for key in one_by_one if key in other_by_one]:
        one, other = pooled(one_by_one[key]), pooled(other_by_one[key])
        found.append(
            _difference(
                f"{key}: requests/s",
                (one.throughput_per_s, one.throughput_interval),
                (other.throughput_per_s, other.throughput_interval),
            )
        )
        for name, p in one.latency.items():
            q = other.latency[name]
            found.append(_difference(f"{key}: {name} ms", _of(p), _of(q)))
    for key in [key for key in before.figures if key in after.figures]:
        f, g = before.figures[key], after.figures[key]
        found.append(_difference(key, (f.value, f.interval), (g.value, g.interval)))
    return found


def _of(percentile: Percentile) -> tuple[float | None, Interval]:
    return percentile.ms, percentile.interval_ms


def _difference(
    name: str, before: tuple[float | None, Interval], after: tuple[float | None, Interval]
) -> Difference:
    (b, b_interval), (a, a_interval) = before, after
    quotient = ratio(a, a_interval, b, b_interval) if a and b else None
    return Difference(name, b, a, quotient)
