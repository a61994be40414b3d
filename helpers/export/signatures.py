"""What surrounds a network in the graph: photos to pixels, probabilities to labels, signatures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from helpers.photos import labels
from helpers.settings import (
    CENTRAL_CROP,
    CLASSES_OUTPUT,
    CLASSIFY_INPUT,
    CLASSIFY_SIGNATURE,
    EXAMPLE_FEATURE,
    PREDICT_INPUT,
    PREDICT_SIGNATURE,
    SCORES_OUTPUT,
    TOP_K,
)

from .catalog import NETWORKS
from .runtime import keras, np, tf


def decode(photo: tf.Tensor) -> tf.Tensor:
    """One photo's bytes, JPEG or PNG of any size and colour, to its centre: uint8 [h, w, 3].

    A JPEG's tag for how the camera was held isn't read: `photos.read` turns such a photo.
    """
    return tf.image.central_crop(tf.io.decode_jpeg(photo, channels=3), CENTRAL_CROP)


def preprocess(
    photo: tf.Tensor,
    *,
    network: str = "inception_v3",
    decode: Callable[[tf.Tensor], tf.Tensor] = decode,
) -> tf.Tensor:
    """One photo's bytes to what a network reads: float32 [299, 299, 3] in [-1, 1] by Inception-v3.

    The steps are those of 2016: decode, the central 87.5 % of height and width, the network's size
    whatever the shape was, its range. Resizing is today's `tf.image.resize`, whose pixels have
    their centres at a half, as Keras's have; 2016's `resize_bilinear` differs from it by 0.03 on
    average.

    The photo is resized from uint8: a float copy of one of 40 megapixels would take 480 MB.
    """
    reads = NETWORKS[network]
    pixels = tf.image.resize(decode(photo), (reads.size, reads.size))
    return (pixels - reads.mean) / reads.scale


def preprocess_batch(
    photos: tf.Tensor,
    *,
    network: str = "inception_v3",
    decode: Callable[[tf.Tensor], tf.Tensor] = decode,
) -> tf.Tensor:
    """Photos' bytes, string [batch], to float32 [batch, size, size, 3]; decoded side by side."""
    size = NETWORKS[network].size
    return tf.map_fn(
        lambda photo: preprocess(photo, network=network, decode=decode),
        photos,
        fn_output_signature=tf.TensorSpec((size, size, 3), tf.float32),
    )


def preprocessing_steps(photo: bytes, *, network: str = "inception_v3") -> dict[str, np.ndarray]:
    """One photo after each step, by the step's name: uint8 first, then float32 in [-1, 1]."""
    return {
        "decoded": tf.io.decode_jpeg(photo, channels=3).numpy(),
        "central crop": decode(tf.constant(photo)).numpy(),
        "resized, scaled": preprocess(tf.constant(photo), network=network).numpy(),
    }


def top_five(probabilities: tf.Tensor) -> dict[str, tf.Tensor]:
    """Probabilities, float32 [batch, 1000], to the outputs of both signatures.

    `scores` are probabilities, where the exporter of 2016 gave logits: a reader can tell whether
    0.93 is much, and not whether 9.55 is. The order, and so `classes`, is the same. The labels lie
    in the graph as a constant: no table that the loader would have to initialize, no asset file.
    """
    scores, indices = tf.math.top_k(probabilities, k=TOP_K)
    return {CLASSES_OUTPUT: tf.gather(tf.constant(labels.names()), indices), SCORES_OUTPUT: scores}


def photos_of(examples: tf.Tensor) -> tf.Tensor:
    """The photos in serialized tf.Examples, string [batch] both."""
    features = {EXAMPLE_FEATURE: tf.io.FixedLenFeature((), tf.string)}
    return tf.io.parse_example(examples, features)[EXAMPLE_FEATURE]


def write_plain(model: keras.Model, directory: Path) -> None:
    """Write a Keras model as a SavedModel with both signatures into an existing directory.

    By `ExportArchive`, since `tf.saved_model.save` of a `tf.Module` that holds a Keras 3 model
    writes each variable twice, and only Python finds the right one. The archive finds the model's
    variables by itself; if told by `track(model)`, it writes them twice as well.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def classify(photos: tf.Tensor) -> dict[str, tf.Tensor]:  # traced once for both signatures
        return top_five(model(preprocess_batch(photos, network=model.name), training=False))

    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        PREDICT_SIGNATURE,
        lambda images: classify(images),
        input_signature=[tf.TensorSpec([None], tf.string, name=PREDICT_INPUT)],
    )
    archive.add_endpoint(
        CLASSIFY_SIGNATURE,
        lambda inputs: classify(photos_of(inputs)),
        input_signature=[tf.TensorSpec([None], tf.string, name=CLASSIFY_INPUT)],
    )
    archive.write_out(str(directory), verbose=False)
