"""JSON to tensors: rows and columns, `b64`, and the errors of util/json_tensor.cc.

Checked against tensorflow/serving of July 2022 (commit b6b8cca6), the newest that could be read;
what is known of the releases since, up to 2.20.0, is in `rapidjson`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from helpers.model_server import rapidjson
from helpers.model_server.json_values import bad, is_object, shown, to_values
from helpers.model_server.status import StatusError, invalid

Array = np.ndarray[Any, Any]
Expected = Mapping[str, meta_graph_pb2.TensorInfo]
_MOST_DIMENSIONS = 64  # numpy's; TensorFlow has 254


def parse(body: bytes, *, exactly: bool = False) -> dict[str, Any]:
    """The JSON object of a request.

    Args:
        exactly: find an integer of over 308 digits, too, which is found otherwise when it is used.

    Raises:
        StatusError: INVALID_ARGUMENT, it is none.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = (rapidjson.read_exactly if exactly else rapidjson.read)(body)
    except rapidjson.ParseError as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise bad(document, "Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise bad(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return document


def inputs(document: Mapping[str, Any], expected: Expected) -> tuple[dict[str, Array], bool]:
    """A request's inputs from `instances` (rows) or `inputs` (columns).

    Args:
        expected: the signature's inputs, sorted by name.

    Returns:
        The inputs by name, and whether they were rows; the answer has the same form.

    Raises:
        StatusError: INVALID_ARGUMENT, with the original's text.
    """
    rows = "instances" in document
    if rows and "inputs" in document:
        text = (
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
        raise bad(document, text)
    if not rows and "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    return _rows(document, expected) if rows else _columns(document["inputs"], expected), rows


def _columns(value: Any, expected: Expected) -> dict[str, Array]:
    if not is_object(value):
        if len(expected) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        value = dict.fromkeys(expected, value)
    arrays = {}
    for name, info in expected.items():
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _dense(value[name], info.dtype, name)
    return arrays


def _rows(document: Mapping[str, Any], expected: Expected) -> dict[str, Array]:
    rows = document["instances"]
    if not isinstance(rows, list):
        raise bad(document, "Excepting 'instances' to be an list/array")
    if not rows:
        raise bad(document, "No values in 'instances' array")
    if not isinstance(rows[0], dict) and len(expected) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    try:
        if not is_object(rows[0]):
            name, info = next(iter(expected.items()))
            return {name: _dense(rows, info.dtype, name)}
        if any(not is_object(row) or row.keys() != expected.keys() for row in rows):
            raise invalid("rows of several kinds")
        return {
            name: _dense([row[name] for row in rows], info.dtype, name)
            for name, info in expected.items()
        }
    except StatusError:
        _refuse_rows(rows, expected)
        raise


def _refuse_rows(rows: list[Any], expected: Expected) -> None:
    """Go through rows of which one is wrong, value by value, as the original does.

    Raises:
        StatusError: INVALID_ARGUMENT, what is wrong with the first that is.
    """
    named = is_object(rows[0])
    firsts: dict[str, Array] = {}
    for index, row in enumerate(rows):
        if named != is_object(row):
            kinds = "object but got list" if named else "value/list but got object"
            raise invalid(f"Expecting {kinds} at item {index} of input list")
        for name, value in row.items() if named else [(next(iter(expected)), row)]:
            try:
                if name not in expected:
                    raise invalid(f"JSON object: does not have named input: {name}")
                array = _dense(value, expected[name].dtype, name)
                _check_alike(firsts.setdefault(name, array), array)
            except StatusError as error:
                key = f" key: {name}" if named else ""
                raise invalid(
                    f"Failed to process element: {index}{key} of 'instances' list. Error: {error}"
                ) from error
        if named and row.keys() != expected.keys():
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{shown(row)} keys must be equal to: {','.join(sorted(expected))}"
            )


def _check_alike(first: Array, row: Array) -> None:
    if row.size != first.size:
        raise invalid(f"Expecting tensor size: {first.size} but got: {row.size}")
    if row.shape != first.shape:
        shapes = [str(list(shape)).replace(" ", "") for shape in (first.shape, row.shape)]
        raise invalid(f"Expecting shape {shapes[0]} but got: {shapes[1]}")


def _dense(value: Any, dtype: int, name: str) -> Array:
    """A JSON value, however deeply nested, as an array of a signature's type."""
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    if len(shape) > _MOST_DIMENSIONS:
        raise invalid(f"tensor parsing error: {name}")
    level = [value]
    for size in shape:
        if set(map(type, level)) - {list} or set(map(len, level)) - {size}:
            _refuse(value, 0, shape, dtype)
        level = list(itertools.chain.from_iterable(level))
    if list in set(map(type, level)):
        _refuse(value, 0, shape, dtype)
    return to_values(level, dtype).reshape(shape)


def _refuse(value: Any, level: int, shape: list[int], dtype: int) -> None:
    """Go through a ragged value, depth first, as the original does.

    Raises:
        StatusError: INVALID_ARGUMENT, what is wrong with the first element that is.
    """
    if not isinstance(value, list):
        if level != len(shape):
            raise bad(
                value,
                f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: "
                f"{len(shape)}",
            )
        to_values([value], dtype)
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected "
            f"size: {shape[level]}"
        )
    for item in value:
        _refuse(item, level + 1, shape, dtype)
