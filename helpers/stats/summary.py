"""From the records of a run to its figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from helpers.errors import LoadError, NoRequestsError
from helpers.stats.confidence import Interval, enough_for, mean, mean_of_batches, quantile_ranks
from helpers.stats.digits import short
from helpers.stats.histogram import Histogram, nearest_rank
from helpers.stats.records import Records, code_name, within

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


@dataclass(frozen=True)
class Percentile:
    """A latency that a share of the requests didn't exceed, and what it stands on.

    Attributes:
        q: the share, such as 0.99.
        ms: the latency in milliseconds; None if there are too few samples to tell.
        interval_ms: its 95 % confidence interval.
        samples: the number of successful requests that it was read from.
    """

    q: float
    ms: float | None
    interval_ms: Interval
    samples: int

    def __str__(self) -> str:
        if self.ms is None:
            return f"not enough samples ({self.samples} of {enough_for(self.q)})"
        return f"{short(self.ms)} ms"


@dataclass(frozen=True)
class Summary:
    """The figures of a run.

    Attributes:
        duration_s: the length of the measured window in seconds.
        requests: how many requests ended in it.
        successes: how many of them with an answer.
        failures: how many failed, by the name of the gRPC status.
        throughput_per_s: successful requests a second.
        throughput_interval: its 95 % confidence interval.
        photos_per_request: photos in each request.
        histogram: the latencies of the successful requests.
        latency_from: `due` or `sent`: where latencies are counted from.
    """

    duration_s: float
    requests: int
    successes: int
    failures: Mapping[str, int]
    throughput_per_s: float
    throughput_interval: Interval
    photos_per_request: int
    histogram: Histogram
    latency_from: str

    @property
    def images_per_s(self) -> float:
        """Photos classified a second."""
        return self.throughput_per_s * self.photos_per_request

    def percentile(self, q: float) -> Percentile:
        """The latency that a share `q` of the successful requests didn't exceed."""
        return percentile(self.histogram, q)

    @property
    def latency(self) -> dict[str, Percentile]:
        """The usual percentiles, `p50` to `p999`."""
        return {name: self.percentile(q) for name, q in QUANTILES.items()}

    @property
    def p50_ms(self) -> float | None:
        """The median latency in milliseconds; None without enough samples."""
        return self.percentile(0.5).ms

    @property
    def p99_ms(self) -> float | None:
        """The 99th percentile in milliseconds; None without enough samples."""
        return self.percentile(0.99).ms

    @property
    def max_ms(self) -> float | None:
        """The slowest success in milliseconds; None if there was none."""
        return self.histogram.max_us / 1e3 if self.successes else None

    @property
    def mean_ms(self) -> float | None:
        """The mean latency in milliseconds; None if nothing succeeded."""
        return self.histogram.mean_ms if self.successes else None

    def _rows(self) -> list[tuple[str, str]]:
        failed = ", ".join(f"{count} {name}" for name, count in self.failures.items())
        return [
            ("requests", f"{self.requests} in {self.duration_s:g} s"),
            ("failures", failed or "none"),
            ("images/s", short(self.images_per_s)),
            *((name, str(value)) for name, value in self.latency.items()),
            ("max", "none" if self.max_ms is None else f"{short(self.max_ms)} ms"),
        ]

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self._rows())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{name}</th><td>{value}</td></tr>"
            for name, value in self._rows()
        )
        return f"<table>{rows}</table>"

    def to_json(self) -> dict[str, Any]:
        """Plain data for a file. What can be computed from the histogram is there to be read."""
        return {
            **vars(self),
            "throughput_interval": [self.throughput_interval.low, self.throughput_interval.high],
            "images_per_s": self.images_per_s,
            "latency_ms": {name: value.ms for name, value in self.latency.items()},
            "max_ms": self.max_ms,
            "mean_ms": self.mean_ms,
            "histogram": self.histogram.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Summary:
        """What `to_json` gave."""
        own = {field.name: data[field.name] for field in fields(cls)}
        own["throughput_interval"] = Interval(*data["throughput_interval"])
        return cls(**{**own, "histogram": Histogram.from_json(data["histogram"])})


def percentile(histogram: Histogram, q: float) -> Percentile:
    """A percentile of a histogram, or that it has too few samples for it."""
    count = histogram.count
    if count < enough_for(q):
        return Percentile(q, None, Interval(None, None), count)
    low, high = quantile_ranks(q, count)
    interval = Interval(
        None if low is None else histogram.rank_ms(low),
        None if high is None else histogram.rank_ms(high),
    )
    return Percentile(q, histogram.rank_ms(nearest_rank(q, count)), interval, count)


def summarize(
    records: Records,
    *,
    duration_s: float,
    latency_from: Literal["due", "sent"] = "due",
    latency_of: Literal["due", "done"] = "due",
    photos_per_request: int = 1,
) -> Summary:
    """Throughput and latency percentiles of a finished run.

    Throughput counts the successes that were done in the window [0, duration_s): for an overloaded
    server it is what the server did, not what it was asked for. Failed requests count towards
    `failures` and never towards latency.

    Args:
        records: what was seen of each request, of dtype `RECORD`; the warm-up may be among them.
        duration_s: the length of the measured window in seconds.
        latency_from: `due` counts a latency from when the request was to be sent, so that waiting
            for a stalled server counts (no coordinated omission; Gil Tene, How NOT to Measure
            Latency). `sent` counts from when it was sent.
        latency_of: whose latencies: of the requests that were `due` in the window, followed to
            their end (open loop), or of those that were `done` in it (closed loop, where the
            requests on their way at the end are sped up by the missing others).
        photos_per_request: photos in each request.

    Raises:
        LoadError: `duration_s` isn't positive.
        NoRequestsError: no request was due or done in the window.
    """
    if not duration_s > 0:
        raise LoadError(
            f"A run of {duration_s} s can't be summarized", next_step="Measure for a while."
        )
    done = within(records, "done_s", duration_s)
    counted = done if latency_of == "done" else within(records, "due_s", duration_s)
    if not len(counted) and not len(done):
        raise NoRequestsError(
            f"No request ended within the {duration_s:g} s that were measured",
            cause=f"{len(records)} requests were sent in the whole run, the warm-up included",
            next_step="Measure for longer than a request takes.",
        )
    answered = counted[counted["code"] == 0]
    times = np.sort(done["done_s"][done["code"] == 0])
    interval = mean_of_batches(times, duration_s=duration_s)
    codes, counts = np.unique(counted["code"][counted["code"] != 0], return_counts=True)
    return Summary(
        duration_s=duration_s,
        requests=len(counted),
        successes=len(answered),
        failures={code_name(int(c)): int(n) for c, n in zip(codes, counts, strict=True)},
        throughput_per_s=len(times) / duration_s,
        throughput_interval=interval,
        photos_per_request=photos_per_request,
        histogram=Histogram.of(answered["done_s"] - answered[f"{latency_from}_s"]),
        latency_from=latency_from,
    )


def half_width(records: Records, figure: str, *, duration_s: float) -> float | None:
    """How far the 95 % confidence interval of a figure reaches, as a share of the figure.

    Args:
        records: of dtype `RECORD`, as far as a run has come.
        figure: `throughput`, or a percentile's name in `QUANTILES`.
        duration_s: the seconds that have been measured so far.

    Returns:
        The longer of the interval's two arms over the figure; None if there is no interval yet.
    """
    answered = within(records, "done_s", duration_s)
    answered = answered[answered["code"] == 0]
    if figure == "throughput":
        value = len(answered) / duration_s
        interval = mean_of_batches(np.sort(answered["done_s"]), duration_s=duration_s)
    else:
        found = percentile(Histogram.of(answered["done_s"] - answered["due_s"]), QUANTILES[figure])
        value, interval = found.ms or 0.0, found.interval_ms
    if interval.low is None or interval.high is None or not value:
        return None
    return max(value - interval.low, interval.high - value) / value


def pooled(summaries: Sequence[Summary], *, at_once: bool = False) -> Summary:
    """Several runs as one.

    Percentiles are those of all their requests, from the merged histograms.

    Args:
        summaries: at least one, of the same kind of run.
        at_once: the runs put load on one server together, as several pods do: throughputs add up.
            Otherwise they were rounds, one after another: throughputs are averaged, and the
            interval is theirs.

    Raises:
        NoRequestsError: there are none.
        LoadError: their latencies count from different moments, or photos a request differ.
    """
    if not summaries:
        raise NoRequestsError("There is no run to pool", next_step="Pass at least one summary.")
    if len({(s.latency_from, s.photos_per_request) for s in summaries}) > 1:
        raise LoadError(
            "These runs can't be pooled",
            cause="their latencies or their requests are of different kinds",
            next_step="Pool runs that were made with the same settings.",
        )
    rates = [s.throughput_per_s for s in summaries]
    if at_once:
        throughput, interval = sum(rates), _added([s.throughput_interval for s in summaries], rates)
    elif len(rates) == 1:
        throughput, interval = rates[0], summaries[0].throughput_interval
    else:
        throughput, interval = mean(rates)
    failures: Counter[str] = Counter()
    for summary in summaries:
        failures.update(summary.failures)
    durations = [s.duration_s for s in summaries]
    return Summary(
        duration_s=max(durations) if at_once else sum(durations),
        requests=sum(s.requests for s in summaries),
        successes=sum(s.successes for s in summaries),
        failures=dict(failures),
        throughput_per_s=throughput,
        throughput_interval=interval,
        photos_per_request=summaries[0].photos_per_request,
        histogram=Histogram.merged(s.histogram for s in summaries),
        latency_from=summaries[0].latency_from,
    )


def _added(intervals: Sequence[Interval], values: Sequence[float]) -> Interval:
    """The interval of a sum of independent values: variances add up."""
    pairs = list(zip(intervals, values, strict=True))
    if any(i.low is None or i.high is None for i, _ in pairs):
        return Interval(None, None)
    down = math.hypot(*(v - (i.low or 0.0) for i, v in pairs))
    up = math.hypot(*((i.high or 0.0) - v for i, v in pairs))
    return Interval(sum(values) - down, sum(values) + up)
