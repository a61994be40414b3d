"""The fast form: the most that a SavedModel in stock TensorFlow does on this processor.

Same signatures, same answers within a tolerance that is checked before the version is there.
Which measures are taken follows from the processor's class; what each of them brings is measured
by `measures`, and shown in notebook 01.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from helpers import photos
from helpers.errors import ExportError
from helpers.machine.processor import BFLOAT16_CLASSES
from helpers.progress import Line
from helpers.settings import (
    CENTRAL_CROP,
    CLASSES_OUTPUT,
    CLASSIFY_INPUT,
    CLASSIFY_SIGNATURE,
    PREDICT_INPUT,
    PREDICT_SIGNATURE,
    SCORES_OUTPUT,
)

from . import signatures
from .folding import folded, weights_of
from .record import Export
from .runtime import keras, np, tf
from .savedmodel import load_in_process

FOLD = "constants, batch normalization folded"
CROP = "decode and crop in one"
BFLOAT16 = "bfloat16"
# What `manifests/base` sets for every replica, so what every form is measured with. TensorFlow
# reads it once, when it starts.
SERVED_ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "1"}

TOLERANCE = 0.02  # of a photo's top score; bfloat16 has 8 bits, 0.4 %, and 48 layers of them


def measures_for(processor: str) -> tuple[str, ...]:
    """What is done to a graph for a class of processor.

    bfloat16 without the instructions for it is slower than float32: measured by this project with
    AVX2, and the gain with AVX-512 and bfloat16 (`benchmarks/results`). AMX's choice is from a
    first lab.
    """
    return (FOLD, CROP, BFLOAT16) if processor in BFLOAT16_CLASSES else (FOLD, CROP)


def write(model: keras.Model, directory: Path, asked: Export, line: Line) -> Export:
    """Write a model's fast form into an empty directory, and compare its answers with the model's.

    Args:
        model: with its weights.
        directory: is filled.
        asked: what is exported.
        line: of progress; it is ended where there is something to say for good.

    Returns:
        `asked` with what was done and what the server's environment needs. If bfloat16 turns out
        too coarse for these weights, the form is float32, which is printed.

    Raises:
        ExportError: the answers differ by more than the tolerance.
    """
    measures = measures_for(asked.processor)
    difference = _write_and_compare(model, directory, measures)
    if BFLOAT16 in measures and not difference.within_tolerance:
        line.end()
        print(f"bfloat16 is too coarse for these weights, float32 is used: {difference}.")
        measures = tuple(measure for measure in measures if measure != BFLOAT16)
        shutil.rmtree(directory)
        difference = _write_and_compare(model, directory, measures)
    if not difference.within_tolerance:
        raise ExportError(
            "The fast form doesn't answer as the plain form does",
            cause=str(difference),
            next_step="Export the plain form, and report this as a bug.",
        )
    return replace(asked, measures=measures, environment=SERVED_ENVIRONMENT)


def write_graph(model: keras.Model, directory: Path, measures: Collection[str]) -> None:
    """Write a SavedModel of constants alone, with both signatures, into an empty directory."""
    v1 = tf.compat.v1
    decode = decode_and_crop if CROP in measures else signatures.decode
    dtype = tf.bfloat16 if BFLOAT16 in measures else tf.float32
    weights = weights_of(model)
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = v1.placeholder(tf.string, [None], CLASSIFY_INPUT)
        # One graph for both: what predict_images is fed, serving_default takes from its examples.
        images = v1.placeholder_with_default(
            signatures.photos_of(inputs), [None], name=PREDICT_INPUT
        )
        pictures = signatures.preprocess_batch(images, network=model.name, decode=decode)
        outputs = signatures.top_five(folded(model, weights, pictures, dtype=dtype))
        predict = v1.saved_model.predict_signature_def
        builder = v1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(
            session,
            [tf.saved_model.SERVING],
            {
                PREDICT_SIGNATURE: predict({PREDICT_INPUT: images}, outputs),
                CLASSIFY_SIGNATURE: predict({CLASSIFY_INPUT: inputs}, outputs),
            },
        )
        builder.save()


def decode_and_crop(photo: tf.Tensor) -> tf.Tensor:
    """What `signatures.decode` does, without decoding the rows and columns that are cut off.

    Only JPEG can be decoded in part; a PNG is decoded whole.
    """

    def jpeg() -> tf.Tensor:
        height, width = tf.unstack(tf.io.extract_jpeg_shape(photo)[:2])
        top, left = _margin(height), _margin(width)
        kept = width - 2 * left
        # One column more, if there is one: colours at half the resolution, as most JPEGs have
        # them, are interpolated from both neighbours.
        window = tf.stack([top, left, height - 2 * top, kept + tf.minimum(left, 1)])
        return tf.image.decode_and_crop_jpeg(photo, window, channels=3)[:, :kept]

    return tf.cond(tf.io.is_jpeg(photo), jpeg, lambda: signatures.decode(photo))


def _margin(pixels: tf.Tensor) -> tf.Tensor:
    # As tf.image.central_crop counts it, in float64, so that not one pixel differs.
    whole = tf.cast(pixels, tf.float64)
    return tf.cast((whole - whole * CENTRAL_CROP) / 2, tf.int32)


@dataclass(frozen=True)
class Difference:
    """How far one model's answers are from another's, over the same photos.

    Attributes:
        photos: how many were compared.
        other_top: how many of them got another first label, by more than the tolerance: of two
            labels that are equally likely, either may come first.
        largest: the largest difference of a score, as a share of that photo's top score.
    """

    photos: int
    other_top: int
    largest: float

    @property
    def within_tolerance(self) -> bool:
        """First labels all equal, scores within 2 % of the photo's top score."""
        return self.other_top == 0 and self.largest <= TOLERANCE

    def __str__(self) -> str:
        return (
            f"{self.other_top} of {self.photos} photos have another first label, scores differ by "
            f"up to {self.largest:.2%} of the top score, allowed is {TOLERANCE:.0%}"
        )


Answers = tuple[np.ndarray, np.ndarray]


def difference(expected: Answers, actual: Answers) -> Difference:
    """Compare two models' `classes` and `scores`, [batch, 5] each.

    A label that is among the expected five and not among the actual five has at most the fifth
    of the actual scores; that much is taken for it.
    """
    other_top, largest = 0, 0.0
    for labels, scores, other_labels, other_scores in zip(*expected, *actual, strict=True):
        found = dict(zip(other_labels, other_scores, strict=True))
        differences = [
            abs(score - found.get(label, other_scores[-1]))
            for label, score in zip(labels, scores, strict=True)
        ]
        behind = 1 - found.get(labels[0], other_scores[-1]) / other_scores[0]
        other_top += labels[0] != other_labels[0] and behind > TOLERANCE
        largest = max(largest, float(max(differences) / scores[0]))
    return Difference(photos=len(expected[0]), other_top=other_top, largest=largest)


def _write_and_compare(
    model: keras.Model, directory: Path, measures: Collection[str]
) -> Difference:
    write_graph(model, directory, measures)
    data = [photo.data for photo in photos.samples()]
    pictures = signatures.preprocess_batch(tf.constant(data), network=model.name)
    answers = signatures.top_five(model(pictures, training=False))
    expected = answers[CLASSES_OUTPUT].numpy(), answers[SCORES_OUTPUT].numpy()
    runner = load_in_process(directory)
    try:
        return difference(expected, runner(data))
    finally:
        runner.close()
