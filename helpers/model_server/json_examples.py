"""JSON to tf.Examples (util/json_tensor.cc)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import input_pb2

from helpers.model_server import json_values
from helpers.model_server.rapidjson import Repeated
from helpers.model_server.status import invalid


def fill_examples(source: input_pb2.Input, document: Mapping[str, Any]) -> None:
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
        # The original says "classify" where it regresses, too.
        text = "When method is classify, key 'examples' is expected and was not found"
        raise json_values.bad(document, text)
    if not isinstance(examples, list):
        raise json_values.bad(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise json_values.bad(document, "'examples' value is an empty array")
    for example in examples:
        _fill_example(held.examples.add(), example)


def _fill_example(example: example_pb2.Example, value: Any) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {json_values.type_name(value)}")
    for name, content in value.members if isinstance(value, Repeated) else value.items():
        feature = example.features.feature[json_values.utf8(name)]
        feature.Clear()  # of two features with one name the last counts
        for item in content if isinstance(content, list) else [content]:
            _add_value(feature, name, item)


def _add_value(feature: Any, name: str, value: Any) -> None:
    if value is None or isinstance(value, list) or json_values.is_object(value):
        kind = json_values.type_name(value)
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {kind}")
    kind = _kind(value)
    present = feature.WhichOneof("kind")
    if present not in (None, f"{kind}_list"):
        expecting = present.removesuffix("_list")
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {expecting}")
    held: Any
    if kind == "bytes":
        held = json_values.to_bytes(value)
    elif kind == "float":
        held = json_values.to_values([value], types_pb2.DT_FLOAT)[0]
    else:
        held = int(value)
        if held >= 2**63:
            raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    getattr(feature, f"{kind}_list").value.append(held)


def _kind(value: Any) -> str:
    if isinstance(value, str | dict):
        return "bytes"
    # What 64 bits can't hold is a double.
    whole = isinstance(value, int) and -(2**63) <= value < 2**64
    return "int64" if whole else "float"
