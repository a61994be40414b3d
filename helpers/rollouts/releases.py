"""Further versions of a model, for roll-outs to have something to roll out: better, and broken."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from helpers import photos, settings
from helpers.errors import ExportError
from helpers.export import Export

# What the sample photos show, as ImageNet numbers it.
CLASSES: Mapping[str, int] = {
    "puppy": 207, "cat": 281, "panda": 388, "macaw": 88,
    "bee": 309, "coffee": 967, "citrus": 950, "bridge": 839,
}  # fmt: skip
BREAKS = {
    "signature": "the signature that clients call is missing",
    "file": "its weights are cut off in the middle",
    "warm-up": "a warm-up request fails",
}
_EPOCHS = 30


def train_further(made: Export, file: Path) -> Path:
    """Trains an export's last layer on the sample photos, and writes all weights to a file.

    Eight photos teach a network nothing; its answers do become others, which is all that a
    second version needs to be told from the first.

    Args:
        made: what to start from.
        file: to be written, `….weights.h5`.
    """
    from helpers.export import exporter, preprocess
    from helpers.export.runtime import keras

    model = exporter.model_of(made)
    for layer in model.layers[:-1]:
        layer.trainable = False
    pictures = np.stack(
        [np.asarray(preprocess(photos.load(n).data, network=made.network)) for n in CLASSES]
    )
    model.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    model.fit(pictures, np.array(list(CLASSES.values())), epochs=_EPOCHS, verbose=0)
    file.parent.mkdir(parents=True, exist_ok=True)
    model.save_weights(file)
    return file


def copy(made: Export, models: Path) -> Path:
    """Puts a version into another folder of models, whole or not at all. Returns where it is."""
    return _placed(made.path, models / settings.MODEL_NAME / made.path.name)


def broken(made: Export, models: Path, *, version: int, how: str) -> Path:
    """A copy of a version that looks like one and isn't.

    Args:
        made: a version that works.
        models: the folder of models that the copy goes to.
        version: its number.
        how: one of `BREAKS`.

    Raises:
        ExportError: there is no such way to break it.
    """
    if how not in BREAKS:
        raise ExportError(
            f"A version can't be broken by {how!r}",
            next_step=f"Pass one of {', '.join(map(repr, BREAKS))}.",
        )
    path = models / settings.MODEL_NAME / str(version)
    return _placed(made.path, path, {"signature": _unsign, "file": _cut, "warm-up": _spoil}[how])


def _placed(source: Path, path: Path, change: Any = None) -> Path:
    """A copy under a name that no server takes for a version, until it is complete."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished)
    if change is not None:
        change(unfinished)
    shutil.rmtree(path, ignore_errors=True)
    unfinished.rename(path)
    return path


def _unsign(folder: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    file = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for graph in model.meta_graphs:
        del graph.signature_def[settings.PREDICT_SIGNATURE]
    file.write_bytes(model.SerializeToString())


def _cut(folder: Path) -> None:
    for file in (folder / "variables").glob("*.data-*"):
        with file.open("r+b") as opened:
            opened.truncate(file.stat().st_size // 2)


def _spoil(folder: Path) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    from helpers.client import protos
    from helpers.export.runtime import tf
    from helpers.export.warmup import WARMUP

    log = prediction_log_pb2.PredictionLog()
    request = protos.predict_request([b"this is no photo"])
    log.predict_log.request.ParseFromString(request.SerializeToString())
    with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
        writer.write(log.SerializeToString())
