"""Photos, what the network says of them, and what it sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from helpers.client.answers import percent
from helpers.lab.plots.picture import Picture, picture
from helpers.lab.plots.style import BLUE, GREY, axes_of
from helpers.photos import Photo

if TYPE_CHECKING:
    from helpers.client import Prediction

_COLUMNS = 4  # of a contact sheet


def prediction(
    photo: Photo, answer: Prediction, *, network: str = "the network", caveat: str = ""
) -> Picture:
    """A photo beside the labels and scores that it was given.

    Args:
        photo: what was classified.
        answer: a `client.Prediction`, best label first.
        network: whose answer it is, as a reader knows it: `EfficientNet-Lite2`.
        caveat: what a reader must know about the labels, such as that a stand-in gave them.
    """
    figure, (left, right) = axes_of(1, 2, size=(9, 3.2), widths=(1, 1.25))
    _show(left, photo)
    names = [_short(name) for name in answer.labels]
    bars = right.barh(names, answer.scores, color=[BLUE] + [GREY] * (len(names) - 1))
    right.bar_label(bars, fmt=lambda score: f" {percent(score)}", color="#333")
    right.invert_yaxis()
    right.grid(visible=False)
    right.set(xlim=(0, 1.25 * max(answer.scores)), xticks=[], title=f"What {network} says")
    right.spines["bottom"].set_visible(False)
    if caveat:
        figure.text(0.5, -0.02, caveat, ha="center", va="top", color="#333")
    alt = (
        f"{photo.title}: {network} says {_short(answer.label)} {answer.score:.1%}, then four less "
        "likely labels"
    )
    return picture(figure, alt=alt, photographs=True)


def contact_sheet(photos: Sequence[Photo]) -> Picture:
    """All photos, small, each with its title."""
    rows = -(-len(photos) // _COLUMNS)
    figure, axes = axes_of(rows, _COLUMNS, size=(9, 2.1 * rows))
    for axis in np.ravel(axes):
        axis.axis("off")
    for axis, photo in zip(np.ravel(axes), photos, strict=False):
        _show(axis, photo)
        axis.set_title(fill(photo.title, 26), fontsize=10)
    alt = "The photos: " + "; ".join(photo.title for photo in photos)
    return picture(figure, alt=alt, photographs=True)


def preprocessing(steps: Mapping[str, np.ndarray]) -> Picture:
    """The pictures between a JPEG and the network's input.

    Args:
        steps: name of the step to pixels, `[height, width, 3]`, uint8 or float in [-1, 1].
    """
    figure, axes = axes_of(1, len(steps), size=(9, 3))
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
    return picture(figure, alt=alt, photographs=True)


def _show(axis: Axes, photo: Photo) -> None:
    axis.imshow(photo.image)
    axis.set_title(photo.title, fontsize=10)
    axis.axis("off")


def _short(name: str, *, most: int = 28) -> str:
    """The first name of a synonym list, cut where a chart has no room for more."""
    first = name.split(",")[0]
    return first if len(first) <= most else first[: most - 1] + "…"
