"""What became of the requests of one client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from helpers import stats

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Flow:
    """The requests of one client, answered and lost.

    Attributes:
        records: one a request, in the order in which they ended; dtype `stats.RECORD`.
        details: for each failure's code, by name, the first message that it came with.
        hedges: requests that were sent a second time.
        hedges_won: those of them whose second answer came first.
    """

    records: stats.Records
    details: Mapping[str, str]
    hedges: int = 0
    hedges_won: int = 0

    @property
    def requests(self) -> int:
        """How many requests were sent and have ended."""
        return len(self.records)

    @property
    def lost(self) -> int:
        """How many had no answer in the end."""
        return int((self.records["code"] != 0).sum())

    @property
    def failures(self) -> dict[str, int]:
        """The lost ones by their gRPC status."""
        codes, counts = np.unique(self.records["code"], return_counts=True)
        return {
            stats.code_name(int(code)): int(count)
            for code, count in zip(codes, counts, strict=True)
            if code
        }

    @property
    def latencies_ms(self) -> Floats:
        """Of the answered requests, from when each was due, in order."""
        answered = self.records[self.records["code"] == 0]
        values: Floats = np.sort((answered["done_s"] - answered["due_s"]) * 1e3)
        return values

    def quantile_ms(self, q: float) -> float | None:
        """A quantile of the latencies; None if so few were answered that none lies beyond it."""
        values = self.latencies_ms
        return float(np.quantile(values, q)) if len(values) >= stats.enough_for(q) else None

    @property
    def p99_ms(self) -> float | None:
        """The latency that one answer in a hundred exceeded; None with fewer than a hundred."""
        return self.quantile_ms(0.99)

    def between(self, start_s: float, end_s: float) -> Flow:
        """Those that were due in a span of time, on the flow's own clock."""
        due = self.records["due_s"]
        return Flow(self.records[(due >= start_s) & (due < end_s)], self.details)

    def disturbed_until_s(self, slow_s: float) -> float | None:
        """When the last request ended that was lost or took longer than `slow_s`; None: none."""
        took = self.records["done_s"] - self.records["due_s"]
        bad = self.records[(self.records["code"] != 0) | (took > slow_s)]
        return float(bad["done_s"].max()) if len(bad) else None

    def buckets(self, width_s: float) -> dict[str, Floats]:
        """The flow over time, a value a bucket.

        Args:
            width_s: of a bucket, in seconds. The last one that isn't full is left out.

        Returns:
            `at_s` (a bucket's middle), `answered` and `lost` a second, by when they ended, and
            `slowest_ms` of those that ended in it (NaN where none was answered).
        """
        done, code = self.records["done_s"], self.records["code"]
        edges = width_s * np.arange(int(done.max(initial=0.0) / width_s) + 1)
        latency = (done - self.records["due_s"]) * 1e3
        which = np.digitize(done, edges) - 1
        slowest = [
            float(found.max()) if len(found) else np.nan
            for i in range(len(edges) - 1)
            for found in (latency[(which == i) & (code == 0)],)
        ]
        return {
            "at_s": (edges[:-1] + edges[1:]) / 2,
            "answered": np.histogram(done[code == 0], edges)[0] / width_s,
            "lost": np.histogram(done[code != 0], edges)[0] / width_s,
            "slowest_ms": np.array(slowest),
        }

    def to_row(self) -> dict[str, Any]:
        """The flow as a row of a table."""
        p50, p99 = self.quantile_ms(0.5), self.p99_ms
        return {
            "requests": self.requests,
            "lost": self.lost,
            "why": ", ".join(f"{n} {code}" for code, n in self.failures.items()),
            "p50 ms": None if p50 is None else round(p50, 1),
            "p99 ms": None if p99 is None else round(p99, 1),
        }

    def __repr__(self) -> str:
        row = self.to_row()
        why = f" ({row['why']})" if self.lost else ""
        p99 = ": too few requests" if row["p99 ms"] is None else f" {row['p99 ms']} ms"
        return f"{self.lost} of {self.requests} requests lost{why}, p99{p99}"
