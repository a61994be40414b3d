"""A TFLite model behind the same interface: `--prefer_tflite_model` and `model.tflite`.

Requests go by the SignatureDefs in its metadata. A file without them gets one signature, whose
aliases are the names of its tensors; the list of signatures that today's converter writes isn't
looked at, as in the original. Interpreters aren't thread-safe, so each run borrows one from a pool.
Its input shapes are fixed in the file and resized to the request's.

Source: servables/tensorflow/tflite_session.cc; lite/tools/signature/signature_def_util.cc.
"""

from __future__ import annotations

import logging
import queue
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flatbuffers import flexbuffers
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.interpreter import Interpreter
from tensorflow.python.framework import dtypes

from helpers.model_server.status import Code, StatusError, invalid

log = logging.getLogger("model_server")
Array = np.ndarray[Any, Any]
_METADATA = b"signature_defs_metadata"


class TfliteModel:
    """`model.tflite` of a version's directory, in as many interpreters as requests run at once.

    Raises:
        StatusError: INVALID_ARGUMENT, the file or its signatures are damaged; INTERNAL, a signature
            names a tensor that isn't there.
    """

    def __init__(self, path: Path, *, interpreters: int) -> None:
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        try:
            for _ in range(max(1, interpreters)):
                made = Interpreter(str(path / "model.tflite"), num_threads=1)
                made.allocate_tensors()
                self._idle.put(made)
        except (ValueError, RuntimeError) as error:
            file = path / "model.tflite"
            raise invalid(f"{file}: {error}. Convert the model again") from error
        sent, given = (
            {detail["name"]: detail for detail in details}
            for details in (made.get_input_details(), made.get_output_details())
        )
        self._indices = {name: detail["index"] for name, detail in (given | sent).items()}
        self.signatures = _from_metadata((path / "model.tflite").read_bytes())
        if not self.signatures:
            log.warning("No signature def found in TFLite model. Generating one.")
            self.signatures = {"serving_default": _generated(sent, given)}
        for signature in self.signatures.values():
            _find_tensors("input", signature.inputs, sent)
            _find_tensors("output", signature.outputs, given)

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str], timeout_ms: int = 0
    ) -> list[Array]:
        """Run the model in this thread. There is no way to stop it: the time-out isn't honoured.

        Raises:
            StatusError: INVALID_ARGUMENT, it refuses the inputs.
        """
        interpreter = self._idle.get()
        try:
            shapes = {d["index"]: tuple(d["shape"]) for d in interpreter.get_input_details()}
            fed = {self._indices[name]: array for name, array in inputs.items()}
            resized = [index for index, array in fed.items() if shapes[index] != array.shape]
            for index in resized:
                interpreter.resize_tensor_input(index, fed[index].shape)
            if resized:
                interpreter.allocate_tensors()
            for index, array in fed.items():
                interpreter.set_tensor(index, array)
            interpreter.invoke()
            return [interpreter.get_tensor(self._indices[name]) for name in outputs]
        except (ValueError, RuntimeError) as error:
            raise invalid(str(error)) from error
        finally:
            self._idle.put(interpreter)

    def close(self) -> None:
        """Free the interpreters."""
        while not self._idle.empty():
            self._idle.get()


def _from_metadata(model: bytes) -> dict[str, meta_graph_pb2.SignatureDef]:
    """The SignatureDefs that a file brings in its metadata, by key."""
    root = schema.Model.GetRootAs(model, 0)
    signatures: dict[str, meta_graph_pb2.SignatureDef] = {}
    for entry in map(root.Metadata, range(root.MetadataLength())):
        if entry.Name() != _METADATA:
            continue
        try:
            held = flexbuffers.GetRoot(root.Buffers(entry.Buffer()).DataAsNumpy().tobytes()).AsMap
            for key, value in zip(held.Keys, held.Values, strict=True):
                message = meta_graph_pb2.SignatureDef.FromString(bytes(value.AsStringBytes))
                signatures[key.AsKey] = message
        except (DecodeError, TypeError, ValueError, AttributeError, struct.error) as error:
            raise invalid(f"Invalid SignatureDefs found in TfLite model: {error}") from error
    return signatures


def _generated(sent: Mapping[str, Any], given: Mapping[str, Any]) -> meta_graph_pb2.SignatureDef:
    """A signature whose aliases are the names of the tensors, without ":0"."""
    signature = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    for infos, details in ((signature.inputs, sent), (signature.outputs, given)):
        for name, detail in details.items():
            info = infos[name.split(":")[0]]
            info.name = name
            info.dtype = dtypes.as_dtype(detail["dtype"]).as_datatype_enum
            for size in detail.get("shape_signature", detail["shape"]):
                info.tensor_shape.dim.add(size=int(size))
    return signature


def _find_tensors(kind: str, infos: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Match a signature's names with the file's: early converters left ":0" out of them."""
    for alias, info in infos.items():
        if info.name not in tensors:
            if info.name.split(":")[0] not in tensors:
                text = f"Unknown tensor '{info.name}'."
                where = f"Signature {kind} {alias} references an unknown tensor"
                raise StatusError(Code.INTERNAL, f"{text}\n\t{where}")
            info.name = info.name.split(":")[0]
