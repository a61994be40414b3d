"""Sample photographs, and photographs of the reader's own, as the bytes that a server is sent.

Photographs travel as JPEG or PNG files, never as arrays of pixels: a file is about fifteen times
smaller, and decoding it is the model's business. What the model decodes is what a viewer shows: a
photo that says "turn me", or that has a transparent background, is rewritten when it is read.
"""

from __future__ import annotations

import base64
import html
import io
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from PIL import ExifTags, Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from helpers.errors import PhotoError

FOLDER = Path(__file__).parent / "samples"
MAX_PIXELS = 40_000_000  # a larger picture costs a server 120 MB just to decode
_SHOWN_WIDTH = 320  # pixels in Jupyter, where the photo is an illustration
_THUMBNAIL_HEIGHT = 120

# name, title, credit, licence: helpers/photos/samples/CREDITS.md says where each comes from.
_SAMPLES = (
    (
        "puppy",
        "Callie, a golden retriever puppy",
        "MichaelMcPhee, Wikimedia Commons",
        "CC BY 3.0",
    ),
    ("cat", "Chelsea, a tabby cat", "Stefan van der Walt", "CC0 1.0"),
    ("panda", "Giant panda", "Jeff Kubina, Wikimedia Commons", "Public domain"),
    ("macaw", "Scarlet macaw", "Dcoetzee, Wikimedia Commons", "CC0 1.0"),
    (
        "bee",
        "European honey bee on an aster",
        "John Severns, Wikimedia Commons",
        "Public domain",
    ),
    (
        "coffee",
        "Cup of espresso",
        "Rachel Michetti, courtesy of Pikolo Espresso Bar",
        "CC0 1.0",
    ),
    (
        "citrus",
        "Slices of oranges, lemons and limes",
        "US Department of Agriculture",
        "Public domain",
    ),
    (
        "bridge",
        "Roebling suspension bridge, Cincinnati, at night",
        "Derek Jensen, Wikimedia Commons",
        "Public domain",
    ),
)


@dataclass(frozen=True)
class Photo:
    """A photograph and whose it is. Jupyter shows the picture with its credit.

    Args:
        name: one word to call it by.
        title: what it shows, for a caption.
        credit: who took it. Empty where nobody has to be named.
        licence: what others may do with it. Empty if unknown.
        data: the bytes of a JPEG or PNG file.
    """

    name: str
    title: str
    credit: str
    licence: str
    data: bytes = field(repr=False)

    @cached_property
    def _size(self) -> tuple[int, int]:
        with Image.open(io.BytesIO(self.data)) as image:  # reads the header, decodes nothing
            return image.size

    @property
    def image(self) -> Image.Image:
        """The pixels in RGB, 8 bits each, as a browser shows the file and the model decodes it."""
        with Image.open(io.BytesIO(self.data)) as image:
            return _eight_bits(image).convert("RGB")

    @property
    def width(self) -> int:
        """In pixels."""
        return self._size[0]

    @property
    def height(self) -> int:
        """In pixels."""
        return self._size[1]

    @property
    def caption(self) -> str:
        """Title, photographer and licence in one line."""
        rights = ", ".join(part for part in (self.credit, self.licence) if part)
        return f"{self.title} · {rights}" if rights else self.title

    def _repr_html_(self) -> str:
        width = min(self.width, _SHOWN_WIDTH)
        return (
            f'<figure style="margin: 0">{_image_tag(self, f"width: {width}px")}'
            f'<figcaption style="font-size: smaller">{html.escape(self.caption)}</figcaption>'
            "</figure>"
        )


class Album(list[Photo]):
    """A list of photos that Jupyter shows as a row of small pictures."""

    def _repr_html_(self) -> str:
        figures = "".join(
            f'<figure style="margin: 0">{_image_tag(photo, f"height: {_THUMBNAIL_HEIGHT}px")}'
            f'<figcaption style="font-size: smaller">{html.escape(photo.name)}</figcaption>'
            "</figure>"
            for photo in self
        )
        return f'<div style="display: flex; flex-wrap: wrap; gap: 8px">{figures}</div>'


def samples() -> Album:
    """The photographs that come with the tutorial, the puppy first.

    Raises:
        PhotoError: one of their files is missing or damaged.
    """
    return Album(load(name) for name, *_ in _SAMPLES)


def load(name: str) -> Photo:
    """One of the photographs that come with the tutorial.

    Args:
        name: such as `puppy`.

    Raises:
        PhotoError: there is none of that name (the message lists those that exist), or its file
            is missing or damaged.
    """
    for sample, title, credit, licence in _SAMPLES:
        if sample == name:
            photo = read(FOLDER / f"{name}.jpg")
            return Photo(name, title, credit, licence, photo.data)
    names = ", ".join(sample for sample, *_ in _SAMPLES)
    raise PhotoError(
        f"There is no sample photo called {name!r}",
        next_step=f"Take one of {names}, or read your own file with photos.read(path).",
    )


def read(path: str | Path) -> Photo:
    """A photograph of your own, checked here so that a bad file never reaches a server.

    TensorFlow's decoder ignores two things that every viewer honours: the tag by which a phone says
    how it was held, and transparency. A photo with either is rewritten here, turned and on white,
    so that what you see is what is classified. A client that sends the file as it is gets the
    answer for the photo as it lies.

    Args:
        path: a JPEG or PNG file of at most `MAX_PIXELS` pixels. `~` is your home folder.

    Returns:
        The photo, its data the file's bytes as they are (but for those two), its name the file's
        without ending.

    Raises:
        PhotoError: the file is missing or empty, is no JPEG or PNG picture, is cut off or
            damaged, or has too many pixels.
    """
    path = Path(path).expanduser()
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise PhotoError(
            f"{path} does not exist",
            cause=f"relative paths start at {Path.cwd()}" if not path.is_absolute() else "",
            next_step="Check the path, or take one of the tutorial's photos: photos.samples().",
        ) from error
    except OSError as error:
        raise PhotoError(
            f"{path} can't be read",
            cause=error.strerror or str(error),
            next_step="Give the path of a JPEG or PNG file that you may read.",
        ) from error
    _check(data, path=path)
    return Photo(path.stem, title=path.name, credit="", licence="", data=_as_shown(data))


def _eight_bits(image: Image.Image) -> Image.Image:
    """The picture, its 16 bits of grey made 8; Pillow's `convert` would cut them off at 255."""
    return image.point(lambda value: value / 256) if image.mode.startswith("I") else image


def _as_shown(data: bytes) -> bytes:
    """The file, rewritten only where a viewer shows another picture than TensorFlow decodes."""
    with Image.open(io.BytesIO(data)) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
        if not turned and not image.has_transparency_data:
            return data
        shown, buffer = ImageOps.exif_transpose(_eight_bits(image)), io.BytesIO()
        if image.format == "PNG":  # without loss
            if image.has_transparency_data:
                white = Image.new("RGBA", shown.size, "white")
                shown = Image.alpha_composite(white, shown.convert("RGBA")).convert("RGB")
            shown.save(buffer, "PNG")
        else:  # compressed as it was, so that it loses next to nothing and doesn't grow
            shown = shown.convert("RGB") if shown.mode == "CMYK" else shown
            sampling = max(0, JpegImagePlugin.get_sampling(image))
            tables = image.quantization  # type: ignore[attr-defined]
            shown.save(buffer, "JPEG", qtables=tables, subsampling=sampling)
    return buffer.getvalue()


def _check(data: bytes, *, path: Path) -> None:
    """Raises PhotoError unless `data` is a whole JPEG or PNG picture of at most MAX_PIXELS."""
    if not data:
        raise PhotoError(
            f"{path} is empty",
            next_step="Copy or download the photo again.",
        )
    try:
        with warnings.catch_warnings():
            # Pillow's own limit is higher than ours, and its warning names no next step.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{path} is not a picture",
            cause=f"it starts with {data[:8]!r}",
            next_step="Give the path of a JPEG or PNG file.",
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(path, cause="over a hundred megapixels") from error
    with image:
        if image.format not in {"JPEG", "MPO", "PNG"}:  # MPO: a JPEG with more than one picture
            raise PhotoError(
                f"{path} is a {image.format} picture",
                cause="the model decodes JPEG and PNG",
                next_step="Save it as JPEG or PNG first.",
            )
        if image.width * image.height > MAX_PIXELS:
            megapixels = image.width * image.height / 1e6
            size = f"{image.width} x {image.height} = {megapixels:.1f} megapixels"
            raise _too_large(path, cause=size)
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise
            raise PhotoError(
                f"{path} is cut off or damaged",
                cause=str(error),
                next_step="Copy or download the photo again.",
            ) from error


def _too_large(path: Path, *, cause: str) -> PhotoError:
    return PhotoError(
        f"{path} has too many pixels",
        cause=f"{cause}, where {MAX_PIXELS / 1e6:.0f} is the most",
        next_step="Make it smaller: the model sees 299 x 299 pixels of it.",
    )


def _image_tag(photo: Photo, style: str) -> str:
    kind = "png" if photo.data.startswith(b"\x89PNG") else "jpeg"
    encoded = base64.b64encode(photo.data).decode("ascii")
    source = f"data:image/{kind};base64,{encoded}"
    text = html.escape(photo.caption)
    return f'<img alt="{text}" title="{text}" style="{style}" src="{source}">'
