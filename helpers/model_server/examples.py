"""tf.Examples in, classes or numbers out: what Classify and Regress make of tensors.

Sources: servables/tensorflow/{classifier,regressor,util}.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from helpers.model_server import tensors
from helpers.model_server.status import failed_precondition, invalid

Array = np.ndarray[Any, Any]
Signature: TypeAlias = meta_graph_pb2.SignatureDef


def read(source: input_pb2.Input) -> Array:
    """Serialized tf.Examples, each with the context's features before its own."""
    held = getattr(source, source.WhichOneof("kind") or "example_list")
    if not held.examples:
        raise invalid("Input is empty.")
    context = held.context.SerializeToString() if hasattr(held, "context") else b""
    return tensors.objects([context + example.SerializeToString() for example in held.examples])


def only_input(signature: Signature, kind: str) -> str:
    """The tensor that the examples are fed to."""
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if "inputs" not in signature.inputs:
        raise failed_precondition(f"No {kind} inputs found in SignatureDef: {signature}")
    return str(signature.inputs["inputs"].name)


def outputs(signature: Signature, *, classify: bool) -> dict[str, str]:
    """The outputs that a method answers with: alias to tensor name."""
    count = len(signature.outputs)
    aliases = ("classes", "scores") if classify else ("outputs",)
    found = {a: signature.outputs[a].name for a in aliases if a in signature.outputs}
    if not classify and count != 1:
        raise invalid("Expected one output Tensor.")
    if classify and count not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {count}")
    if not found and not classify:
        raise failed_precondition(f"No regression outputs found in SignatureDef: {signature}")
    if not found:
        raise failed_precondition(
            'Expected classification signature outputs to contain at least one of "classes" or '
            f'"scores". Signature was: {signature}'
        )
    return found


def classes(arrays: Mapping[str, Array], count: int) -> classification_pb2.ClassificationResult:
    """A list of classes an example."""
    for alias, array in arrays.items():
        if array.ndim != 2:
            raise invalid(
                f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}"
            )
        expected = np.dtype(object) if alias == "classes" else np.dtype(np.float32)
        if array.dtype != expected:
            name = "DT_STRING" if alias == "classes" else "DT_FLOAT"
            raise invalid(f"Expected {alias} Tensor of {name}. Got: {array.dtype}")
        if len(array) != count:
            raise invalid(f"Expected {alias} output batch size of {count}. Got: {len(array)}")
    widths = [array.shape[1] for array in arrays.values()]
    if len(set(widths)) > 1:
        raise invalid(
            f"Tensors class and score should match in dim_size(1). Got {widths[0]} vs. {widths[1]}"
        )
    fields = {"classes": "label", "scores": "score"}
    result = classification_pb2.ClassificationResult()
    for row in range(count):
        found = result.classifications.add().classes
        for column in range(widths[0]):
            found.add(**{fields[a]: array[row, column] for a, array in arrays.items()})
    return result


def regressions(arrays: Mapping[str, Array], count: int) -> regression_pb2.RegressionResult:
    """A number an example."""
    array = arrays["outputs"]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{_shape(array)}"
        )
    if len(array) != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if array.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {array.dtype}")
    values = [regression_pb2.Regression(value=value) for value in array.reshape(-1).tolist()]
    return regression_pb2.RegressionResult(regressions=values)


def _shape(array: Array) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"
