"""A drawing of Kubernetes' objects: who makes what, and who sends requests to whom."""

from __future__ import annotations

from typing import Any

from helpers.lab.plots.picture import Picture, picture
from helpers.lab.plots.style import BLUE, GREEN, GREY, ORANGE, PINK, SHADE, axes_of

_SIZE = (10.0, 4.4)
_ALT = (
    "A Deployment named inception asks for two replicas and makes a ReplicaSet, one per revision; "
    "the ReplicaSet makes two pods. The scheduler gives each pod a node, where the kubelet starts "
    "its container and asks its probes. A client sends requests to a Service, which has one "
    "address and hands each connection to one of the ready pods. Deployment, ReplicaSet, Service "
    "and pods are in a Namespace; the nodes are not."
)


def objects() -> Picture:
    """The objects that serve a model on Kubernetes, as boxes and arrows."""
    figure, (axis,) = axes_of(1, 1, size=_SIZE)
    axis.set(xlim=(0, 100), ylim=(0, 44))
    axis.axis("off")
    for y, number in ((24, 1), (2, 2)):
        _box(axis, (64, y, 35, 18), "", SHADE, fill=SHADE)
        axis.text(81, y + 15.4, f"Node {number}", weight="bold", ha="center", va="center")
        _box(axis, (86.5, y + 2.5, 11, 10), "kubelet\nstarts it,\nasks its\nprobes", GREY)
        _box(axis, (66, y + 2.5, 16, 10), f"Pod {number}\none container:\nthe server", GREEN)
        _arrow(axis, (86.5, y + 7.5), (82, y + 7.5), GREY)
    axis.add_patch(_frame(22, 0.4, 62.3, 43.2))
    axis.text(23.3, 41.2, "Namespace", color=GREY, va="center")
    _box(axis, (25, 27, 15, 10), "Deployment\n“2 replicas\nof this pod”", BLUE)
    _box(axis, (45, 27, 14, 10), "ReplicaSet\none per\nrevision", BLUE)
    _box(axis, (33, 5, 17, 10), "Service\none address for\nall ready pods", ORANGE)
    _box(axis, (0.5, 27, 13, 10), "You\nkubectl apply", PINK)
    _box(axis, (0.5, 5, 13, 10), "Client\nclassify(photo)", PINK)
    _arrow(axis, (13.5, 32), (25, 32), PINK)
    _arrow(axis, (40, 32), (45, 32), BLUE, "makes")
    _arrow(axis, (59, 32), (66, 32), BLUE, "makes")
    _arrow(axis, (59, 32), (66, 12), BLUE)
    _arrow(axis, (13.5, 10), (33, 10), ORANGE, "one connection")
    _arrow(axis, (50, 10), (66, 28.5), ORANGE)
    _arrow(axis, (50, 10), (66, 8), ORANGE, "to one pod")
    return picture(figure, alt=_ALT)


def _frame(x: float, y: float, width: float, height: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, fill=False, edgecolor=GREY, linestyle="--")


def _box(
    axis: Any, at: tuple[float, float, float, float], text: str, edge: str, *, fill: str = "white"
) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y, width, height = at
    style = "round,pad=0,rounding_size=1"
    axis.add_patch(
        FancyBboxPatch((x, y), width, height, style, facecolor=fill, edgecolor=edge, linewidth=1.6)
    )
    title, _, rest = text.partition("\n")
    centre = x + width / 2
    axis.text(centre, y + height - 1, title, weight="bold", ha="center", va="top", size=9.5)
    axis.text(centre, y + height - 3.6, rest, ha="center", va="top", size=8.5, linespacing=1.15)


def _arrow(
    axis: Any, begin: tuple[float, float], end: tuple[float, float], colour: str, text: str = ""
) -> None:
    way = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 1}
    axis.annotate("", xy=end, xytext=begin, arrowprops=way)
    middle = ((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2 + 0.6)
    axis.text(*middle, text, ha="center", va="bottom", size=8, color="#3c4043")
