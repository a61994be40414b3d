"""The whole of it in one drawing: the path of a request, and who watches what."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from helpers.lab.plots.picture import Picture, picture
from helpers.lab.plots.style import BLUE, GREY, ORANGE, SHADE, axes_of

_ALT = (
    "The path of a request: client, load balancer, Service, then one of the pods on two nodes. In "
    "a pod the server collects requests into a batch, which the model computes. Who watches what: "
    "the Deployment keeps the number of pods, the scheduler gives each a node, the kubelet of a "
    "node probes its pods, and the autoscaler reads their load and changes the number."
)
# Where each box is: centre, width and height, in units of the drawing.
_REQUEST = {
    "client": (1.0, 3.4, 1.5, 0.8),
    "load\nbalancer": (3.2, 3.4, 1.5, 0.8),
    "Service": (5.4, 3.4, 1.5, 0.8),
}
_WATCHERS = {
    "Deployment\nkeeps the number of pods": (2.1, 6.1),
    "scheduler\ngives each pod a node": (5.75, 6.1),
    "autoscaler\nreads load, changes the number": (9.55, 6.1),
}


def overview() -> Picture:
    """The path of a request through a cluster, and who watches what."""
    figure, (axis,) = axes_of(1, 1, size=(9, 5.4))
    axis.set(xlim=(0, 12), ylim=(0, 6.8))
    axis.axis("off")
    for name, (x, y, width, height) in _REQUEST.items():
        _box(axis, x, y, width, height, name)
    _arrow(axis, (1.75, 3.4), (2.45, 3.4), "gRPC")
    _arrow(axis, (3.95, 3.4), (4.65, 3.4))
    for y, node in ((4.1, "node 1"), (1.7, "node 2")):
        _box(axis, 9.15, y - 0.05, 5.3, 2.0, "", fill="white", edge=GREY)
        axis.text(6.65, y + 0.68, node, color="#333", fontsize=9)
        axis.text(11.65, y + 0.68, "kubelet probes its pods", color="#9a5b00", ha="right", size=9)
        _box(axis, 9.15, y - 0.25, 4.9, 1.25, "", fill=SHADE)
        axis.text(6.9, y + 0.13, "pod", color="#333", fontsize=9)
        for x, name in ((7.65, "server"), (9.2, "batch"), (10.75, "model")):
            _box(axis, x, y - 0.4, 1.2, 0.62, name)
        _arrow(axis, (8.25, y - 0.4), (8.6, y - 0.4))
        _arrow(axis, (9.8, y - 0.4), (10.15, y - 0.4))
        _arrow(axis, (6.15, 3.4), (7.0, y - 0.4))
    for name, (x, y) in _WATCHERS.items():
        _box(axis, x, y, 3.3, 0.85, name, edge=ORANGE)
        _arrow(axis, (x, y - 0.43), (max(x, 7.2), 5.1), colour=ORANGE, dashed=True)
    axis.plot([0.4, 1.1], [1.2, 1.2], color=BLUE)
    axis.text(1.25, 1.2, "the path of a request", va="center", fontsize=9)
    axis.plot([0.4, 1.1], [0.75, 0.75], color=ORANGE, linestyle="--")
    axis.text(1.25, 0.75, "who watches and changes", va="center", fontsize=9)
    return picture(figure, alt=_ALT)


def _box(
    axis: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    words: str,
    *,
    fill: str = "white",
    edge: str = BLUE,
) -> None:
    corner = (x - width / 2, y - height / 2)
    edge = edge if fill == "white" else fill
    style = "round,pad=0,rounding_size=0.12"
    axis.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, fc=fill, ec=edge))
    axis.text(x, y, words, ha="center", va="center", fontsize=9)


def _arrow(
    axis: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    words: str = "",
    *,
    colour: str = BLUE,
    dashed: bool = False,
) -> None:
    line = "--" if dashed else "-"
    axis.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, color=colour, ls=line)
    )
    if words:
        axis.text((start[0] + end[0]) / 2, start[1] + 0.15, words, ha="center", fontsize=8)
