"""A histogram of latencies that keeps three significant digits, whatever their size.

The layout is HdrHistogram's (Gil Tene, https://hdrhistogram.org): linear buckets within each power
of two. Merging two histograms adds their counts, so that the percentiles of generators, pods or
runs together are those of all their records, which no averaging of percentiles gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from helpers.errors import ResultError

# 2048 buckets of 1 µs, then 1024 for each further power of two: a bucket is at most 1/1024 as wide
# as what it holds, so its middle is off by less than 0.05 %.
_BITS = 11
_HALF = 1 << (_BITS - 1)
_FORMAT = "hdr-3-us"


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of latencies by size. Make one with `of`, or `merged` from several.

    Attributes:
        counts: int64, how many latencies fell into each bucket.
        min_us: the smallest latency, exactly, in microseconds; 0 without latencies.
        max_us: the largest.
        total_us: their sum.
    """

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    min_us: int = 0
    max_us: int = 0
    total_us: int = 0

    @classmethod
    def of(cls, latencies_s: npt.ArrayLike) -> Histogram:
        """A histogram of latencies in seconds. Those below 0 (a clock that jumps) count as 0."""
        values = np.maximum(np.rint(np.asarray(latencies_s, float) * 1e6), 0).astype(np.int64)
        if not values.size:
            return cls()
        return cls(
            np.bincount(_bucket(values)).astype(np.int64),
            int(values.min()),
            int(values.max()),
            int(values.sum()),
        )

    @classmethod
    def merged(cls, histograms: Iterable[Histogram]) -> Histogram:
        """The histogram of the latencies in all of them."""
        full = [h for h in histograms if h.count]
        if not full:
            return cls()
        counts = np.zeros(max(len(h.counts) for h in full), np.int64)
        for histogram in full:
            counts[: len(histogram.counts)] += histogram.counts
        return cls(
            counts,
            min(h.min_us for h in full),
            max(h.max_us for h in full),
            sum(h.total_us for h in full),
        )

    @property
    def count(self) -> int:
        """How many latencies it holds."""
        return int(self.counts.sum())

    @property
    def mean_ms(self) -> float:
        """Their mean in milliseconds, exactly; not a number without latencies."""
        return self.total_us / self.count / 1e3 if self.count else math.nan

    def rank_ms(self, rank: int) -> float:
        """The latency in milliseconds of the `rank`-th fastest request, 1 being the fastest.

        Raises:
            IndexError: there are fewer latencies.
        """
        if not 1 <= rank <= self.count:
            raise IndexError(f"rank {rank} of {self.count} latencies")
        index = int(np.searchsorted(np.cumsum(self.counts), rank))
        return min(max(_middle_us(index), self.min_us), self.max_us) / 1e3

    def quantile_ms(self, q: float) -> float:
        """The latency in milliseconds that a share `q` of the requests didn't exceed.

        The nearest-rank definition: the smallest latency with at least `q` of all at or below it.
        """
        return self.rank_ms(nearest_rank(q, self.count))

    def to_json(self) -> dict[str, Any]:
        """Plain data for a file: the buckets that aren't empty."""
        buckets = np.flatnonzero(self.counts)
        return {
            "format": _FORMAT,
            "buckets": buckets.tolist(),
            "counts": self.counts[buckets].tolist(),
            "min_us": self.min_us,
            "max_us": self.max_us,
            "total_us": self.total_us,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Histogram:
        """What `to_json` gave; raises ResultError if it is something else."""
        if data.get("format") != _FORMAT or len(data["buckets"]) != len(data["counts"]):
            raise ResultError(
                "A histogram can't be read",
                cause=f"its format is {data.get('format')!r}, not {_FORMAT!r}, or it is cut off",
                next_step="Measure again: `make bench` writes new results.",
            )
        counts = np.zeros(max(data["buckets"], default=-1) + 1, np.int64)
        counts[data["buckets"]] = data["counts"]
        return cls(counts, data["min_us"], data["max_us"], data["total_us"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]


def nearest_rank(q: float, count: int) -> int:
    """Which of `count` sorted values is the `q`-quantile, 1 being the smallest."""
    # 0.999 * 1000 is 999.0000000000001 in binary, and its rank isn't 1000.
    return max(1, math.ceil(round(q * count, 9)))


def _bucket(values_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    shift = np.maximum(np.frexp(values_us.astype(float))[1] - _BITS, 0)
    return (shift * _HALF + (values_us >> shift)).astype(np.int64)


def _middle_us(index: int) -> float:
    shift = max(index // _HALF - 1, 0)
    width = 1 << shift
    return (index - shift * _HALF) * width + (width - 1) / 2
