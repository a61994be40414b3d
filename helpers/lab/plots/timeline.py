"""What happened to the requests and the replicas while things were broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from helpers.lab.plots.picture import Picture, picture
from helpers.lab.plots.style import BLUE, GREEN, GREY, ORANGE, PINK, SHADE, axes_of

if TYPE_CHECKING:
    from helpers.faults import Drill, Fault, Moment
    from helpers.faults.overload import Overload
    from helpers.load.traffic import Flow

_COLOURS = (ORANGE, BLUE, GREEN, PINK)
_STYLES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D")
_SHADES = ("#f3f4f6", "#e2e5ea")  # in turn: a fault often begins where the last one ended
_BUCKET_S = 0.5
_BEFORE_S = 1.0  # of undisturbed requests, before a roll-out begins


def timeline(
    flows: Mapping[str, Flow], moments: Sequence[Moment] = (), faults: Sequence[Fault] = ()
) -> Picture:
    """Lost requests per second, the slowest answers and the ready replicas; the faults shaded.

    Args:
        flows: by client, on the clock of the moments.
        moments: the replicas over time; none: no such panel.
        faults: what was broken, and until when. They are numbered in the picture.
    """
    rows = 3 if moments else 2
    figure, grid = axes_of(rows, 1, size=(10, 1.8 * rows + 0.5), sharey=False)
    axes = [row[0] for row in grid]
    end_s = max(float(flow.records["done_s"].max(initial=0.0)) for flow in flows.values())
    for (name, flow), colour, style in zip(flows.items(), _COLOURS, _STYLES, strict=False):
        over_time = flow.buckets(_BUCKET_S)
        for axis, what in zip(axes, ("lost", "slowest_ms"), strict=False):
            axis.plot(
                over_time["at_s"], over_time[what], style, color=colour, label=name, linewidth=1.5
            )
    axes[0].set(title="Lost, requests per second")
    axes[0].set_ylim(0, max(1.0, axes[0].get_ylim()[1]))
    axes[1].set(title="Slowest answer of each half second, ms", yscale="log")
    axes[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if moments:
        _replicas(axes[2], moments)
    for axis in axes:
        axis.set_xlim(0, end_s)
        for number, fault in enumerate(faults):
            shade = _SHADES[number % len(_SHADES)]
            axis.axvspan(fault.began_s, fault.ended_s, color=shade, zorder=0)
    for number, fault in enumerate(faults, start=1):
        middle = (fault.began_s + min(fault.ended_s, end_s)) / 2
        axes[0].annotate(
            str(number), (middle, 1.0), xycoords=("data", "axes fraction"), ha="center", va="top",
            fontsize=11, fontweight="bold", color="#4b5563",
        )  # fmt: skip
    axes[-1].set_xlabel(
        "seconds\n" + "   ".join(f"{n} {fault.name}" for n, fault in enumerate(faults, start=1))
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    told = "; ".join(
        f"{fault.name} at {fault.began_s:.0f} s: "
        + ", ".join(f"{lost} lost ({client})" for client, lost in fault.lost.items())
        for fault in faults
    ) or "; ".join(f"{name}: {flow}" for name, flow in flows.items())
    return picture(figure, alt=f"Requests and replicas over time. {told}")


def roll_outs(drills: Mapping[str, Drill]) -> Picture:
    """What each client lost in the first roll-out of each drill, side by side, for equally long.

    Grey is the time until the cluster said that it had replaced all replicas.

    Args:
        drills: by the settings that they were done with. The longest roll-out decides how much of
            each is shown.
    """
    figure, axes = axes_of(1, len(drills), size=(10, 3.4), sharey=True)
    firsts = [drill.faults[0] for drill in drills.values()]
    longest_s = max(first.ended_s - first.began_s for first in firsts)
    edges = np.arange(-_BEFORE_S, longest_s + _BUCKET_S, _BUCKET_S)
    told = []
    for axis, (name, drill), first in zip(axes, drills.items(), firsts, strict=True):
        below = np.zeros(len(edges) - 1)
        for (client, flow), colour, hatch in zip(
            drill.flows.items(), _COLOURS, ("//", "", "xx", ".."), strict=False
        ):
            due = flow.records["due_s"][flow.records["code"] != 0] - first.began_s
            lost = np.histogram(due, edges)[0]
            axis.bar(
                edges[:-1] + _BUCKET_S / 2, lost, 0.9 * _BUCKET_S, bottom=below,
                color=colour, hatch=hatch, edgecolor="white", label=client,
            )  # fmt: skip
            below += lost
        axis.axvspan(0, first.took_s, color=SHADE, zorder=0)
        counts = ", ".join(f"{client} lost {count}" for client, count in first.lost.items())
        axis.set(title=f"{name}\n{counts}", xlabel="seconds since the roll-out began")
        told.append(f"with {name}, {counts}")
    axes[0].set_ylabel("lost requests per half second")
    axes[0].set_ylim(0, max(1.0, axes[0].get_ylim()[1]))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return picture(figure, alt=f"A roll-out under load: {'; '.join(told)}.")


def hang(flow: Flow, moments: Sequence[Moment], fault: Fault) -> Picture:
    """What a client that was connected already lost to a replica that hung, and until when.

    Args:
        flow: the client's requests, on the clock of the moments.
        moments: the replicas over time.
        fault: the hang.
    """
    figure, (axis,) = axes_of(1, 1, size=(9, 3.2))
    meanwhile = flow.between(fault.began_s, fault.ended_s)
    due, bad = meanwhile.records["due_s"] - fault.began_s, meanwhile.records["code"] != 0
    edges = _BUCKET_S * np.arange(int((fault.ended_s - fault.began_s) / _BUCKET_S) + 2)
    lost, answered = np.histogram(due[bad], edges)[0], np.histogram(due[~bad], edges)[0]
    at, width = (edges[:-1] + edges[1:]) / 2, 0.9 * _BUCKET_S
    axis.bar(at, lost, width, color=ORANGE, label="lost", hatch="//", edgecolor="white")
    axis.bar(at, answered, width, bottom=lost, color=SHADE, label="answered")
    most = float((lost + answered).max(initial=1))
    marks = {"not ready": fault.unready_s, "restarted": _restarted_s(moments, fault)}
    for name, at_s in marks.items():
        if at_s is not None:
            axis.axvline(at_s, color="#374151", linewidth=1.5)
            axis.annotate(f" {name}, {at_s:.1f} s", (at_s, 1.2 * most), va="top", fontsize=10)
    axis.set(
        title="Requests of the plain client, per half second in which they were due",
        xlabel="seconds since the replica hung",
        ylim=(0, 1.25 * most),
    )
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    found = ", ".join(f"{name} after {s:.1f} s" for name, s in marks.items() if s is not None)
    return picture(figure, alt=f"A replica hangs: {found}. Lost meanwhile: {int(lost.sum())}.")


def goodput(results: Mapping[str, Overload]) -> Picture:
    """Answers in time over time, as a share of what each server can do at its best.

    Args:
        results: what each server did under overload, by name.
    """
    figure, (axis,) = axes_of(1, 1, size=(9, 3.2))
    for (name, result), colour, marker in zip(results.items(), _COLOURS, _MARKERS, strict=False):
        at_s, shares = zip(*result.shares, strict=True)
        axis.plot(at_s, shares, color=colour, marker=marker, label=name, linewidth=2)
    axis.axhline(1, color=GREY, linewidth=1, linestyle=":")
    axis.set(
        title="Answers in time, as a share of the server's peak",
        xlabel="seconds of overload",
    )
    axis.set_ylim(0, max(1.15, axis.get_ylim()[1]))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    told = "; ".join(f"{name}: {each.lasting_share:.0%}" for name, each in results.items())
    return picture(figure, alt=f"Goodput over time. In the second half of the run, {told}.")


def _restarted_s(moments: Sequence[Moment], fault: Fault) -> float | None:
    """Seconds from the beginning of a fault until a server had been started again."""
    before = [m.restarts for m in moments if m.at_s <= fault.began_s]
    since = [m for m in moments if fault.began_s < m.at_s <= fault.ended_s]
    again = [m.at_s for m in since if before and m.restarts > before[-1]]
    return again[0] - fault.began_s if again else None


def _replicas(axis: Axes, moments: Sequence[Moment]) -> None:
    at = [moment.at_s for moment in moments]
    ready = [np.nan if moment.ready is None else moment.ready for moment in moments]
    axis.step(at, ready, where="post", color=GREY, linewidth=2)
    most = max((moment.all for moment in moments), default=1)
    axis.set(title="Ready replicas", ylim=(-0.1, most + 0.3), yticks=range(most + 1))
