"""What an image is made of."""

from __future__ import annotations

from datetime import datetime, timezone
from textwrap import shorten
from typing import TYPE_CHECKING

from helpers.lab.plots.picture import Picture, picture
from helpers.lab.plots.style import BLUE, GREY, axes_of

if TYPE_CHECKING:
    from helpers.container import Image


def layers(image: Image) -> Picture:
    """The layers of an image from the base up, the last one in another colour.

    The title has the date, so that a picture that was recorded is seen to be one.

    Args:
        image: of `container.inspect`. Layers below 1 MB are left out, the last one excepted.
    """
    last = image.layers[-1]
    drawn = [layer for layer in image.layers if layer is last or layer.size_bytes >= 1e6]
    figure, (axis,) = axes_of(1, 1, size=(9, 0.5 * len(drawn) + 0.9))
    sizes = [layer.size_bytes / 1e6 for layer in drawn]
    names = [shorten(layer.made_by, 48, placeholder="…") for layer in drawn]
    bars = axis.barh(range(len(drawn)), sizes, color=[GREY] * (len(drawn) - 1) + [BLUE])
    axis.bar_label(bars, fmt=lambda size: f" {size:,.0f} MB")
    axis.set(yticks=range(len(drawn)), yticklabels=names, xticks=[], xlim=(0, 1.15 * max(sizes)))
    day = datetime.now(timezone.utc)
    axis.set_title(f"{image.name}, {sum(sizes):,.0f} MB, built {day:%-d %B %Y}")
    axis.grid(visible=False)
    axis.spines["bottom"].set_visible(False)
    told = ", then ".join(f"{name} {size:,.0f} MB" for name, size in zip(names, sizes, strict=True))
    return picture(figure, alt=f"The layers of {image.name} from the base up: {told}")
