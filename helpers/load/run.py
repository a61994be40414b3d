"""What a run of load leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from helpers import stats

# A generator on one thread that is busy for longer than this share of the time sends late.
_BUSY = 0.8
# Sending late is no longer in the noise if it is more than a millisecond and a tenth of the latency
# that is measured, or shifts the load by more than a hundredth of the run.
_LATE_S, _LATE_OF_LATENCY, _LATE_OF_RUN = 0.001, 0.1, 0.01


@dataclass(frozen=True)
class Generator:
    """What one generator process used.

    Attributes:
        cpu_s: its own CPU time in the measured window, in seconds.
        window_s: the window's length, in seconds.
        sent: requests sent in the whole run, the warm-up included.
    """

    cpu_s: float
    window_s: float
    sent: int

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

    @property
    def lateness_s(self) -> Any:
        """How late each request of the measured window was sent, in seconds."""
        due = self.records["due_s"]
        measured = self.records[(due >= 0) & (due < self.duration_s)]
        return measured["sent_s"] - measured["due_s"]

    @property
    def cpu_us_per_request(self) -> float:
        """The generators' own CPU time, in microseconds, for each request of the window."""
        done = self.records["done_s"]
        count = int(((done >= 0) & (done < self.duration_s)).sum())
        return sum(g.cpu_s for g in self.generators) / count * 1e6 if count else 0.0

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the figures of this run can't be trusted: the generator was what limited it."""
        found = [
            f"generator {i} was computing {g.busy:.0%} of the time: use more processes"
            for i, g in enumerate(self.generators)
            if g.busy > _BUSY
        ]
        if not self.closed:
            found += self._lateness_problems()
        return tuple(found)

    def _lateness_problems(self) -> list[str]:
        found = []
        unsent = self.settings["planned"] - len(self.records)
        if unsent:
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
    def valid(self) -> bool:
        """Whether the generator kept up with what it was to send."""
        return not self.problems

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
        return (
            f"Run({self.settings['scenario']}, {len(self.records)} requests, "
            f"{self.duration_s:g} s{problems})"
        )
