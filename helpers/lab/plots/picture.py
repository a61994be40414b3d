"""A figure as a cell shows it: a picture, and the words that stand for it when it can't be seen."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Picture:
    """A picture with the words that stand for it when it can't be seen.

    Args:
        png: the picture's bytes, two pixels for each that is shown.
        alt: what it shows, in a sentence.
        width: as shown, in CSS pixels.
    """

    png: bytes
    alt: str
    width: int

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return (
            {"image/png": self.png, "text/plain": self.alt},
            {"image/png": {"alt": self.alt, "width": self.width}},
        )


def picture(figure: Any, *, alt: str) -> Picture:
    """A Matplotlib figure as a picture with an alternative text; the figure is closed.

    Args:
        figure: a `matplotlib.figure.Figure`.
        alt: what the figure shows, in a sentence: the site's readers may not see it.
    """
    from matplotlib import pyplot

    buffer, dots = io.BytesIO(), 2 * 72
    figure.savefig(buffer, format="png", dpi=dots, bbox_inches="tight")
    pyplot.close(figure)
    png = buffer.getvalue()
    width = int.from_bytes(png[16:20], "big") // 2  # the PNG header's width
    return Picture(png=png, alt=alt, width=width)
