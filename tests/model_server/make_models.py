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
from flatbuffers import flexbuffers
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

v1 = tf.compat.v1

DTYPES = [
    "float32", "float64", "int32", "uint8", "int16", "int8", "string", "complex64", "complex128",
    "int64", "bool", "bfloat16", "uint16", "float16", "uint32", "uint64",
]  # fmt: skip

JSON_LACKS = ["float16", "bfloat16", "uint16", "complex64", "complex128"]


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
    spec = tf.TensorSpec(None, tf.float32, name="x")
    for name in JSON_LACKS:
        dtype = tf.dtypes.as_dtype(name)
        setattr(module, f"to_{name}", tf.function(
            lambda x, dtype=dtype: {"y": tf.cast(x, dtype)}, input_signature=[spec]))  # fmt: skip
    names = [*DTYPES, "as_bytes", *(f"to_{name}" for name in JSON_LACKS)]
    signatures = {name: getattr(module, name) for name in names}
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


class Examples(tf.Module):
    """Written by TensorFlow 2: each signature has an input tensor of its own."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs):
        scores = self._half(inputs) + 1
        return {"classes": tf.fill(tf.shape(scores), "half"), "scores": scores}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def regress(self, inputs):
        return {"outputs": self._half(inputs) + 2}

    def _half(self, inputs):
        feature = {"x": tf.io.FixedLenFeature([1], tf.float32)}
        return tf.io.parse_example(inputs, feature)["x"] / 2


def examples(path: Path) -> None:
    module = Examples()
    signatures = {"classify": module.classify, "regress": module.regress}
    tf.saved_model.save(module, str(path), signatures=signatures)


def keras(path: Path) -> None:
    model = tf.keras.Sequential([tf.keras.layers.Input([2]), tf.keras.layers.Dense(1)])
    model.set_weights([np.float32([[1], [2]]), np.float32([3])])
    model.export(path, verbose=False)


class Times(tf.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def serving_default(self, x):
        return {"y": x * self.factor}


def tflite(path: Path) -> None:
    """Both forms in one directory, which differ so that a test sees which one answered.

    Version 1 has signatures in its metadata, version 2 has none.
    """
    for factor, version in ((2.0, path), (3.0, path.parent.parent / "more")):
        module = Times(factor)
        signatures = {"serving_default": module.serving_default}
        tf.saved_model.save(module, str(version), signatures=signatures)
    plain = tf.lite.TFLiteConverter.from_saved_model(str(version)).convert()
    other = path.parent / "2"
    other.mkdir()
    (other / "model.tflite").write_bytes(plain)
    model = flatbuffer_utils.convert_bytearray_to_object(plain)
    graph = model.subgraphs[0]
    # Early converters left ":0" out of a tensor's name, though the signature has it.
    output = graph.tensors[graph.outputs[0]]
    output.name = output.name.removesuffix(b":0")
    sent, given = graph.tensors[graph.inputs[0]].name.decode(), output.name.decode()
    (path / "model.tflite").write_bytes(
        with_signatures(model, {
            "serving_default": ({"x": sent}, {"y": f"{given}:0"}),
            "tripled": ({"number": sent}, {"product": given}),
        })
    )  # fmt: skip


def with_signatures(model, signatures) -> bytes:
    """A TFLite model with signatures in its metadata, as TensorFlow Serving looks for them.

    Source: tensorflow/lite/tools/signature/signature_def_util.cc.
    """
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, (inputs, outputs) in signatures.items():
            signature = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
            for infos, names in ((signature.inputs, inputs), (signature.outputs, outputs)):
                for alias, name in names.items():
                    infos[alias].name = name
                    infos[alias].dtype = 1
                    for size in (1, 2):
                        infos[alias].tensor_shape.dim.add(size=size)
            # Numbers below 128 keep the message within ASCII: Python's builder takes only text.
            builder.Key(key)
            builder.String(signature.SerializeToString().decode("latin-1"))
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(bytes(builder.Finish()), np.uint8)
    model.buffers.append(buffer)
    metadata = schema.MetadataT()
    metadata.name, metadata.buffer = "signature_defs_metadata", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), metadata]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def main(directory: Path) -> None:
    photos(directory / "photos" / "1")
    identities(directory / "identities" / "1")
    slow(directory / "slow" / "1")
    ballast(directory / "ballast" / "1")
    half_plus(directory / "half" / "1", add=1)
    half_plus(directory / "half" / "2", add=2)
    half_plus(directory / "half" / "3", add=3)
    examples(directory / "examples" / "1")
    keras(directory / "keras" / "1")
    tflite(directory / "tflite" / "1")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
