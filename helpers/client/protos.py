"""TensorFlow Serving's messages without TensorFlow.

`tensorflow_serving.apis` imports `tensorflow.core.framework.*_pb2`, and with it the whole of
TensorFlow: seconds and hundreds of megabytes for a client that sends bytes and reads labels. The
generated modules themselves need nothing but protobuf. So, while they are imported, an empty
package that only knows where TensorFlow's files are stands in for `tensorflow`; then it is taken
away again, and a later `import tensorflow` finds the field clear. protobuf keeps one class a
message type, so both sides' messages are of the same class.
"""

from __future__ import annotations

import importlib
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from helpers import settings
from helpers.errors import SetupError


@contextmanager
def _stand_in_for_tensorflow() -> Iterator[None]:
    """Lets `import tensorflow.….x_pb2` work without running TensorFlow's own `__init__`."""
    if "tensorflow" in sys.modules:
        yield
        return
    spec = find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise SetupError(
            "The messages of TensorFlow Serving can't be imported",
            cause="the package tensorflow is not installed",
            next_step="Run `make setup` and use its environment, .venv.",
        )
    stand_in = ModuleType("tensorflow")
    stand_in.__path__ = list(spec.submodule_search_locations)
    sys.modules["tensorflow"] = stand_in
    try:
        yield
    finally:
        for name in [n for n in sys.modules if n.partition(".")[0] == "tensorflow"]:
            del sys.modules[name]


def _apis(name: str) -> Any:
    return importlib.import_module(f"tensorflow_serving.apis.{name}")


with _stand_in_for_tensorflow():
    get_model_metadata_pb2 = _apis("get_model_metadata_pb2")
    get_model_status_pb2 = _apis("get_model_status_pb2")
    model_management_pb2 = _apis("model_management_pb2")
    model_pb2 = _apis("model_pb2")
    predict_pb2 = _apis("predict_pb2")
    tensor_pb2 = importlib.import_module("tensorflow.core.framework.tensor_pb2")
    types_pb2 = importlib.import_module("tensorflow.core.framework.types_pb2")

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
RELOAD_CONFIG = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"


def model_spec(model: str, *, version: int | str | None = None, signature: str = "") -> Any:
    """Which servable a request is for.

    Args:
        model: the servable's name.
        version: a number, a version label such as `"stable"`, or None for the newest.
        signature: the signature's name; empty where the method has none (GetModelStatus).

    Returns:
        A `tensorflow.serving.ModelSpec`.
    """
    spec = model_pb2.ModelSpec(name=model, signature_name=signature)
    if isinstance(version, str):
        spec.version_label = version
    elif version is not None:
        spec.version.value = version
    return spec


def predict_request(
    photos: Sequence[bytes],
    *,
    model: str = settings.MODEL_NAME,
    version: int | str | None = None,
) -> Any:
    """A PredictRequest that asks for the labels of some photos.

    Args:
        photos: JPEG or PNG bytes, one string tensor element each: shape `[len(photos)]`.
        model: the servable's name.
        version: a number, a version label, or None for the newest.
    """
    spec = model_spec(model, version=version, signature=settings.PREDICT_SIGNATURE)
    request = predict_pb2.PredictRequest(model_spec=spec)
    request.inputs[settings.PREDICT_INPUT].CopyFrom(string_tensor(photos))
    return request


def string_tensor(values: Sequence[bytes]) -> Any:
    """A TensorProto of dtype string and shape `[len(values)]`."""
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=values)
    tensor.tensor_shape.dim.add(size=len(values))
    return tensor


def shape(tensor: Any) -> tuple[int, ...]:
    """A TensorProto's shape."""
    return tuple(dim.size for dim in tensor.tensor_shape.dim)


def strings(tensor: Any) -> list[bytes]:
    """The elements of a string TensorProto in row-major order, however it was packed.

    A server with `--enable_serialization_as_tensor_content` packs strings as their lengths,
    varint-coded, followed by their bytes (`port::EncodeStringList` in TensorFlow's
    `core/platform/tensor_coding.cc`).
    """
    if not tensor.tensor_content:
        return list(tensor.string_val)
    content = tensor.tensor_content
    count = 1
    for size in shape(tensor):
        count *= size
    lengths, at = [], 0
    for _ in range(count):
        length, at = _varint(content, at)
        lengths.append(length)
    values = []
    for length in lengths:
        values.append(content[at : at + length])
        at += length
    return values


def floats(tensor: Any) -> list[float]:
    """The elements of a float32 TensorProto in row-major order, however it was packed."""
    if not tensor.tensor_content:
        return list(tensor.float_val)
    content = tensor.tensor_content
    return list(struct.unpack(f"<{len(content) // 4}f", content))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A protobuf varint and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
