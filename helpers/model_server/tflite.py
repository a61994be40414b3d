"""A TFLite model behind the same interface: `--prefer_tflite_model` and `model.tflite`.

Its signatures become SignatureDefs. Interpreters aren't thread-safe, so each run borrows one from a
pool. Its input shapes are fixed in the file and resized to the request's.
"""

from __future__ import annotations

import queue
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.lite.python.interpreter import Interpreter
from tensorflow.python.framework import dtypes

from helpers.model_server.status import invalid

Array = np.ndarray[Any, Any]


class TfliteModel:
    """`model.tflite` of a version's directory, in as many interpreters as requests run at once.

    Raises:
        StatusError: INVALID_ARGUMENT, the file is damaged.
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
        sent, given = made.get_input_details(), made.get_output_details()
        listed = made._get_full_signature_list() or {
            "serving_default": {
                "inputs": {detail["name"]: detail["index"] for detail in sent},
                "outputs": {detail["name"]: detail["index"] for detail in given},
            }
        }
        details = {detail["index"]: detail for detail in [*sent, *given]}
        self._indices = {detail["name"]: index for index, detail in details.items()}
        self.signatures = {key: _signature(listed[key], details) for key in listed}

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


def _signature(
    tensors: Mapping[str, Mapping[str, int]], details: Mapping[int, Any]
) -> meta_graph_pb2.SignatureDef:
    signature = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    for kind in ("inputs", "outputs"):
        for alias, index in tensors[kind].items():
            info, detail = getattr(signature, kind)[alias], details[index]
            info.name = detail["name"]
            info.dtype = dtypes.as_dtype(detail["dtype"]).as_datatype_enum
            for size in detail.get("shape_signature", detail["shape"]):
                info.tensor_shape.dim.add(size=int(size))
    return signature
