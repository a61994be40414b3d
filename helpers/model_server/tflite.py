"""A TFLite model behind the same interface: `--prefer_tflite_model` and `model.tflite`.

Its signatures become SignatureDefs. Interpreters aren't thread-safe, so each run borrows one from a
pool. Its input shapes are fixed in the file and resized to the request's.
"""

from __future__ import annotations

import dataclasses
import queue
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.lite.python import interpreter as tflite_interpreter
from tensorflow.python.framework import dtypes

from helpers.model_server.status import Code, StatusError, invalid

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class TfliteModel:
    """A TFLite model and its interpreters."""

    signatures: Mapping[str, meta_graph_pb2.SignatureDef]
    indices: Mapping[str, int]  # tensor name to its index
    idle: queue.SimpleQueue[Any]  # interpreters

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str], *, timeout_ms: int = 0
    ) -> list[Array]:
        """Run the model in this thread.

        Raises:
            StatusError: INVALID_ARGUMENT, it refuses the inputs.
        """
        interpreter = self.idle.get()
        try:
            resized = False
            for name, array in inputs.items():
                index = self._index(name)
                if tuple(interpreter.get_input_details_by_index[index]) != array.shape:
                    interpreter.resize_tensor_input(index, array.shape)
                    interpreter.get_input_details_by_index[index] = array.shape
                    resized = True
            if resized:
                interpreter.allocate_tensors()
            for name, array in inputs.items():
                interpreter.set_tensor(self._index(name), array)
            interpreter.invoke()
            return [interpreter.get_tensor(self._index(name)) for name in outputs]
        except (ValueError, RuntimeError) as error:
            raise invalid(str(error)) from error
        finally:
            self.idle.put(interpreter)

    def _index(self, name: str) -> int:
        if name not in self.indices:
            raise invalid(f"Tensor {name} was not found in the model")
        return self.indices[name]

    def close(self) -> None:
        """Free the interpreters."""
        while not self.idle.empty():
            self.idle.get()


def load(path: Path, *, interpreters: int) -> TfliteModel:
    """Load `model.tflite` of a version's directory.

    Args:
        interpreters: how many requests run at once.

    Raises:
        StatusError: INVALID_ARGUMENT, the file is damaged.
    """
    idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(max(1, interpreters)):
        try:
            made = tflite_interpreter.Interpreter(str(path / "model.tflite"), num_threads=1)
            made.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise StatusError(
                Code.INVALID_ARGUMENT, f"{path / 'model.tflite'}: {error}. Convert the model again"
            ) from error
        made.get_input_details_by_index = {
            detail["index"]: tuple(detail["shape"]) for detail in made.get_input_details()
        }
        idle.put(made)
    details = [*made.get_input_details(), *made.get_output_details()]
    return TfliteModel(
        _signatures(made, {detail["index"]: detail for detail in details}),
        {detail["name"]: detail["index"] for detail in details},
        idle,
    )


def _signatures(made: Any, details: Mapping[int, Any]) -> Mapping[str, meta_graph_pb2.SignatureDef]:
    listed = made._get_full_signature_list() or {
        "serving_default": {
            "inputs": {detail["name"]: detail["index"] for detail in made.get_input_details()},
            "outputs": {detail["name"]: detail["index"] for detail in made.get_output_details()},
        }
    }
    signatures = {}
    for key, tensors in listed.items():
        signature = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
        for kind in ("inputs", "outputs"):
            for alias, index in tensors[kind].items():
                info = getattr(signature, kind)[alias]
                info.name = details[index]["name"]
                info.dtype = dtypes.as_dtype(details[index]["dtype"]).as_datatype_enum
                shape = details[index].get("shape_signature", details[index]["shape"])
                for size in shape:
                    info.tensor_shape.dim.add(size=int(size))
        signatures[key] = signature
    return signatures
