"""JSON to tf.Examples, and classes and numbers to JSON (util/json_tensor.cc)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from helpers.model_server import json_tensors
from helpers.model_server.status import invalid


def fill_examples(source: input_pb2.Input, document: Mapping[str, Any], method: str) -> None:
    """Fill a Classify or Regress request's tf.Examples from `examples` and `context`.

    Raises:
        StatusError: INVALID_ARGUMENT, with the original's text.
    """
    held: Any = source.example_list
    if "context" in document:
        held = source.example_list_with_context
        _fill_example(held.context, document["context"])
    examples = document.get("examples")
    if "examples" not in document:
        text = f"When method is {method}, key 'examples' is expected and was not found"
        raise json_tensors.bad(document, text)
    if not isinstance(examples, list):
        raise json_tensors.bad(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise json_tensors.bad(document, "'examples' value is an empty array")
    for example in examples:
        _fill_example(held.examples.add(), example)


def _fill_example(example: example_pb2.Example, value: Any) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {json_tensors.type_name(value)}")
    for name, content in value.items():
        feature = example.features.feature[name]
        for item in content if isinstance(content, list) else [content]:
            _add_value(feature, name, item)


def _add_value(feature: Any, name: str, value: Any) -> None:
    if value is None or isinstance(value, list) or json_tensors.is_object(value):
        kind = json_tensors.type_name(value)
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {kind}")
    held: Any
    if isinstance(value, str | dict):
        kind, held = "bytes", json_tensors.to_bytes(value)
    elif isinstance(value, float):
        kind, held = "float", json_tensors.to_values([value], types_pb2.DT_FLOAT)[0]
    else:
        kind, held = "int64", int(value)
        if not -(2**63) <= held < 2**63:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
    present = feature.WhichOneof("kind")
    if present not in (None, f"{kind}_list"):
        expecting = present.removesuffix("_list")
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {expecting}")
    getattr(feature, f"{kind}_list").value.append(held)


def _short(values: list[float]) -> list[float]:
    shortened: list[float] = json_tensors.short(np.array(values, np.float32)).tolist()
    return shortened


def classifications(result: classification_pb2.ClassificationResult) -> str:
    """A Classify answer as JSON: a list of [label, score] an example."""
    if not result.classifications:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    results = []
    for one in result.classifications:
        scores = _short([each.score for each in one.classes])
        results.append([[each.label, s] for each, s in zip(one.classes, scores, strict=True)])
    return json.dumps({"results": results})


def regressions(result: regression_pb2.RegressionResult) -> str:
    """A Regress answer as JSON: a number an example."""
    if not result.regressions:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    return json.dumps({"results": _short([one.value for one in result.regressions])})
