"""Latency and throughput under load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from helpers.notebook import Picture, picture
from helpers.plots.style import BLUE, GREEN, GREY, ORANGE, PINK, axes_of, listed

if TYPE_CHECKING:
    from helpers.stats import Summary


def closed_loop(points: Mapping[int, Summary]) -> Picture:
    """Throughput and latency over the number of requests that are in flight.

    Args:
        points: concurrency to the summary of its run.
    """
    figure, (left, right) = axes_of(1, 2, size=(9, 3.4))
    concurrencies = list(points)
    left.plot(concurrencies, [s.images_per_s for s in points.values()], "o-", color=BLUE)
    left.set(title="Throughput", ylabel="images per second")
    _percentiles(right, concurrencies, list(points.values()))
    right.set(title="Latency", ylabel="ms")
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set(xlabel="requests in flight", ylim=(0, None), xticks=concurrencies)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    throughput = {concurrency: summary.images_per_s for concurrency, summary in points.items()}
    alt = f"Latency, and images per second, by requests in flight: {listed(throughput)}"
    return picture(figure, alt=alt)


def open_loop(
    points: Mapping[float, Summary], naive: Mapping[float, Summary], *, capacity_per_s: float
) -> Picture:
    """Latency over the rate at which requests are due, counted honestly and naively.

    Args:
        points: rate (requests/s) to the summary that counts latency from when a request was due.
        naive: the same runs, counted from when a request was sent.
        capacity_per_s: the closed loop's highest throughput, drawn as a line.
    """
    figure, (axis,) = axes_of(1, 1, size=(7.5, 3.8))
    rates = list(points)
    _percentiles(axis, rates, list(points.values()))
    axis.plot(
        rates,
        [summary.p50_ms for summary in naive.values()],
        "x:",
        color=PINK,
        label="p50 from sending (naive)",
    )
    axis.axvline(capacity_per_s, color=GREY, linestyle="--", linewidth=1)
    axis.text(capacity_per_s, axis.get_ylim()[1], " closed-loop capacity", va="top", color="#555")
    axis.set(xlabel="requests due per second", ylabel="latency, ms", yscale="log")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.legend(loc="upper left")
    alt = f"Latency over the rate of requests; the closed loop's best is {capacity_per_s:.1f}/s"
    return picture(figure, alt=alt)


def _percentiles(axis: Axes, x: Sequence[float], summaries: Sequence[Summary]) -> None:
    """Lines of p50, p90 and p99; a percentile that its samples don't carry leaves a gap."""
    for name, colour, marker in (("p50", BLUE, "o"), ("p90", GREEN, "s"), ("p99", ORANGE, "^")):
        values = [summary.latency[name].ms for summary in summaries]
        gaps = [np.nan if value is None else value for value in values]
        if not np.all(np.isnan(gaps)):
            axis.plot(x, gaps, f"{marker}-", color=colour, label=name)
    axis.legend(loc="upper left")
