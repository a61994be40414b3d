"""Pictures made small for git: few colours where that is enough, JPEG for photographs."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

from PIL import Image

_COLOURS = 64  # a chart has fewer; its soft edges need some more
_JPEG_QUALITY = 80
_WIDEST = 1400  # pixels: 700 on a screen that shows two for one
_INLINE = re.compile(r"data:image/(?P<kind>png|jpeg);base64,(?P<data>[A-Za-z0-9+/=\s]+)")


def with_small_pictures(output: dict[str, Any]) -> dict[str, Any]:
    """An output of a cell whose pictures, also those within its HTML, take as little as they can.

    A picture that would become larger stays as it is. What is said of a picture (its width, its
    alternative text) goes with it when it becomes a JPEG.

    Args:
        output: `data` and `metadata`, as a display message has them.
    """
    data, metadata = dict(output["data"]), dict(output["metadata"])
    for kind in ("png", "jpeg"):
        name = f"image/{kind}"
        if name in data:
            about = metadata.pop(name, None)
            smaller, text = _smaller(kind, data.pop(name))
            data[f"image/{smaller}"] = text
            if about is not None:
                metadata[f"image/{smaller}"] = about
    if "text/html" in data:
        data["text/html"] = _INLINE.sub(_smaller_in_html, data["text/html"])
    return {"data": data, "metadata": metadata}


def _smaller_in_html(found: re.Match[str]) -> str:
    kind, text = _smaller(found["kind"], found["data"])
    return f"data:image/{kind};base64,{text}"


def _smaller(kind: str, text: str) -> tuple[str, str]:
    """The kind and the base64 of the smallest way to keep a picture that looks the same."""
    image = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")
    image.thumbnail((_WIDEST, _WIDEST))
    ways = {kind: base64.b64decode(text)}
    if kind == "png":
        few = image.quantize(_COLOURS, dither=Image.Dither.NONE)
        ways["png"] = min(_bytes(few, "PNG", optimize=True), ways["png"], key=len)
    jpeg = _bytes(image, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    # JPEG blurs the edges of letters: only where it is worth it, which is in photographs.
    if kind == "jpeg" or 2 * len(jpeg) < len(ways["png"]):
        ways = {"jpeg": min(jpeg, ways.get("jpeg", jpeg), key=len)}
    ((smallest, content),) = ways.items()
    return smallest, base64.b64encode(content).decode()


def _bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
