"""One figure a function: data in, a `Picture` with its alternative text out, for a cell to end on.

Nothing here measures or computes; what is drawn is what the run returned. Colours are told apart
without hue (Okabe and Ito's palette), and a line has a marker as well as a colour.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from helpers.notebook import Picture, picture
from helpers.photos import Photo

if TYPE_CHECKING:
    from helpers.client import Prediction
    from helpers.stats import Summary

BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#8a8f98"
STYLE = {
    "figure.dpi": 110,
    "savefig.dpi": 165,
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#c3c7cd",
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.grid.axis": "y",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8eaed",
    "legend.frameon": False,
}


def prediction(photo: Photo, answer: Prediction, *, caveat: str = "") -> Picture:
    """A photo beside the labels and scores that it was given.

    Args:
        photo: what was classified.
        answer: a `client.Prediction`, best label first.
        caveat: what a reader must know about the labels, such as that the weights are random.
    """
    figure, (left, right) = _axes(1, 2, size=(9, 3.2), widths=(1, 1.25))
    _show(left, photo)
    names = [_short(name) for name in answer.labels]
    bars = right.barh(names, answer.scores, color=[BLUE] + [GREY] * (len(names) - 1))
    right.bar_label(bars, fmt=lambda score: f" {score:.1%}", color="#333")
    right.invert_yaxis()
    right.grid(visible=False)
    right.set(xlim=(0, 1.25 * max(answer.scores)), xticks=[], title="What the network says")
    right.spines["bottom"].set_visible(False)
    if caveat:
        figure.text(0.5, -0.02, caveat, ha="center", va="top", color="#b3261e")
    alt = f"{photo.title}: {_short(answer.label)} {answer.score:.1%}, then four less likely labels"
    return picture(figure, alt=alt)


def contact_sheet(photos: Sequence[Photo], *, columns: int = 4) -> Picture:
    """All photos, small, each with its title."""
    rows = -(-len(photos) // columns)
    figure, axes = _axes(rows, columns, size=(9, 2.1 * rows))
    for axis in np.ravel(axes):
        axis.axis("off")
    for axis, photo in zip(np.ravel(axes), photos, strict=False):
        _show(axis, photo)
    alt = "The photos: " + "; ".join(photo.title for photo in photos)
    return picture(figure, alt=alt)


def preprocessing(steps: Mapping[str, np.ndarray]) -> Picture:
    """The pictures between a JPEG and the network's input.

    Args:
        steps: name of the step to pixels, `[height, width, 3]`, uint8 or float in [-1, 1].
    """
    figure, axes = _axes(1, len(steps), size=(9, 3))
    for axis, (name, pixels) in zip(np.ravel(axes), steps.items(), strict=True):
        shown = pixels if pixels.dtype == np.uint8 else np.clip((pixels + 1) / 2, 0, 1)
        axis.imshow(shown)
        height, width, _ = pixels.shape
        spread = f"{pixels.dtype}, {pixels.min():.3g} to {pixels.max():.3g}"
        axis.set_title(name)
        axis.set_xlabel(f"{width}×{height}\n{spread}")
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
    alt = "The same photo after each step: " + ", ".join(steps)
    return picture(figure, alt=alt)


def measures(ratios: Mapping[str, float]) -> Picture:
    """What each measure makes of the plain export's speed.

    Args:
        ratios: name of the measure to its images/s ÷ the plain export's, in the order tried.
    """
    figure, (axis,) = _axes(1, 1, size=(8, 0.5 * len(ratios) + 0.9))
    colours = [GREY if ratio < 1.03 else BLUE for ratio in ratios.values()]
    bars = axis.barh(list(ratios), list(ratios.values()), color=colours)
    axis.bar_label(bars, fmt=" %.2f×")
    axis.axvline(1, color="#333", linewidth=1)
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.set(title="Images per second ÷ plain export", xlim=(0, 1.15 * max(ratios.values())))
    alt = "Images per second by measure: " + _listed(ratios, "×")
    return picture(figure, alt=alt)


def requests_per_replica(counts: Mapping[str, Mapping[str, int]]) -> Picture:
    """How many requests each replica answered, a panel a way of connecting.

    Args:
        counts: name of the way to (name of the replica to requests).
    """
    figure, axes = _axes(1, len(counts), size=(3.1 * len(counts), 2.9), sharey=True)
    for axis, (name, by_replica) in zip(axes, counts.items(), strict=True):
        bars = axis.bar([str(i) for i in range(len(by_replica))], by_replica.values(), color=BLUE)
        axis.bar_label(bars)
        axis.set(title=name, xlabel="replica")
    axes[0].set_ylabel("requests answered")
    listed = (f"{name} {list(by_replica.values())}" for name, by_replica in counts.items())
    alt = "Requests by replica: " + "; ".join(listed)
    return picture(figure, alt=alt)


def scaling(throughput: Mapping[int, float], *, cores: int) -> Picture:
    """Throughput over replicas, beside the line on which doubling doubles.

    Args:
        throughput: replicas to images per second, the smallest number of replicas first.
        cores: of the machine; more replicas than that can't run at once.
    """
    figure, (axis,) = _axes(1, 1, size=(6.5, 3.6))
    replicas = np.array(list(throughput))
    measured = np.array(list(throughput.values()))
    ideal = measured[0] / replicas[0] * replicas
    axis.plot(replicas, ideal, "--", color=GREY, label="if every replica had cores of its own")
    axis.plot(replicas, measured, "o-", color=BLUE, label="measured")
    if replicas.max() >= cores:
        axis.axvspan(cores, replicas.max(), color="#f3f4f6", zorder=0)
        axis.text(cores, ideal.max(), f" more replicas than the {cores} cores", va="top")
    axis.set(xlabel="replicas", ylabel="images per second", ylim=(0, None), xticks=replicas)
    axis.legend(loc="lower right")
    alt = "Images per second by replicas: " + _listed(throughput)
    return picture(figure, alt=alt)


def closed_loop(points: Mapping[int, Summary]) -> Picture:
    """Throughput and latency over the number of requests that are in flight.

    Args:
        points: concurrency to the summary of its run.
    """
    figure, (left, right) = _axes(1, 2, size=(9, 3.4))
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
    alt = f"Latency, and images per second, by requests in flight: {_listed(throughput)}"
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
    figure, (axis,) = _axes(1, 1, size=(7.5, 3.8))
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


def comparison(values: Mapping[str, float], *, title: str, unit: str) -> Picture:
    """A few figures of the same kind beside one another."""
    figure, (axis,) = _axes(1, 1, size=(8, 0.5 * len(values) + 0.8))
    bars = axis.barh(list(values), list(values.values()), color=BLUE)
    axis.bar_label(bars, fmt=lambda value: f" {value:,.1f} {unit}")
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.set(title=title, xlim=(0, 1.2 * max(values.values())), xticks=[])
    axis.spines["bottom"].set_visible(False)
    alt = f"{title}: " + _listed(values, f" {unit}")
    return picture(figure, alt=alt)


def _percentiles(axis: Axes, x: Sequence[float], summaries: Sequence[Summary]) -> None:
    """Lines of p50, p90 and p99; a percentile that its samples don't carry leaves a gap."""
    for name, colour, marker in (("p50", BLUE, "o"), ("p90", GREEN, "s"), ("p99", ORANGE, "^")):
        values = [summary.latency[name].ms for summary in summaries]
        gaps = [np.nan if value is None else value for value in values]
        if not np.all(np.isnan(gaps)):
            axis.plot(x, gaps, f"{marker}-", color=colour, label=name)
    axis.legend(loc="upper left")


def _axes(
    rows: int,
    columns: int,
    *,
    size: tuple[float, float],
    widths: Sequence[float] | None = None,
    sharey: bool = False,
) -> tuple[Figure, np.ndarray]:
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows,
            columns,
            figsize=size,
            width_ratios=widths,
            sharey=sharey,
            squeeze=False,
            layout="constrained",
        )
    return figure, axes[0] if rows == 1 else axes


def _show(axis: Axes, photo: Photo) -> None:
    axis.imshow(Image.open(io.BytesIO(photo.data)))
    axis.set_title(photo.title, fontsize=10)
    axis.axis("off")


def _short(name: str, *, most: int = 28) -> str:
    """The first name of a synonym list, cut where a chart has no room for more."""
    first = name.split(",")[0]
    return first if len(first) <= most else first[: most - 1] + "…"


def _listed(values: Mapping[Any, float], unit: str = "") -> str:
    return ", ".join(f"{name} {value:.3g}{unit}" for name, value in values.items())
