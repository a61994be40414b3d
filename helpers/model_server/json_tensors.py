"""JSON to tensors and back, as util/json_tensor.cc does it: rows, columns, `b64` and `_bytes`."""

from __future__ import annotations

import binascii
import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pybase64
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2

from helpers.model_server import tensors
from helpers.model_server.status import Code, StatusError, invalid

Array = np.ndarray[Any, Any]
Expected = Mapping[str, meta_graph_pb2.TensorInfo]
_INT = (-(2**31), 2**31 - 1)
_INTEGERS = {  # the range of each as rapidjson checks it; narrower types wrap around
    types_pb2.DT_INT32: _INT, types_pb2.DT_INT16: _INT, types_pb2.DT_INT8: _INT,
    types_pb2.DT_UINT8: _INT, types_pb2.DT_INT64: (-(2**63), 2**63 - 1),
    types_pb2.DT_UINT32: (0, 2**32 - 1), types_pb2.DT_UINT64: (0, 2**64 - 1),
}  # fmt: skip
_EXACT = {  # the largest whole number that each holds exactly, its largest value, its name
    types_pb2.DT_FLOAT: (2**24 - 1, float(np.finfo(np.float32).max), "float"),
    types_pb2.DT_DOUBLE: (2**53 - 1, float(np.finfo(np.float64).max), "double"),
}


def _text(value: Any) -> str:
    return json.dumps(value, indent=4)


def bad(value: Any, text: str) -> StatusError:
    """A value that is wrong, as the original shows it."""
    return invalid(f"JSON Value: {_text(value)} {text}")


def type_name(value: Any) -> str:
    """A value's type by rapidjson's name."""
    if isinstance(value, bool):
        return str(value)
    names = {dict: "Object", list: "Array", str: "String", type(None): "Null"}
    return names.get(type(value), "Number")


def _type_error(value: Any, dtype: int) -> StatusError:
    expected = tensors.name_of(dtype)
    return bad(value, f"Type: {type_name(value)} is not of expected type: {expected}")


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        StatusError: INVALID_ARGUMENT, it is none.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from error
    except (RecursionError, ValueError) as error:  # too deep; a huge number; not UTF-8
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise bad(document, "Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise bad(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return document


def fill_predict(
    request: predict_pb2.PredictRequest, document: Mapping[str, Any], expected: Expected
) -> bool:
    """Fill a request's inputs from `instances` (rows) or `inputs` (columns).

    Args:
        expected: the signature's inputs.

    Returns:
        Whether they were rows; the answer has the same form.

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
    arrays = _rows(document, expected) if rows else _columns(document["inputs"], expected)
    for name, array in arrays.items():
        tensors.fill(request.inputs[name], array, as_content=array.dtype != object)
    return rows


def _columns(value: Any, expected: Expected) -> dict[str, Array]:
    if not is_object(value):
        if len(expected) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        value = dict.fromkeys(expected, value)
    for name in expected:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _dense(value[name], info.dtype) for name, info in expected.items()}


def _rows(document: Mapping[str, Any], expected: Expected) -> dict[str, Array]:
    rows = document["instances"]
    if not isinstance(rows, list):
        raise bad(document, "Excepting 'instances' to be an list/array")
    if not rows:
        raise bad(document, "No values in 'instances' array")
    named = is_object(rows[0])
    if not named and len(expected) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    for index, row in enumerate(rows):
        if named != is_object(row):
            kinds = "object but got list" if named else "value/list but got object"
            raise invalid(f"Expecting {kinds} at item {index} of input list")
        unknown = [name for name in row if name not in expected] if named else []
        if unknown:
            raise invalid(
                f"Failed to process element: {index} key: {unknown[0]} of 'instances' list. Error: "
                f"INVALID_ARGUMENT: JSON object: does not have named input: {unknown[0]}"
            )
        if named and len(row) != len(expected):
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{_text(row)} keys must be equal to: {','.join(sorted(expected))}"
            )
    return {
        name: _stack([row[name] for row in rows], info.dtype, f" key: {name}")
        if named
        else _stack(rows, info.dtype, "")
        for name, info in expected.items()
    }


def _stack(values: list[Any], dtype: int, key: str) -> Array:
    """Rows of equal shape as one array; if that fails, the row at fault is looked for."""
    try:
        return _dense(values, dtype)
    except StatusError:
        first: Array | None = None
        for index, value in enumerate(values):
            try:
                row = _dense(value, dtype)
                first = row if first is None else first
                if row.size != first.size:
                    raise invalid(f"Expecting tensor size: {first.size} but got: {row.size}")
                if row.shape != first.shape:
                    shapes = [
                        str(list(shape)).replace(" ", "") for shape in (first.shape, row.shape)
                    ]
                    raise invalid(f"Expecting shape {shapes[0]} but got: {shapes[1]}")
            except StatusError as error:
                place = f"element: {index}{key} of 'instances' list"
                raise invalid(f"Failed to process {place}. Error: {error}") from error
        raise


def _dense(value: Any, dtype: int) -> Array:
    """A JSON value, however deeply nested, as an array of a signature's type."""
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    level = [value]
    for depth, size in enumerate(shape):
        for item in level:
            if not isinstance(item, list):
                raise bad(
                    item,
                    f"found at incorrect level: {depth + 1} in the JSON DOM. Expected at level: "
                    f"{len(shape)}",
                )
            if len(item) != size:
                raise invalid(
                    f"Encountered list at unexpected size: {len(item)} at level: {depth} expected "
                    f"size: {size}"
                )
        level = list(itertools.chain.from_iterable(level))
    if list in set(map(type, level)):
        raise invalid(f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}")
    return to_values(level, dtype).reshape(shape)


def to_values(values: list[Any], dtype: int) -> Array:
    """Scalars as an array of rank 1 of a signature's type."""
    if dtype == types_pb2.DT_STRING:
        return tensors.objects([to_bytes(value) for value in values])
    if dtype in _EXACT:
        whole, largest, name = _EXACT[dtype]
        for value in values:
            if type(value) not in (int, float):
                raise _type_error(value, dtype)
            if abs(value) > whole if type(value) is int else largest < abs(value) < math.inf:
                raise invalid(
                    f"Cannot convert JSON value: {_text(value)} to {name} without loss of "
                    "precision."
                )
    elif dtype in _INTEGERS:
        low, high = _INTEGERS[dtype]
        for value in values:
            if type(value) is not int or not low <= value <= high:
                raise _type_error(value, dtype)
        return np.array(values, np.uint64 if low == 0 else np.int64).astype(
            tensors.numpy_type(dtype)
        )
    elif dtype == types_pb2.DT_BOOL:
        for value in values:
            if type(value) is not bool:
                raise _type_error(value, dtype)
    else:
        raise StatusError(
            Code.UNIMPLEMENTED,
            f"Conversion of JSON Value: {_text(values[0] if values else None)} to type: "
            f"{tensors.name_of(dtype)}",
        )
    return np.array(values, tensors.numpy_type(dtype))


def to_bytes(value: Any) -> bytes:
    """A text, or what `b64` holds."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not isinstance(value, dict):
        raise _type_error(value, types_pb2.DT_STRING)
    if not _is_b64(value):
        raise bad(value, "not formatted correctly for base64 data")
    text = value["b64"]
    try:
        # By vector instructions: a photo takes 3 us, and 90 in the standard library.
        return pybase64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def _is_b64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def is_object(value: Any) -> bool:
    """Whether a value is an object rather than bytes."""
    return isinstance(value, dict) and not _is_b64(value)


def predictions(response: predict_pb2.PredictResponse, *, rows: bool) -> str:
    """A Predict answer as JSON: a row an instance, or a column an output.

    Raises:
        StatusError: INVALID_ARGUMENT, the outputs can't be written that way.
    """
    if not response.outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    columns: dict[str, Any] = {}
    for name in sorted(response.outputs):
        array = tensors.to_array(response.outputs[name])
        if rows and not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        columns[name] = _plain(array, as_bytes=name.endswith("_bytes"))
    first = next(iter(columns.values()))
    if not rows:
        return json.dumps({"outputs": columns if len(columns) > 1 else first}, indent=4)
    for name, column in columns.items():
        if len(column) != len(first):
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(column)} expecting: "
                f"{len(first)}"
            )
    if len(columns) > 1:
        first = [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
    return json.dumps({"predictions": first})


def _plain(array: Array, *, as_bytes: bool) -> Any:
    if array.dtype == object:
        texts: list[Any] = [value.decode(errors="replace") for value in array.flat]
        if as_bytes:
            texts = [{"b64": pybase64.b64encode_as_string(value)} for value in array.flat]
        return tensors.objects(texts).reshape(array.shape).tolist()
    if array.dtype.kind not in "fiub":
        raise invalid(f"Failed to write JSON value for tensor type: {array.dtype}")
    if array.dtype in (np.float32, np.float16):
        array = short(array.astype(np.float32))
    return array.tolist()


def short(array: Array) -> Array:
    """Floats as doubles that print as short as the original prints them: 0.2, not 0.2000000030."""
    values = array.reshape(-1).tolist()
    six = np.array([float(f"{value:.6g}") for value in values])
    nine = np.array([float(f"{value:.9g}") for value in values])
    with np.errstate(over="ignore"):
        same = six.astype(np.float32) == array.reshape(-1)
    return np.where(same, six, nine).reshape(array.shape)
