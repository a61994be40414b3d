"""Images per second, side by side: of forms, of replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from helpers.lab.plots.picture import Picture, picture
from helpers.lab.plots.style import BLUE, GREY, ORANGE, SHADE, axes_of, listed
from helpers.stats import short

if TYPE_CHECKING:
    from helpers.clusters.load_result import Result
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


def requests_per_replica(results: Mapping[str, Result]) -> Picture:
    """Which share of its requests each replica answered, a panel per way of connecting.

    Args:
        results: name of the way to what a load test found.
    """
    figure, axes = axes_of(1, len(results), size=(3.1 * len(results), 2.9), sharey=True)
    shares = {way: list(result.shares.values()) for way, result in results.items()}
    rates = {way: result.summary.images_per_s for way, result in results.items()}
    for axis, (way, by_replica) in zip(axes, shares.items(), strict=True):
        numbers = [str(number + 1) for number in range(len(by_replica))]
        bars = axis.bar(numbers, [100 * share for share in by_replica], color=BLUE)
        axis.bar_label(bars, fmt="%.0f %%")
        axis.axhline(100 / len(by_replica), color=GREY, linestyle="--", linewidth=1)
        axis.set(title=f"{way}: {short(rates[way])} images/s", xlabel="replica", ylim=(0, 110))
    axes[0].set_ylabel("share of the requests, %")
    listed = (
        f"{way}, {short(rates[way])} images/s: {', '.join(f'{share:.0%}' for share in by_replica)}"
        for way, by_replica in shares.items()
    )
    return picture(figure, alt="Shares of the requests by replica. " + "; ".join(listed))


def scaling(rounds: Mapping[int, Sequence[float]], *, cores: int) -> Picture:
    """Throughput over replicas, beside the line on which doubling doubles.

    Args:
        rounds: replicas to images per second, once for each round, the fewest replicas first.
        cores: of the machine; more replicas than that can't run at once.
    """
    figure, (axis,) = axes_of(1, 1, size=(7, 3.6))
    replicas = np.array(list(rounds))
    means = np.array([np.exp(np.log(rates).mean()) for rates in rounds.values()])
    ideal = means[0] / replicas[0] * replicas
    axis.plot(replicas, ideal, "--", color=GREY, label="if every replica had cores of its own")
    axis.plot(replicas, means, "o-", color=BLUE, label="measured, mean")
    each = [(number, rate) for number, rates in rounds.items() for rate in rates]
    axis.plot(*zip(*each, strict=True), "_", color=ORANGE, markersize=14, label="one round each")
    if replicas.max() > cores:
        axis.axvspan(cores, replicas.max(), color=SHADE, zorder=0)
        axis.text(cores, 0.03 * ideal.max(), f" more replicas than the {cores} cores")
    axis.set(xlabel="replicas", ylabel="images per second", ylim=(0, None), xticks=replicas)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    alt = "Images per second by replicas: " + listed(dict(zip(rounds, means, strict=True)))
    return picture(figure, alt=alt)


def scalability(throughput: Mapping[int, float], law: Scalability, *, cores: int) -> Picture:
    """Throughput over replicas, with the Universal Scalability Law fitted to it.

    Args:
        throughput: replicas to images per second.
        law: what was fitted.
        cores: of the machine; more replicas than that can't run at once.
    """
    figure, (axis,) = axes_of(1, 1, size=(8.5, 3.6))
    replicas, most = list(throughput), max(throughput)
    line = np.linspace(min(replicas), most, 100)
    axis.plot(line, law.gamma * line, "--", color=GREY, label="if doubling doubled")
    axis.plot(line, [law.throughput(n) for n in line], color=ORANGE, label="the law, fitted")
    axis.plot(replicas, list(throughput.values()), "o", color=BLUE, label="measured", zorder=3)
    if cores < most:
        crowded = f"more replicas than the {cores} cores"
        axis.axvspan(cores, most, color=SHADE, zorder=0, label=crowded)
    axis.set(xlabel="replicas", ylabel="images per second", ylim=(0, None), xticks=replicas)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return picture(figure, alt="Images per second by replicas: " + listed(throughput))
