"""A figure as a cell shows it: a picture, and the words that stand for it when it can't be seen."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape
from typing import Any

from PIL import Image

_JPEG_QUALITY = 85  # of four lines' height, letters are clean at it


@dataclass(frozen=True)
class Picture:
    """A picture with the words that stand for it when it can't be seen.

    It is shown as HTML, since JupyterLab knows no other way to give a picture an alternative text.

    Args:
        content: the picture's bytes, two pixels for each that is shown.
        alt: what it shows, in a sentence.
        width: as shown, in CSS pixels.
        kind: `png`, or `jpeg` where it has photographs in it.
    """

    content: bytes
    alt: str
    width: int
    kind: str = "png"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        data = base64.b64encode(self.content).decode()
        kind = "plot" if self.kind == "png" else "photographs"
        html = (
            f'<img alt="{escape(self.alt)}" width="{self.width}" '
            f'class="{kind}" src="data:image/{self.kind};base64,{data}">'
        )
        return {"text/html": html, "text/plain": self.alt}


def picture(figure: Any, *, alt: str, photographs: bool = False) -> Picture:
    """A Matplotlib figure as a picture with an alternative text; the figure is closed.

    Args:
        figure: a `matplotlib.figure.Figure`.
        alt: what the figure shows, in a sentence: some readers don't see it.
        photographs: whether there are any in it: then it is a JPEG, a fifth of the size.
    """
    from matplotlib import pyplot

    buffer, dots = io.BytesIO(), 2 * 72
    figure.savefig(buffer, format="png", dpi=dots, bbox_inches="tight")
    pyplot.close(figure)
    with Image.open(buffer) as image:
        width = image.width // 2
        if not photographs:
            return Picture(buffer.getvalue(), alt, width)
        smaller = io.BytesIO()
        image.convert("RGB").save(smaller, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return Picture(smaller.getvalue(), alt, width, "jpeg")
