"""Tensors, classes and numbers to JSON, as util/json_tensor.cc writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pybase64
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, regression_pb2

from helpers.model_server import tensors
from helpers.model_server.status import invalid

Array = np.ndarray[Any, Any]
_WRITTEN = {  # as AddSingleValueAndAdvance: no half, bfloat16, uint16 or complex numbers
    types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_INT32, types_pb2.DT_INT16,
    types_pb2.DT_INT8, types_pb2.DT_UINT8, types_pb2.DT_STRING, types_pb2.DT_INT64,
    types_pb2.DT_BOOL, types_pb2.DT_UINT32, types_pb2.DT_UINT64,
}  # fmt: skip


def predictions(outputs: Mapping[str, Array], *, rows: bool) -> str:
    """A Predict answer as JSON: a row an instance, or a column an output.

    Args:
        outputs: by name, sorted.

    Raises:
        StatusError: INVALID_ARGUMENT, the outputs can't be written that way.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    columns: dict[str, Any] = {}
    batch: int | None = None
    for name, output in outputs.items():
        array = np.asarray(output)
        if rows:
            if not array.ndim:
                raise invalid(f"Tensor name: {name} has no shape information ")
            if batch not in (None, len(array)):
                raise invalid(
                    f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: "
                    f"{batch}"
                )
            batch = len(array)
        columns[name] = _plain(array, as_bytes=name.endswith("_bytes"))
    only = next(iter(columns.values()))
    if not rows:
        return json.dumps({"outputs": columns if len(columns) > 1 else only}, indent=4)
    if len(columns) > 1:
        only = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return json.dumps({"predictions": only})


def _plain(array: Array, *, as_bytes: bool) -> Any:
    dtype = tensors.type_of(array.dtype)
    if dtype not in _WRITTEN and array.size:
        name = tensors.name_of(dtype)
        raise invalid(f"Failed to write JSON value for tensor type: {name}")
    if dtype == types_pb2.DT_STRING:
        strings, texts = tensors.strings(array), list[Any]()
        if as_bytes:
            texts = [{"b64": pybase64.b64encode_as_string(value)} for value in strings]
        else:
            texts = [value.decode(errors="replace") for value in strings]
        return tensors.objects(texts).reshape(array.shape).tolist()
    if dtype == types_pb2.DT_FLOAT:
        array = _short(array)
    return array.tolist()


def _short(array: Array) -> Array:
    """Floats as doubles that print as short as the original prints them: 0.2, not 0.2000000030."""
    values = array.reshape(-1).tolist()
    six = np.array([float(f"{value:.6g}") for value in values])
    nine = np.array([float(f"{value:.9g}") for value in values])
    with np.errstate(over="ignore"):
        same = six.astype(np.float32) == array.reshape(-1)
    return np.where(same, six, nine).reshape(array.shape)


def _shorts(values: list[float]) -> list[float]:
    shortened: list[float] = _short(np.array(values, np.float32)).tolist()
    return shortened


def classifications(result: classification_pb2.ClassificationResult) -> str:
    """A Classify answer as JSON: a list of [label, score] an example."""
    if not result.classifications:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    results = []
    for one in result.classifications:
        scores = _shorts([each.score for each in one.classes])
        results.append([[each.label, s] for each, s in zip(one.classes, scores, strict=True)])
    return json.dumps({"results": results})


def regressions(result: regression_pb2.RegressionResult) -> str:
    """A Regress answer as JSON: a number an example."""
    if not result.regressions:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    return json.dumps({"results": _shorts([one.value for one in result.regressions])})
