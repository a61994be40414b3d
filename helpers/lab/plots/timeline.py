"""What happened to the requests and the replicas while things were broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from helpers.lab.plots.picture import Picture, picture
from helpers.lab.plots.style import BLUE, GREEN, GREY, ORANGE, PINK, axes_of

if TYPE_CHECKING:
    from helpers.faults import Fault, Moment
    from helpers.load.traffic import Flow

_COLOURS = (ORANGE, BLUE, GREEN, PINK)
_STYLES = ("-", "--", ":", "-.")
_SHADES = ("#f3f4f6", "#e2e5ea")  # in turn: a fault often begins where the last one ended
_BUCKET_S = 0.5


def timeline(
    flows: Mapping[str, Flow], moments: Sequence[Moment] = (), faults: Sequence[Fault] = ()
) -> Picture:
    """Answered and lost requests a second, p99, and ready replicas, with the faults shaded.

    Args:
        flows: by client, on the clock of the moments.
        moments: the replicas over time; none: no such panel.
        faults: what was broken, and until when.
    """
    rows = 4 if moments else 3
    figure, grid = axes_of(rows, 1, size=(10, 1.75 * rows), sharey=False)
    axes = [row[0] for row in grid]
    end_s = max(float(flow.records["done_s"].max()) for flow in flows.values())
    for (name, flow), colour, style in zip(flows.items(), _COLOURS, _STYLES, strict=False):
        over_time = flow.buckets(_BUCKET_S)
        for axis, what in zip(axes, ("answered", "lost", "p99_ms"), strict=False):
            axis.plot(
                over_time["at_s"], over_time[what], style, color=colour, label=name, linewidth=1.5
            )
    axes[0].set(title="Answered, requests per second")
    axes[0].set_ylim(0, 1.4 * axes[0].get_ylim()[1] if faults else None)  # room for their names
    axes[1].set(title="Lost, requests per second")
    axes[1].set_ylim(0, max(1.0, axes[1].get_ylim()[1]))
    axes[2].set(title="p99 latency, ms", yscale="log")
    axes[2].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if moments:
        _replicas(axes[3], moments)
    for axis in axes:
        axis.set_xlim(0, end_s)
        for number, fault in enumerate(faults):
            shade = _SHADES[number % len(_SHADES)]
            axis.axvspan(fault.began_s, fault.ended_s, color=shade, zorder=0)
    for number, fault in enumerate(faults):
        late = fault.began_s > 0.8 * end_s  # its name would not fit in on the right
        axes[0].annotate(
            f" {fault.name} ",
            (fault.ended_s if late else fault.began_s, 1.0),
            xycoords=("data", "axes fraction"),
            # On two lines in turn: a name may be longer than its fault.
            xytext=(0, -10 * (number % 2)),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            fontsize=8,
        )
    axes[-1].set_xlabel("seconds")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    told = "; ".join(
        f"{fault.name} at {fault.began_s:.0f} s: "
        + ", ".join(f"{lost} lost ({client})" for client, lost in fault.lost.items())
        for fault in faults
    ) or "; ".join(f"{name}: {flow}" for name, flow in flows.items())
    return picture(figure, alt=f"Requests and replicas over time. {told}")


def _replicas(axis: Axes, moments: Sequence[Moment]) -> None:
    at = [moment.at_s for moment in moments]
    ready = [np.nan if moment.ready is None else moment.ready for moment in moments]
    axis.step(at, ready, where="post", color=GREY, linewidth=2)
    most = max((moment.all for moment in moments), default=1)
    axis.set(title="Ready replicas", ylim=(-0.1, most + 0.3), yticks=range(most + 1))
