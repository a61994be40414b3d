"""Images per second, side by side: of forms, of replicas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from helpers.lab.plots.picture import Picture, picture
from helpers.lab.plots.style import BLUE, GREY, ORANGE, SHADE, axes_of, listed

if TYPE_CHECKING:
    from helpers.stats import Ratio, Scalability


def measures(ratios: Mapping[str, Ratio]) -> Picture:
    """What each measure makes of the plain export's speed, with 95 % intervals.

    Args:
        ratios: name of the measure to its images/s ÷ the plain export's, in the order tried.
    """
    figure, (axis,) = axes_of(1, 1, size=(8, 0.5 * len(ratios) + 0.9))
    values = [ratio.value for ratio in ratios.values()]
    reach = [
        (value - (ratio.interval.low or value), (ratio.interval.high or value) - value)
        for value, ratio in zip(values, ratios.values(), strict=True)
    ]
    colours = [GREY if ratio.is_noise else BLUE for ratio in ratios.values()]
    axis.barh(list(ratios), values, color=colours, xerr=np.transpose(reach), capsize=3)
    words = {
        name: "not told apart" if ratio.is_noise else f"{ratio.value:.2f}×"
        for name, ratio in ratios.items()
    }
    ends = [value + right for value, (_, right) in zip(values, reach, strict=True)]
    for row, (end, text) in enumerate(zip(ends, words.values(), strict=True)):
        axis.text(max(end, 1), row, f"  {text}", va="center")  # right of the line at 1
    axis.axvline(1, color="#333", linewidth=1)
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.set(title="Images per second ÷ plain export", xlim=(0, 1.35 * max(ends)))
    listed = ", ".join(f"{name} {text}" for name, text in words.items())
    return picture(figure, alt=f"Images per second over the plain export's: {listed}")


def requests_per_replica(counts: Mapping[str, Mapping[str, int]]) -> Picture:
    """How many requests each replica answered, a panel a way of connecting.

    Args:
        counts: name of the way to (name of the replica to requests).
    """
    figure, axes = axes_of(1, len(counts), size=(3.1 * len(counts), 2.9), sharey=True)
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
    figure, (axis,) = axes_of(1, 1, size=(6.5, 3.6))
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
    alt = "Images per second by replicas: " + listed(throughput)
    return picture(figure, alt=alt)


def scalability(throughput: Mapping[int, float], law: Scalability, *, cores: int) -> Picture:
    """Throughput over replicas, with the Universal Scalability Law fitted to it.

    Args:
        throughput: replicas to images per second.
        law: what was fitted.
        cores: of the machine; more replicas than that can't run at once.
    """
    figure, (axis,) = axes_of(1, 1, size=(8.5, 3.6))
    replicas = list(throughput)
    line = np.linspace(min(replicas), 2 * max(replicas), 100)
    axis.plot(replicas, list(throughput.values()), "o", color=BLUE, label="measured", zorder=3)
    axis.plot(line, law.gamma * line, "--", color=GREY, label="if doubling doubled")
    for part, style, label in (
        (line[line <= max(replicas)], "-", "the law, fitted"),
        (line[line >= max(replicas)], ":", "the law, where nothing was measured"),
    ):
        axis.plot(part, [law.throughput(n) for n in part], style, color=ORANGE, label=label)
    top = 1.5 * max(throughput.values())
    if cores < line[-1]:
        crowded = f"more replicas than the {cores} cores"
        axis.axvspan(cores, line[-1], color=SHADE, zorder=0, label=crowded)
    axis.set(xlabel="replicas", ylabel="images per second", ylim=(0, top))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return picture(figure, alt="Images per second by replicas: " + listed(throughput))


def comparison(values: Mapping[str, float], *, title: str, unit: str) -> Picture:
    """A few figures of the same kind beside one another."""
    figure, (axis,) = axes_of(1, 1, size=(8, 0.5 * len(values) + 0.8))
    bars = axis.barh(list(values), list(values.values()), color=BLUE)
    axis.bar_label(bars, fmt=lambda value: f" {value:,.1f} {unit}")
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.set(title=title, xlim=(0, 1.2 * max(values.values())), xticks=[])
    axis.spines["bottom"].set_visible(False)
    alt = f"{title}: " + listed(values, f" {unit}")
    return picture(figure, alt=alt)
