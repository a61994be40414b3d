"""Writes the tiny models of these tests: `python make_models.py DIRECTORY`.

In a process of its own, because it needs the whole of TensorFlow and the tests don't.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1

DTYPES = [
    "float32", "float64", "int32", "uint8", "int16", "int8", "string", "complex64", "complex128",
    "int64", "bool", "bfloat16", "uint16", "float16", "uint32", "uint64",
]  # fmt: skip


class Photos(tf.Module):
    """JPEG bytes to the mean of each channel: the tutorial's signatures over next to nothing."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def predict_images(self, images):
        means = tf.map_fn(self._mean, images, fn_output_signature=tf.TensorSpec([3], tf.float32))
        scores, order = tf.nn.top_k(means, 3)
        return {
            "classes": tf.gather(tf.constant(["red", "green", "blue"]), order),
            "scores": scores,
        }

    def _mean(self, data):
        return tf.reduce_mean(tf.cast(tf.image.decode_jpeg(data, channels=3), tf.float32), [0, 1])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def serving_default(self, inputs):
        feature = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
        return self.predict_images(tf.io.parse_example(inputs, feature)["image/encoded"])


def photos(path: Path) -> None:
    module = Photos()
    signatures = {name: getattr(module, name) for name in ("predict_images", "serving_default")}
    tf.saved_model.save(module, str(path), signatures=signatures)


def identities(path: Path) -> None:
    """A signature a data type, `x` to `y`."""
    module = tf.Module()
    for name in DTYPES:
        spec = tf.TensorSpec(None, tf.dtypes.as_dtype(name), name="x")
        setattr(module, name, tf.function(lambda x: {"y": tf.identity(x)}, input_signature=[spec]))
    spec = tf.TensorSpec(None, tf.string, name="x")
    module.as_bytes = tf.function(
        lambda x: {"y_bytes": tf.identity(x)}, input_signature=[spec]
    )  # REST answers an output of such a name in base64
    signatures = {name: getattr(module, name) for name in [*DTYPES, "as_bytes"]}
    tf.saved_model.save(module, str(path), signatures=signatures)


class Slow(tf.Module):
    """Takes as long as it is told to, in steps that TensorFlow can stop in between."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float64, name="seconds")])
    def wait(self, seconds):
        end = tf.timestamp() + tf.reduce_max(seconds)
        tf.while_loop(lambda now: now < end, lambda now: [tf.timestamp()], [tf.timestamp()])
        rows = tf.shape(seconds)[0]
        return {"seconds": seconds, "rows": tf.fill([rows], rows)}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")])
    def serving_default(self, x):
        rows = tf.shape(x)[0]
        return {"sum": tf.reduce_sum(x, axis=1), "rows": tf.fill([rows], rows)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="a"),
            tf.TensorSpec([None], tf.float32, name="b"),
        ]
    )
    def two(self, a, b):
        return {"difference": a - b, "scalar": tf.reduce_sum(a), "row": a[:1]}


def slow(path: Path) -> None:
    module = Slow()
    signatures = {name: getattr(module, name) for name in ("wait", "serving_default", "two")}
    tf.saved_model.save(module, str(path), signatures=signatures)


class Ballast(tf.Module):
    """Next to no work over 24 MB of variables and 8 MB of constants: a version that weighs."""

    def __init__(self):
        random = np.random.default_rng(7)
        self.weights = tf.Variable(random.normal(size=6_000_000).astype(np.float32))
        self.table = tf.constant(random.normal(size=2_000_000).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serving_default(self, x):
        return {"y": x + self.weights[0] + self.table[0]}


def ballast(path: Path) -> None:
    module = Ballast()
    signatures = {"serving_default": module.serving_default}
    tf.saved_model.save(module, str(path), signatures=signatures)


def half_plus(path: Path, *, add: float) -> None:
    """A SavedModel of TensorFlow 1: a variable, an asset, a table, and all three methods."""
    names = path.parent.parent / f"names-{path.name}.txt"
    names.parent.mkdir(parents=True, exist_ok=True)
    names.write_text("zero\none\ntwo\n")
    with tf.Graph().as_default(), v1.Session() as session:
        half = v1.get_variable("half", initializer=0.5)
        examples = v1.placeholder(tf.string, [None], name="examples")
        parsed = v1.parse_example(examples, {"x": v1.FixedLenFeature([1], tf.float32)})
        x = v1.placeholder_with_default(parsed["x"], [None, 1], name="x")
        y = tf.add(x * half, add, name="y")
        table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                str(names),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            1,
        )
        words = v1.placeholder(tf.string, [None], name="words")
        numbers = table.lookup(words)
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        info, build = v1.saved_model.utils.build_tensor_info, v1.saved_model.build_signature_def
        labels = tf.fill(tf.shape(y), "half")
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session, ["serve"], main_op=v1.tables_initializer(),
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            signature_def_map={
                "serving_default": build(
                    {"x": info(x)}, {"y": info(y)}, "tensorflow/serving/predict"),
                "regress": build(
                    {"inputs": info(examples)}, {"outputs": info(y)},
                    "tensorflow/serving/regress"),
                "classify": build(
                    {"inputs": info(examples)}, {"classes": info(labels), "scores": info(y)},
                    "tensorflow/serving/classify"),
                "lookup": build(
                    {"words": info(words)}, {"numbers": info(numbers)},
                    "tensorflow/serving/predict"),
            },
        )  # fmt: skip
        builder.save()
    names.unlink()  # what is served must come from the SavedModel's own assets


def keras(path: Path) -> None:
    model = tf.keras.Sequential([tf.keras.layers.Input([2]), tf.keras.layers.Dense(1)])
    model.set_weights([np.float32([[1], [2]]), np.float32([3])])
    model.export(path, verbose=False)


def tflite(path: Path) -> None:
    """Both forms in one directory, which differ so that a test sees which one answered."""

    class Times(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def serving_default(self, x):
            return {"y": x * 2.0}

    module = Times()
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serving_default})

    class More(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def serving_default(self, x):
            return {"y": x * 3.0}

    more = More()
    saved = path.parent.parent / "more"
    tf.saved_model.save(more, str(saved), signatures={"serving_default": more.serving_default})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    (path / "model.tflite").write_bytes(converter.convert())


def main(directory: Path) -> None:
    photos(directory / "photos" / "1")
    identities(directory / "identities" / "1")
    slow(directory / "slow" / "1")
    ballast(directory / "ballast" / "1")
    half_plus(directory / "half" / "1", add=1)
    half_plus(directory / "half" / "2", add=2)
    half_plus(directory / "half" / "3", add=3)
    keras(directory / "keras" / "1")
    tflite(directory / "tflite" / "1")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
