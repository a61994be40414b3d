"""MLPerf's server scenario: the highest rate at which a percentile stays under an objective.

Each rate is judged by counting: of the requests that were due, how many took longer than the
objective or failed? If the p99 is under it, that is at most one in a hundred; how far a count may
be off by chance is the binomial distribution's business, whatever the latencies' is. Since requests
queue behind each other, and one that is late makes others late, a verdict has to hold for the
batches, too, that each run is cut into.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from helpers import settings, stats
from helpers.errors import LoadError
from helpers.load.run import Run
from helpers.load.scenarios import open_loop

_FIRST = 0.7  # of the rate that is expected: a queue is short there, and a p99 usually in bounds
_UP, _DOWN = 1.3, 0.6
_BATCHES = 5  # that a run is cut into: more would be too short to be independent
_LEAST = 0.1  # of the rate that is expected: what misses there doesn't miss for the load's sake


@dataclass(frozen=True)
class Probe:
    """One rate, judged.

    Attributes:
        rate_per_s: requests due a second.
        meets: whether the objective was met; None if that can't be told.
        missed: requests that took longer than the objective, or failed.
        count: requests that were due.
        runs: as many as it took to tell.
        why: in words.
    """

    rate_per_s: float
    meets: bool | None
    missed: int
    count: int
    runs: tuple[Run, ...]
    why: str

    @property
    def dead(self) -> bool:
        """Whether no request was answered: going on would say nothing more."""
        return bool(self.runs) and all((run.records["code"] != 0).all() for run in self.runs)


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        objective_ms: the latency that the percentile is to stay under, in milliseconds.
        q: the percentile, such as 0.99.
        confidence: how sure each verdict is.
        probes: the rates that were tried, in order.
    """

    objective_ms: float
    q: float
    confidence: float
    probes: tuple[Probe, ...]

    @property
    def rate_per_s(self) -> float | None:
        """The highest rate that met the objective; None if none did."""
        return max((p.rate_per_s for p in self.probes if p.meets), default=None)

    @property
    def refused_per_s(self) -> float | None:
        """The lowest rate that is known not to have met it; None if none is."""
        return min((p.rate_per_s for p in self.probes if p.meets is False), default=None)

    def __str__(self) -> str:
        objective = f"p{100 * self.q:g} under {self.objective_ms:g} ms"
        seconds = min(sum(run.duration_s for run in probe.runs) for probe in self.probes)
        sure = f"each at {self.confidence:.0%} confidence, over {stats.short(seconds)} s or more"
        if self.rate_per_s is None:
            lowest = min(self.probes, key=lambda probe: probe.rate_per_s)
            return f"no rate met {objective}: at {stats.short(lowest.rate_per_s)}/s {lowest.why}"
        refused = self.refused_per_s
        limit = "no rate missed it" if refused is None else f"missed at {stats.short(refused)}/s"
        return f"{objective}: met at {stats.short(self.rate_per_s)}/s, {limit} ({sure})"

    __repr__ = __str__


def highest_rate(
    address: str | Sequence[str],
    photos: Sequence[Any],
    *,
    objective_ms: float,
    expected_per_s: float,
    q: float = 0.99,
    tolerance: float = 0.1,
    seconds: float = 5.0,
    most_s: float = 60.0,
    looks: int = 3,
    most_probes: int = 12,
    confidence: float = 0.95,
    seed: int = settings.SEED,
    **options: Any,
) -> Search:
    """Searches the highest rate of Poisson arrivals whose `q`-quantile stays under an objective.

    Up or down in steps until one rate meets the objective and one misses it, then between them.

    Args:
        address: as for `closed_loop`.
        photos: as for `closed_loop`.
        objective_ms: the latency, from when a request is due, in milliseconds.
        expected_per_s: a guess at the server's capacity, such as a closed loop's throughput.
        q: the quantile.
        tolerance: the search ends when the lowest rate that missed is within this share of the
            highest that met.
        seconds: of each run; more where a rate needs more to have requests enough to be judged.
        most_s: of each run, at most.
        looks: runs of one rate, at most, as long as chance leaves the verdict open.
        most_probes: rates to try, at most: the search then ends with what it knows.
        confidence: that a verdict is right for the time that was measured. A queue that builds up
            over minutes isn't seen in seconds: pass more `seconds` where that matters.
        seed: of the arrivals; each run gets one of its own.
        **options: as for `open_loop`. Without `timeout_s`, requests are given up at four times
            the objective, or after a second: an overloaded server must not hold up the search.

    Raises:
        LoadError: an objective or a rate that makes no sense.
        ServerUnavailableError: nobody listens there.
    """
    if not (0 < objective_ms < math.inf and 0 < expected_per_s < math.inf and 0 < q < 1):
        raise LoadError(
            f"A rate can't be searched for an objective of {objective_ms} ms at the quantile {q}, "
            f"from {expected_per_s} requests/s on",
            next_step="Pass an objective and a rate above 0, and q such as 0.99.",
        )
    options = {"timeout_s": max(1.0, 4e-3 * objective_ms), "warmup_s": 1.0, **options}
    judge = _Judge(address, photos, objective_ms, q, seconds, most_s, looks, confidence, options)
    probes: list[Probe] = []
    for rate in itertools.islice(_rates(probes, expected_per_s, tolerance), most_probes):
        probes.append(judge(rate, seed=seed + looks * len(probes)))
    return Search(objective_ms, q, confidence, tuple(probes))


def _rates(probes: Sequence[Probe], expected_per_s: float, tolerance: float) -> Iterator[float]:
    """The rates to try, each after the verdict on the last was added to `probes`."""
    rate, met, missed = _FIRST * expected_per_s, 0.0, math.inf
    while rate >= _LEAST * expected_per_s:
        yield rate
        if probes[-1].meets:
            met = rate
        else:
            missed = rate
        if met and missed <= met * (1 + tolerance):
            return
        if probes[-1].dead:
            return
        if missed == math.inf:
            rate = _UP * met
        else:
            rate = math.sqrt(met * missed) if met else _DOWN * missed


@dataclass(frozen=True)
class _Judge:
    address: str | Sequence[str]
    photos: Sequence[Any]
    objective_ms: float
    q: float
    seconds: float
    most_s: float
    looks: int
    confidence: float
    options: dict[str, Any]

    def __call__(self, rate: float, *, seed: int) -> Probe:
        # A verdict may fall at any look: each gets its part of the chance to be wrong.
        chance = (1 - self.confidence) / self.looks
        needed = math.ceil(math.log(chance) / math.log(self.q))
        runs: list[Run] = []
        meets = None
        while meets is None and len(runs) < self.looks:
            run = open_loop(
                self.address,
                self.photos,
                rate_per_s=rate,
                duration_s=min(max(self.seconds, 1.2 * needed / rate), self.most_s),
                seed=seed + len(runs),
                **self.options,
            )
            runs.append(run)
            meets = self._verdict(runs, chance, since="due_s")
        problems = [problem for run in runs for problem in run.problems]
        # What is met in spite of a late generator is met. What isn't, may be the generator's own
        # doing, unless it isn't met from the moment of sending either.
        if meets is False and self._verdict(runs, chance, since="sent_s") is not meets:
            meets = None
        missed = sum(int(_missed(run, self.objective_ms, since="due_s").sum()) for run in runs)
        count = sum(len(run.measured("due_s")) for run in runs)
        noted = {"objective_ms": self.objective_ms, "q": self.q, "meets": meets}
        why = self._why(missed, count, runs, problems)
        return Probe(rate, meets, missed, count, tuple(r.noted(**noted) for r in runs), why)

    def _verdict(self, runs: Sequence[Run], chance: float, *, since: str) -> bool | None:
        hits: list[int] = []
        counts: list[int] = []
        for run in runs:
            edges = np.linspace(0, run.duration_s, _BATCHES + 1)
            due, late = run.measured("due_s")["due_s"], _missed(run, self.objective_ms, since=since)
            hits += np.histogram(due[late], edges)[0].tolist()
            counts += np.histogram(due, edges)[0].tolist()
        return stats.at_most_in_batches(1 - self.q, hits, counts, chance=chance)

    def _why(self, missed: int, count: int, runs: Sequence[Run], problems: Sequence[str]) -> str:
        words = f"{missed} of {count} requests took longer than {self.objective_ms:g} ms"
        failed = sum(int((run.records["code"] != 0).sum()) for run in runs)
        if failed:
            names = ", ".join(sorted({name for run in runs for name in run.details}))
            words += f" or failed ({names})"
        return "; ".join([words, *problems])


def _missed(run: Run, objective_ms: float, *, since: str) -> npt.NDArray[np.bool_]:
    """Which of the requests due in the window took longer than the objective, or failed."""
    measured = run.measured("due_s")
    late = (measured["done_s"] - measured[since]) * 1e3 > objective_ms
    missed: npt.NDArray[np.bool_] = late | (measured["code"] != 0)
    return missed
