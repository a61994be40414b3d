"""A picture of a puppy goes in, *retriever* comes out: the true label of every sample photo.

By EfficientNet-Lite2 on every machine, since its weights were installed; by Inception-v3 where its
own are. Through the running server, which serves both forms as two models of one `models.config`.
"""

from __future__ import annotations

import base64
import io
import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers import photos, settings
from helpers.client import Classifier
from helpers.clusters import connect
from helpers.clusters.local import LocalCluster
from helpers.export import Export, export, load_in_process
from helpers.export import weights as weights_

pytestmark = pytest.mark.slow

# The first name of each label. Egyptian cat is the class that ImageNet's networks give a tabby
# that looks into the camera; tabby and tiger cat are as right.
EXPECTED = {
    "puppy": "golden retriever",
    "cat": "Egyptian cat",
    "panda": "giant panda",
    "macaw": "macaw",
    "bee": "bee",
    "coffee": "espresso",
    "citrus": "orange",
    "bridge": "suspension bridge",
}
CATS = ("Egyptian cat", "tabby", "tiger cat")
FORMS = ("plain", "fast")


def first_name(label: str) -> str:
    return label.split(",")[0]


def exported(network: str, form: str) -> Export:
    weights = Path(weights_.choose(None, network=network)).stem
    # Kept: the next run exports nothing.
    folder = settings.BUILD / "test-models" / f"{network}-{weights}-{form}"
    return export(folder, network=network, form=form)


@pytest.fixture(scope="module")
def forms() -> dict[str, Export]:
    return {form: exported("efficientnet_lite2", form) for form in FORMS}


def served(models: dict[str, Export], folder: Path) -> LocalCluster:
    """One replica that serves the models under their names, by a `models.config`."""
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{made.base_path}" model_platform: "tensorflow" }}\n'
        for name, made in models.items()
    )
    config = folder / "models.config"
    config.write_text(f"model_config_list {{\n{entries}}}\n")
    cluster = connect("local", models=folder, logs=folder)
    assert isinstance(cluster, LocalCluster)
    cluster.apply(replicas=1, args=[f"--model_config_file={config}"])
    cluster.wait_until_ready(300)
    return cluster


@pytest.fixture(scope="module")
def server(
    forms: dict[str, Export], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalCluster]:
    with served(forms, tmp_path_factory.mktemp("served")) as cluster:
        yield cluster


def by_grpc(cluster: LocalCluster, model: str) -> dict[str, str]:
    samples = photos.samples()
    with Classifier(cluster.load_balancer, model=model, timeout_s=60) as classifier:
        answers = classifier.classify(samples)
    return {p.name: first_name(a.label) for p, a in zip(samples, answers, strict=True)}


def by_rest(cluster: LocalCluster, model: str) -> dict[str, str]:
    samples = photos.samples()
    body = {
        "signature_name": settings.PREDICT_SIGNATURE,
        "instances": [{"b64": base64.b64encode(photo.data).decode()} for photo in samples],
    }
    url = f"http://{cluster.rest_load_balancer}/v1/models/{model}:predict"
    with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=60) as response:
        answers = json.load(response)["predictions"]
    return {
        photo.name: first_name(answer["classes"][0])
        for photo, answer in zip(samples, answers, strict=True)
    }


@pytest.mark.parametrize("form", FORMS)
def test_every_photo_gets_its_true_label_over_grpc(server: LocalCluster, form: str) -> None:
    assert by_grpc(server, form) == EXPECTED


@pytest.mark.parametrize("form", FORMS)
def test_every_photo_gets_its_true_label_over_rest(server: LocalCluster, form: str) -> None:
    assert by_rest(server, form) == EXPECTED


# Inception-v3's own weights


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    chosen = os.environ.get(weights_.VARIABLE, "")
    if chosen == weights_.RANDOM or not (chosen or weights_.cached().is_file()):
        pytest.skip(
            f"Inception-v3's weights aren't here: {weights_.cached()} doesn't exist, and "
            f"{weights_.VARIABLE} names no file"
        )
    made = {form: exported("inception_v3", form) for form in FORMS}
    with served(made, tmp_path_factory.mktemp("inception")) as cluster:
        yield cluster


@pytest.mark.parametrize("form", FORMS)
def test_inception_gives_every_photo_its_true_label(inception: LocalCluster, form: str) -> None:
    for answers in (by_grpc(inception, form), by_rest(inception, form)):
        assert answers.pop("cat") in CATS
        assert answers == {name: label for name, label in EXPECTED.items() if name != "cat"}


# Preprocessing, against Keras's own


def prepared_by_keras(photo: photos.Photo, network: str) -> np.ndarray:
    """A photo through Pillow's decoder and Keras's own functions, none of ours."""
    from helpers.export.runtime import keras

    left, top = (int((side - side * 0.875) / 2) for side in photo.image.size)
    centre = photo.image.crop((left, top, photo.width - left, photo.height - top))
    size = {"inception_v3": 299, "efficientnet_lite2": 260}[network]
    resize = keras.layers.Resizing(size, size, interpolation="bilinear")
    pixels = np.array(resize(np.asarray(centre, np.float32)[None]))
    if network == "inception_v3":
        return np.asarray(keras.applications.inception_v3.preprocess_input(pixels))
    return np.array(keras.layers.Rescaling(1 / 128, offset=-127 / 128)(pixels))


@pytest.mark.parametrize("network", ["inception_v3", "efficientnet_lite2"])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_network_reads_what_keras_would_give_it(network: str, name: str) -> None:
    from helpers.export import preprocess

    photo = photos.load(name)
    ours = preprocess(photo.data, network=network).numpy()
    difference = np.abs(ours - prepared_by_keras(photo, network))
    # Pillow's JPEG decoder is the exact one and TensorFlow's the quick one: a step or two of 255
    # apart. A crop that was off by a pixel would show as five times as much and more.
    assert difference.mean() < 2 / 127.5
    assert difference.max() < 8 / 127.5


def test_the_export_answers_as_keras_does_after_its_own_preprocessing(
    forms: dict[str, Export],
) -> None:
    from helpers.export.exporter import model_of

    model = model_of(forms["plain"])
    batch = np.concatenate([prepared_by_keras(p, model.name) for p in photos.samples()])
    expected = np.sort(model.predict(batch, verbose=0), axis=1)[:, :-6:-1]
    _, scores = answer(forms["plain"], *(photo.data for photo in photos.samples()))
    np.testing.assert_allclose(scores, expected, atol=0.02)  # by those two decoders


# Photos as people have them


def answer(made: Export, *data: bytes) -> tuple[np.ndarray, np.ndarray]:
    runner = load_in_process(made.path)
    try:
        return runner(data)
    finally:
        runner.close()


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def of_sixteen_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def see_through(image: Image.Image) -> Image.Image:
    """Its left fifth is transparent, over a colour that nobody is meant to see."""
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, image.width // 5, image.height))
    seen = image.copy()
    seen.paste((255, 0, 255), mask=alpha.point(lambda value: 255 - value))
    seen.putalpha(alpha)
    return seen


def tagged(image: Image.Image, orientation: int, kind: str) -> bytes:
    """As a phone saves it: lying in some way, with the tag that says in which."""
    lie = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    tags = Image.Exif()
    tags[0x0112] = orientation
    return saved(image.transpose(lie), kind, exif=tags)


def variants() -> dict[str, bytes]:
    puppy = photos.load("puppy").image
    colours = {
        "grey JPEG": saved(puppy.convert("L"), "JPEG"),
        "CMYK JPEG": saved(puppy.convert("CMYK"), "JPEG"),
        "progressive JPEG": saved(puppy, "JPEG", progressive=True),
        "progressive 4:2:2 JPEG": saved(puppy, "JPEG", progressive=True, subsampling="4:2:2"),
        "4:4:4 JPEG": saved(puppy, "JPEG", subsampling="4:4:4"),
        "4:2:2 JPEG": saved(puppy, "JPEG", subsampling="4:2:2"),
        "4:2:0 JPEG of odd size": saved(puppy.crop((0, 0, 601, 451)), "JPEG", subsampling="4:2:0"),
        "PNG": saved(puppy, "PNG"),
        "grey PNG": saved(puppy.convert("L"), "PNG"),
        "16-bit PNG": saved(of_sixteen_bits(puppy), "PNG"),
        "palette PNG": saved(puppy.convert("P"), "PNG"),
        "PNG with alpha": saved(see_through(puppy), "PNG"),
        "grey PNG with alpha": saved(see_through(puppy).convert("LA"), "PNG"),
    }
    turned = {f"JPEG turned by tag {n}": tagged(puppy, n, "JPEG") for n in range(2, 9)}
    return colours | turned | {"PNG turned by tag 6": tagged(puppy, 6, "PNG")}


@pytest.fixture(scope="module")
def read_back(tmp_path_factory: pytest.TempPathFactory) -> dict[str, photos.Photo]:
    """Each variant as `photos.read` gives it to a client."""
    folder, found = tmp_path_factory.mktemp("photos"), {}
    for name, data in variants().items():
        (folder / name.replace(":", "")).write_bytes(data)
        found[name] = photos.read(folder / name.replace(":", ""))
    return found


@pytest.mark.parametrize("name", variants())
def test_what_is_shown_is_what_is_decoded(name: str, read_back: dict[str, photos.Photo]) -> None:
    """`Photo.image` is what the notebooks draw; a browser shows the file itself, which is upright
    and opaque by now."""
    from helpers.export.runtime import tf

    photo = read_back[name]
    decoded = tf.io.decode_jpeg(photo.data, channels=3).numpy()
    shown = np.asarray(photo.image)
    assert shown.shape == decoded.shape
    assert np.abs(shown.astype(int) - decoded).mean() < 2  # of 255: two JPEG decoders
    with Image.open(io.BytesIO(photo.data)) as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert not image.has_transparency_data


def test_however_a_photo_was_saved_it_is_a_retriever(
    forms: dict[str, Export], read_back: dict[str, photos.Photo]
) -> None:
    data = [photo.data for photo in read_back.values()]
    for made in forms.values():
        classes, _ = answer(made, *data)
        labels = dict(zip(read_back, classes[:, 0].tolist(), strict=True))
        assert labels == dict.fromkeys(read_back, b"golden retriever")


def test_plain_and_fast_form_agree_on_every_kind_of_photo(
    forms: dict[str, Export], read_back: dict[str, photos.Photo]
) -> None:
    from helpers.export.fast import difference

    data = [photo.data for photo in read_back.values()]
    found = difference(*(answer(forms[form], *data) for form in FORMS))
    assert found.photos == len(data)
    assert found.within_tolerance, str(found)


@pytest.mark.parametrize("name", variants())
def test_the_fast_form_decodes_the_same_pixels(name: str) -> None:
    """Of the file as it is, for clients that send it so."""
    from helpers.export import fast, signatures
    from helpers.export.runtime import tf

    photo = tf.constant(variants()[name])
    np.testing.assert_array_equal(fast.decode_and_crop(photo), signatures.decode(photo))
