"""What happens on a cluster, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.lab.plots.picture import Picture, picture
from helpers.lab.plots.style import BLUE, GREEN, GREY, ORANGE, SHADE, axes_of

if TYPE_CHECKING:
    from helpers.clusters import Start
    from helpers.clusters.kubernetes.autoscaling import Moment


def starts(replicas: Sequence[Start]) -> Picture:
    """How replicas came up: a bar each, from when it was made until it was ready.

    Args:
        replicas: of `cluster.starts()`, at least one.
    """
    figure, (axis,) = axes_of(1, 1, size=(9, 0.55 * len(replicas) + 1.2))
    names = [start.pod for start in replicas]
    parts = (
        ("choosing a node", GREY, [(0.0, start.scheduled_s) for start in replicas]),
        ("getting the image", ORANGE, [(start.scheduled_s, start.pulled_s) for start in replicas]),
        ("starting the container", GREEN, [(s.pulled_s, s.started_s) for s in replicas]),
        ("loading the model", BLUE, [(start.started_s, start.ready_s) for start in replicas]),
    )
    for label, colour, spans in parts:
        if any(end > begin for begin, end in spans):
            widths = [end - begin for begin, end in spans]
            axis.barh(names, widths, left=[b for b, _ in spans], color=colour, label=label)
    for index, start in enumerate(replicas):
        axis.text(start.ready_s, index, f" ready, {start.ready_s:.3g} s", va="center")
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.set(
        xlabel="seconds since the pod was made", xlim=(0, 1.25 * max(s.ready_s for s in replicas))
    )
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    told = (
        f"{s.pod} scheduled after {s.scheduled_s:.3g} s, image there after {s.pulled_s:.3g} s, "
        f"started after {s.started_s:.3g} s, ready after {s.ready_s:.3g} s"
        for s in replicas
    )
    return picture(figure, alt="Starts of replicas: " + "; ".join(told))


def predicted(
    spans_s: Mapping[str, tuple[float, float]], seen_s: Mapping[str, float], *, since: str
) -> Picture:
    """When something was predicted to happen, as a bar, and when it did, as a mark.

    Args:
        spans_s: what happens, to the earliest and latest second at which it should.
        seen_s: what happened, to the second at which it did.
        since: the moment from which the seconds count, in words.
    """
    figure, (axis,) = axes_of(1, 1, size=(9, 0.55 * len(spans_s) + 1.2))
    names = list(spans_s)
    widths = [latest - earliest for earliest, latest in spans_s.values()]
    starts = [earliest for earliest, _ in spans_s.values()]
    axis.barh(names, widths, left=starts, color=BLUE, alpha=0.35, label="predicted")
    axis.plot([seen_s[name] for name in names], names, "D", color=ORANGE, label="seen")
    for index, name in enumerate(names):
        right = max(spans_s[name][1], seen_s[name])
        axis.text(right, index, f"   {seen_s[name]:.1f} s", va="center")
    most = max(max(latest for _, latest in spans_s.values()), *seen_s.values())
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.grid(visible=True, axis="x", color=SHADE)
    axis.set(xlabel=f"seconds since {since}", xlim=(0, 1.15 * most))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    told = (
        f"{name}: predicted {earliest:.0f} to {latest:.0f} s, seen after {seen_s[name]:.1f} s"
        for name, (earliest, latest) in spans_s.items()
    )
    return picture(figure, alt=f"Since {since}: " + "; ".join(told))


def autoscaling(moments: Sequence[Moment], *, load_until_s: float, target: float) -> Picture:
    """Replicas and their processor time, while an autoscaler follows the load.

    Args:
        moments: as `autoscaling.record` saw them.
        load_until_s: when the load ended, in the moments' seconds.
        target: the share of the request that the autoscaler aims at.
    """
    figure, axes = axes_of(2, 1, size=(9, 4.6), sharey=False)
    above, below = (axis for (axis,) in axes)
    at = [moment.at_s for moment in moments]
    above.step(at, [m.wanted for m in moments], where="post", color=ORANGE, label="wanted")
    above.step(at, [m.ready for m in moments], where="post", color=BLUE, label="ready")
    most = max(max(moment.wanted, moment.ready) for moment in moments)
    above.set(title="Replicas", ylim=(0, most + 0.5), yticks=range(most + 1))
    used = [(m.at_s, 100 * m.used) for m in moments if m.used is not None]
    below.plot([a for a, _ in used], [u for _, u in used], color=GREEN, label="measured")
    below.axhline(100 * target, color=GREY, linestyle="--", linewidth=1, label="target")
    below.set(title="Processor time, % of the request", xlabel="seconds", ylim=(0, None))
    for axis in (above, below):
        axis.axvspan(0, load_until_s, color=SHADE, zorder=0, label="under load")
        axis.set_xlim(0, 1.03 * max(at))
        # Beside the axes: wherever it stood inside, a line may run.
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    risen = max(moment.ready for moment in moments)
    alt = (
        f"Ready replicas over time: {moments[0].ready} at first, {risen} at the most under a load "
        f"that ended after {load_until_s:.0f} s, {moments[-1].ready} at {at[-1]:.0f} s"
    )
    return picture(figure, alt=alt)
