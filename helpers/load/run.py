"""What a run of load leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from helpers import stats

# A generator on one thread that is busy for longer than this share of the time sends late.
_BUSY = 0.8
# Sending late is no longer in the noise if it is more than a millisecond and a tenth of the latency
# that is measured, or shifts the load by more than a hundredth of the run.
_LATE_S, _LATE_OF_LATENCY, _LATE_OF_RUN = 0.001, 0.1, 0.01
# What a generator may take of the machine that the server runs on without a word.
_SHARE = 0.03
# A generator that didn't run for so long has measured its own machine. A busy one takes tenths.
_PAUSE_S = 0.5


_COUNTED = ("waited", "resent")


@dataclass(frozen=True)
class Generator:
    """What one generator process used.

    Attributes:
        cpu_s: its own CPU time in the measured window, in seconds.
        window_s: the window's length, in seconds.
        sent: requests sent in the whole run, the warm-up included.
        paused_s: the longest time in which it wasn't run though it had something to do.
        grown_bytes: what its memory grew by in the window, at its highest.
        waited: requests that found no room on any connection when they were taken up.
        resent: how many times a request was sent again that the server hadn't processed.
        streams: the fewest requests at a time that the server takes on a connection; None: it
            sets no limit.
    """

    cpu_s: float
    window_s: float
    sent: int
    paused_s: float = 0.0
    grown_bytes: int = 0
    waited: int = 0
    resent: int = 0
    streams: int | None = None

    @property
    def busy(self) -> float:
        """The share of the window in which it was computing."""
        return self.cpu_s / self.window_s if self.window_s > 0 else 0.0


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        settings: what was asked for, as plain data: scenario, rates, seconds, addresses.
        records: what was seen of each request, the warm-up included; dtype `stats.RECORD`.
        duration_s: the length of the measured window in seconds, from 0 on the records' clock.
        generators: what each generator process used.
        details: for each failure's code, by name, the first message that it came with.
    """

    settings: Mapping[str, Any]
    records: stats.Records
    duration_s: float
    generators: tuple[Generator, ...]
    details: Mapping[str, str]

    @property
    def closed(self) -> bool:
        """Whether the server set the pace."""
        return self.settings["concurrency"] is not None

    def measured(self, moment: str) -> stats.Records:
        """The requests that were due, sent or done (`due_s`, …) in the measured window."""
        return stats.within(self.records, moment, self.duration_s)

    @property
    def lateness_s(self) -> Any:
        """How late each request of the measured window was sent, in seconds."""
        measured = self.measured("due_s")
        return measured["sent_s"] - measured["due_s"]

    @property
    def lateness_ms(self) -> dict[str, float] | None:
        """The generator's own lateness in ms: `p50`, `p99`, `max`; None in a closed loop.

        A closed loop has no due times: a request is due when the one before it is answered.
        """
        lateness = self.lateness_s
        if self.closed or not len(lateness):
            return None
        p50, p99 = np.quantile(lateness, [0.5, 0.99])
        return {"p50": 1e3 * p50, "p99": 1e3 * p99, "max": 1e3 * float(lateness.max())}

    @property
    def cpu_us_per_request(self) -> float:
        """The generators' own CPU time, in microseconds, for each request of the window."""
        count = len(self.measured("done_s"))
        return sum(g.cpu_s for g in self.generators) / count * 1e6 if count else 0.0

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the figures of this run can't be trusted: the generator was what limited it."""
        found = [
            f"generator {i} was computing {g.busy:.0%} of the time: use more processes"
            for i, g in enumerate(self.generators)
            if g.busy > _BUSY
        ]
        found += [
            f"generator {i} stood still for {g.paused_s:.2g} s: the machine is too busy, was "
            "suspended, or its clock jumped"
            for i, g in enumerate(self.generators)
            if g.paused_s > _PAUSE_S
        ]
        backwards = int((self.records["done_s"] < self.records["sent_s"]).sum())
        if backwards:
            found.append(f"{backwards} requests ended before they were sent: the clock jumped")
        if not self.closed:
            found += self._lateness_problems()
        return tuple(found)

    def _lateness_problems(self) -> list[str]:
        found = []
        unsent = self.settings["planned"] - len(self.records)
        if unsent > 0:
            found.append(f"{unsent} of {self.settings['planned']} requests were never sent")
        lateness = self.lateness_s
        if len(lateness):
            late = float(np.quantile(lateness, 0.99))
            latency = float(np.median(self.records["done_s"] - self.records["due_s"]))
            if late > max(_LATE_S, min(_LATE_OF_LATENCY * latency, _LATE_OF_RUN * self.duration_s)):
                found.append(
                    f"one request in a hundred was sent over {late * 1e3:.3g} ms late: send fewer, "
                    "use more processes, or give the generator a processor of its own"
                )
        return found

    @property
    def share(self) -> float | None:
        """The generators' share of this machine's processor time; None: the server is elsewhere."""
        cores = self.settings.get("cores_shared")
        return sum(g.busy for g in self.generators) / cores if cores else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures has to know, though they hold."""
        found = self._window_notes()
        if self.settings.get("precision") is not None:
            found += self._precision_notes()
        waited, resent = (sum(getattr(g, name) for g in self.generators) for name in _COUNTED)
        limits = [g.streams for g in self.generators if g.streams is not None]
        if waited:
            why = f": the server takes {min(limits)} at a time on each" if limits else ""
            found.append(f"{waited} requests waited for room on a connection{why}")
        if resent:
            found.append(
                f"requests were sent again {resent} times: the server hadn't processed them "
                "(GOAWAY or REFUSED_STREAM)"
            )
        share = self.share
        if share is not None and share > _SHARE:
            found.append(
                f"the generator took {share:.1%} of the machine that the server runs on, too: what "
                "the processors limit may be so much higher without it"
            )
        return tuple(found)

    def _window_notes(self) -> list[str]:
        asked_s = self.settings.get("duration_s", self.duration_s)
        answers = self.settings.get("answers", 0)
        found = []
        if self.duration_s > asked_s and self.settings.get("requests") is None:
            found.append(
                f"the window was open for {self.duration_s:.3g} s, not {asked_s:g} s, to get "
                f"{answers} answers"
            )
        ended = len(self.measured("done_s"))
        if ended < answers and self.settings.get("requests") is None:
            found.append(f"{ended} requests ended in the window, not the {answers} asked for")
        return found

    def _precision_notes(self) -> list[str]:
        figure, asked = self.settings["precision_of"], self.settings["precision"]
        reached = stats.half_width(self.records, figure, duration_s=self.duration_s)
        if reached is not None and reached <= asked:
            return []
        known = "isn't known" if reached is None else f"is known to ±{reached:.1%}"
        return [f"the {figure} {known}, not to the ±{asked:.1%} asked for: measure for longer"]

    @property
    def valid(self) -> bool:
        """Whether the generator kept up with what it was to send."""
        return not self.problems

    def noted(self, **settings: Any) -> Run:
        """The same run with more settings: those of the server, say, that results are to name."""
        return replace(self, settings={**self.settings, **settings})

    def summary(self, *, latency_from: Literal["due", "sent"] = "due") -> stats.Summary:
        """The figures of the measured window, by `stats.summarize`.

        Raises:
            NoRequestsError: no request was due or done in it.
        """
        return stats.summarize(
            self.records,
            duration_s=self.duration_s,
            latency_from=latency_from,
            latency_of="done" if self.closed else "due",
            photos_per_request=self.settings["photos_per_request"],
        )

    def __repr__(self) -> str:
        problems = "" if self.valid else f", invalid: {'; '.join(self.problems)}"
        problems += f"; {'; '.join(self.notes)}" if self.notes else ""
        return (
            f"Run({self.settings['scenario']}, {len(self.records)} requests, "
            f"{self.duration_s:g} s{problems})"
        )
