"""Latency and throughput under load."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from helpers.lab.plots.picture import Picture, picture
from helpers.lab.plots.style import BLUE, GREEN, GREY, ORANGE, PINK, SHADE, YELLOW, axes_of, listed

if TYPE_CHECKING:
    from helpers.stats import Summary

_VISIBLE_MS = 1e-3  # a microsecond, which is what the clocks tell apart
_GIVEN_UP = 0.01  # of the requests: with more, what a p99 of the others says is not of all


def latency_against_load(
    points: Mapping[float, Summary],
    *,
    knee_per_s: float,
    objective_ms: float,
    capacity_per_s: float,
    invalid: Collection[float] = (),
) -> Picture:
    """Latency over the rate at which requests are due, its knee, the objective, the capacity.

    Where more than one request in a hundred failed there is a cross in place of a latency: that of
    the others would leave out the slowest. The p99's bars are its 95 % confidence interval.

    Args:
        points: rate (requests/s) to the summary of its runs, latency counted from when due.
        knee_per_s: where it bends.
        objective_ms: what the p99 is to stay under.
        capacity_per_s: the most that was answered per second.
        invalid: the rates at which the generator didn't keep up: these points get a ring.
    """
    figure, (axis,) = axes_of(1, 1, size=(7.5, 3.8))
    failed = {rate: sum(s.failures.values()) > _GIVEN_UP * s.requests for rate, s in points.items()}
    answered = {rate: summary for rate, summary in points.items() if not failed[rate]}
    given_up = [rate for rate in points if failed[rate]]
    axis.set_yscale("log")
    _percentiles(axis, list(answered), list(answered.values()))
    _bars(axis, answered)
    ringed = {rate: s.p99_ms for rate, s in answered.items() if rate in invalid and s.p99_ms}
    if ringed:
        ring = {"markersize": 13, "markerfacecolor": "none", "markeredgecolor": "#333"}
        label = "the generator was late"
        axis.plot(list(ringed), list(ringed.values()), "o", linestyle="none", label=label, **ring)
    above = axis.get_xaxis_transform()
    if given_up:
        axis.plot(
            given_up,
            [0.96] * len(given_up),
            "x",
            color="#333",
            transform=above,
            label="requests given up",
        )
    axis.axhline(
        objective_ms, color=PINK, linestyle="--", linewidth=1, label="objective for the p99"
    )
    axis.axvline(knee_per_s, color=GREY, linestyle=":", linewidth=1.5, label="knee")
    right = 1.05 * max(*points, capacity_per_s)
    axis.axvspan(capacity_per_s, right, color=SHADE, zorder=0, label="past the capacity")
    axis.set(xlabel="requests due per second", ylabel="latency, ms", xlim=(0, right))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    medians = {f"{rate:.0f}/s": summary.p50_ms or 0.0 for rate, summary in answered.items()}
    alt = f"Latency over the rate of requests; median in ms: {listed(medians)}"
    if given_up:
        alt += f"; requests given up at {', '.join(f'{rate:.0f}/s' for rate in given_up)}"
    if ringed:
        alt += f"; the generator was late at {', '.join(f'{rate:.0f}/s' for rate in ringed)}"
    return picture(figure, alt=alt)


def percentiles(summaries: Mapping[str, Summary], *, title: str) -> Picture:
    """Latency by percentile, one line per way of measuring, up to the slowest request of each.

    Each nine takes as much room as the last. The slowest of `count` requests is drawn at half a
    request's share from the end, since a logarithmic axis has no 100 %.

    Args:
        summaries: name to summary, whose histogram is drawn.
        title: what they are of.
    """
    figure, (axis,) = axes_of(1, 1, size=(7.5, 3.4))
    styles = zip(summaries.items(), (BLUE, ORANGE, GREEN), ("-", "--", ":"), strict=False)
    for (name, summary), colour, line in styles:
        count = summary.histogram.count
        slower = np.unique(np.geomspace(1, max(1, count // 2), 200).astype(int))[::-1]
        values = [summary.histogram.rank_ms(int(count - n + 1)) for n in slower]
        x = (slower - 0.5) / count
        axis.plot(x, values, line, color=colour, label=name, linewidth=2)
        axis.plot(x[-1:], values[-1:], "o", color=colour, markersize=7)
    axis.plot([], [], "o", color=GREY, label="the slowest request")
    axis.set(xscale="log", yscale="log", title=title, ylabel="latency, ms", xlabel="percentile")
    axis.set_xticks([0.5, 0.1, 0.01], ["p50", "p90", "p99"])
    axis.minorticks_off()
    axis.invert_xaxis()
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.legend(loc="center")
    p99 = {name: summary.p99_ms or 0.0 for name, summary in summaries.items()}
    slowest = {name: summary.max_ms or 0.0 for name, summary in summaries.items()}
    alt = f"{title}; p99 in ms: {listed(p99)}; the slowest request in ms: {listed(slowest)}"
    return picture(figure, alt=alt)


def batching(points: Mapping[tuple[int, int], Summary], *, best: tuple[int, int] | None) -> Picture:
    """Images per second and p99 by the largest batch and the time-out, the best setting framed.

    A p99 that its samples don't carry is said to have too few.

    Args:
        points: max_batch_size and batch_timeout_micros to the summary of their run.
        best: the setting that was chosen, if one meets the objective.
    """
    sizes, timeouts = (sorted(set(values)) for values in zip(*points, strict=True))
    figure, axes = axes_of(1, 2, size=(9, 0.62 * len(sizes) + 1.5))
    for axis, (title, value, colours) in zip(
        axes,
        [
            ("Images per second", lambda s: s.images_per_s, "Blues"),
            ("p99, ms", lambda s: s.p99_ms or np.nan, "Oranges"),
        ],
        strict=True,
    ):
        grid = np.array([[value(points[size, timeout]) for timeout in timeouts] for size in sizes])
        axis.imshow(grid, cmap=colours, aspect="auto", vmin=0, vmax=1.3 * np.nanmax(grid))
        for (row, column), number in np.ndenumerate(grid):
            text = "too few" if np.isnan(number) else f"{number:,.0f}"
            axis.text(column, row, text, ha="center", va="center")
        if best:
            corner = timeouts.index(best[1]) - 0.47, sizes.index(best[0]) - 0.47
            axis.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, linewidth=2.5, color="#222"))
        axis.set_xticks(range(len(timeouts)), [f"{timeout:,}" for timeout in timeouts])
        # A batch of one is full with its first request: no time-out changes anything.
        names = [f"{size} (control)" if size == 1 else str(size) for size in sizes]
        axis.set_yticks(range(len(sizes)), names)
        axis.set(title=title, xlabel="batch_timeout_micros", ylabel="max_batch_size")
        axis.grid(visible=False)
    rates = {f"{b} with {t / 1000:g} ms:": s.images_per_s for (b, t), s in points.items()}
    return picture(figure, alt=f"Images per second by batch and time-out: {listed(rates)}")


def time_of_a_request(parts: Mapping[str, Mapping[str, float]]) -> Picture:
    """Where the milliseconds of a mean request go, one bar per load.

    The legend has each part's milliseconds: most are too short to be seen beside the longest.

    Args:
        parts: name of the load to (part to milliseconds), the parts in the order of a request. One
            that is next to nothing in every load is left out of the picture.
    """
    order = next(iter(parts.values()))
    shown = [p for p in order if max(abs(load[p]) for load in parts.values()) >= _VISIBLE_MS]
    parts = {name: {part: load[part] for part in shown} for name, load in parts.items()}
    figure, (axis,) = axes_of(1, 1, size=(9, 0.7 * len(parts) + 2.0))
    colours = dict(zip(order, [GREY, PINK, ORANGE, YELLOW, GREEN, BLUE, "black"], strict=False))
    left = np.zeros(len(parts))
    for part in shown:
        colour = colours[part]
        widths = np.array([load[part] for load in parts.values()])
        label = f"{part}: {' / '.join(map(_ms, widths))} ms"
        axis.barh(list(parts), widths, left=left, color=colour, label=label)
        for y, (start, width, total) in enumerate(
            zip(left, widths, (sum(load.values()) for load in parts.values()), strict=True)
        ):
            if width > 0.06 * total and width > 0.03 * left.max():
                ink = "black" if colour in (PINK, ORANGE, YELLOW) else "white"
                style = {"ha": "center", "va": "center", "color": ink}
                axis.text(start + width / 2, y, _ms(width), **style)
        left += widths
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.set(xlabel="milliseconds")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3)
    words = (f"{name}: {listed(load, ' ms')}" for name, load in parts.items())
    return picture(figure, alt="Where a request's time goes; " + "; ".join(words))


def _ms(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def _bars(axis: Axes, summaries: Mapping[float, Summary]) -> None:
    """The p99's confidence interval; a side that its samples don't bound has no bar."""
    for rate, summary in summaries.items():
        found = summary.latency["p99"]
        if found.ms is not None:
            low, high = (bound or found.ms for bound in vars(found.interval_ms).values())
            axis.plot([rate, rate], [low, high], "_-", color=ORANGE, linewidth=1, markersize=7)


def _percentiles(axis: Axes, x: Sequence[float], summaries: Sequence[Summary]) -> None:
    """Lines of p50, p90 and p99; a percentile that its samples don't carry leaves a gap."""
    for name, colour, marker in (("p50", BLUE, "o"), ("p90", GREEN, "s"), ("p99", ORANGE, "^")):
        values = [summary.latency[name].ms for summary in summaries]
        gaps = [np.nan if value is None else value for value in values]
        if not np.all(np.isnan(gaps)):
            axis.plot(x, gaps, f"{marker}-", color=colour, label=name)
    if axis.lines:
        axis.legend(loc="upper left")
