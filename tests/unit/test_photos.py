"""Sample photos are whole pictures with credits; a bad file gets an error with the next step."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import photos
from helpers.errors import PhotoError
from helpers.photos import Photo

NAMES = ["puppy", "cat", "panda", "macaw", "bee", "coffee", "citrus", "bridge"]


def encoded(*, size: tuple[int, int] = (64, 48), mode: str = "RGB", kind: str = "JPEG") -> bytes:
    """A picture that no encoder can shrink to nothing, so that cutting it cuts pixels."""
    noise = Image.effect_noise(size, 80).convert(mode)
    buffer = io.BytesIO()
    noise.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.jpg"


# Samples


def test_samples_start_with_the_puppy() -> None:
    assert [photo.name for photo in photos.samples()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_a_colour_jpeg_without_rotation(name: str) -> None:
    with Image.open(io.BytesIO(photos.load(name).data)) as image:
        image.load()
        orientation = image.getexif().get(0x0112, 1)
        assert (image.format, image.mode, orientation) == ("JPEG", "RGB", 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_of_the_size_of_a_web_photo(name: str) -> None:
    photo = photos.load(name)
    assert 25_000 <= len(photo.data) <= 90_000  # bytes: what a request's cost is measured with
    assert 450 <= max(photo.width, photo.height) <= 640
    assert min(photo.width, photo.height) >= 299  # the network's input is never enlarged from it


@pytest.mark.parametrize("name", NAMES)
def test_credits_beside_the_files_name_photographer_and_licence(name: str) -> None:
    photo = photos.load(name)
    lines = (photos.FOLDER / "CREDITS.md").read_text(encoding="utf-8").splitlines()
    [line] = [line for line in lines if line.startswith(f"| `{name}.jpg` ")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:4] == [photo.title, photo.credit, photo.licence]


def test_every_file_beside_the_samples_is_one_of_them() -> None:
    assert sorted(file.stem for file in photos.FOLDER.glob("*.jpg")) == sorted(NAMES)


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    with pytest.raises(PhotoError, match=", ".join(NAMES)) as caught:
        photos.load("pupy")
    assert "'pupy'" in caught.value.what


# A photo of one's own


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_photo_is_read_byte_for_byte(path: Path, mode: str, kind: str) -> None:
    data = encoded(mode=mode, kind=kind)
    path.write_bytes(data)
    photo = photos.read(path)
    assert (photo.data, photo.name, photo.title) == (data, "mine", "mine.jpg")
    assert (photo.width, photo.height) == (64, 48)


def test_a_cmyk_jpeg_is_a_photo(path: Path) -> None:
    path.write_bytes(encoded(mode="CMYK"))
    assert photos.read(str(path)).width == 64


def test_a_photo_that_lies_on_its_side_is_turned_and_loses_next_to_nothing(path: Path) -> None:
    """A phone saves the sensor's rows and a tag that says how it was held."""
    puppy = photos.load("puppy").image
    tag = Image.Exif()
    tag[0x0112] = 6
    puppy.transpose(Image.Transpose.ROTATE_90).save(path, "JPEG", exif=tag)
    photo = photos.read(path)
    assert (photo.width, photo.height) == puppy.size
    assert len(photo.data) == pytest.approx(path.stat().st_size, rel=0.1)
    # Of 255. JPEG itself, which compressed it before, cost 2.
    assert np.abs(np.asarray(photo.image, int) - np.asarray(puppy, int)).mean() < 3


def test_what_is_transparent_is_white_as_on_a_page(path: Path) -> None:
    Image.new("RGBA", (8, 8), (200, 0, 0, 0)).save(path, "PNG")
    assert photos.read(path).image.getpixel((0, 0)) == (255, 255, 255)


def test_grey_of_16_bits_is_shown_by_its_upper_8(path: Path) -> None:
    grey = np.array([[0, 255, 256, 32_768, 65_535]], np.uint16)
    Image.fromarray(grey).save(path, "PNG")
    shown = np.asarray(photos.read(path).image)[0, :, 0]
    assert shown.tolist() == [0, 0, 1, 128, 255]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no.jpg"
    with pytest.raises(PhotoError, match=r"no\.jpg does not exist\. Check the path"):
        photos.read(missing)


def test_a_relative_path_that_is_missing_says_where_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PhotoError, match=re.escape(f"relative paths start at {tmp_path}")):
        photos.read("no.jpg")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="can't be read: Is a directory"):
        photos.read(tmp_path)


def test_an_empty_file_is_refused(path: Path) -> None:
    path.touch()
    with pytest.raises(PhotoError, match=r"mine\.jpg is empty\. Copy or download"):
        photos.read(path)


def test_a_text_file_is_refused_with_how_it_starts(path: Path) -> None:
    path.write_text("I am a puppy")
    with pytest.raises(PhotoError, match="is not a picture: it starts with b'I am a p'"):
        photos.read(path)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP"])
def test_a_picture_of_another_format_is_to_be_saved_anew(path: Path, kind: str) -> None:
    path.write_bytes(encoded(kind=kind))
    with pytest.raises(PhotoError, match=f"is a {kind} picture: .* Save it as JPEG or PNG"):
        photos.read(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_photo_that_is_cut_off_is_refused(path: Path, kind: str, share: float) -> None:
    data = encoded(size=(320, 240), kind=kind)
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PhotoError, match=r"is cut off or damaged: .* download the photo again"):
        photos.read(path)


def test_a_header_alone_is_refused(path: Path) -> None:
    path.write_bytes(encoded()[:4])
    with pytest.raises(PhotoError, match=r"mine\.jpg"):
        photos.read(path)


@pytest.mark.parametrize(
    ("size", "cause"),
    [
        ((8000, 5001), "8000 x 5001 = 40.0 megapixels, where 40 is the most"),
        ((10_000, 10_000), "10000 x 10000 = 100.0 megapixels"),  # where Pillow itself warns
        ((20_000, 10_000), "over a hundred megapixels"),  # where Pillow refuses
    ],
)
def test_a_photo_of_over_40_megapixels_is_refused(
    path: Path, size: tuple[int, int], cause: str
) -> None:
    Image.new("1", size).save(path, "PNG")  # one bit a pixel: quick to write
    with pytest.raises(PhotoError, match=f"too many pixels: .*{cause}.* Make it smaller"):
        photos.read(path)


def test_a_photo_of_40_megapixels_is_accepted(path: Path) -> None:
    Image.new("1", (8000, 5000)).save(path, "PNG")
    assert photos.read(path).width == 8000


# How they show themselves


def test_jupyter_shows_the_photo_small_with_its_credit() -> None:
    puppy = photos.load("puppy")
    shown = puppy._repr_html_()
    assert f"data:image/jpeg;base64,{base64.b64encode(puppy.data).decode()}" in shown
    assert "width: 320px" in shown
    assert "Callie, a golden retriever puppy · MichaelMcPhee" in shown
    assert "CC BY 3.0" in shown


def test_jupyter_never_enlarges_a_photo() -> None:
    photo = Photo("dot", "A dot", "", "", encoded(size=(20, 10)))
    assert "width: 20px" in photo._repr_html_()


def test_a_png_is_shown_as_one() -> None:
    photo = Photo("dot", "A dot", "", "", encoded(kind="PNG"))
    assert "data:image/png;base64," in photo._repr_html_()


def test_a_caption_is_text_and_never_markup() -> None:
    photo = Photo("x", "<b>bold</b>", 'Ann "A" & Co', "", encoded())
    shown = photo._repr_html_()
    assert "<b>" not in shown
    assert "&lt;b&gt;bold&lt;/b&gt; · Ann &quot;A&quot; &amp; Co" in shown


def test_an_album_shows_every_photo() -> None:
    assert photos.samples()._repr_html_().count("<img ") == len(NAMES)


def test_a_photo_prints_without_its_bytes() -> None:
    assert len(repr(photos.load("puppy"))) < 200
