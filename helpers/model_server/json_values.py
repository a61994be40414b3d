"""A JSON value as a tensor's element: numbers, strings, `b64` (util/json_tensor.cc)."""

from __future__ import annotations

import binascii
import json
import math
import re
from typing import Any

import numpy as np
import pybase64
from tensorflow.core.framework import types_pb2

from helpers.model_server import rapidjson, tensors
from helpers.model_server.status import Code, StatusError, invalid

Array = np.ndarray[Any, Any]
_INT = range(-(2**31), 2**31)
_INTEGERS = {  # the range of each as rapidjson checks it; narrower types wrap around
    types_pb2.DT_INT32: _INT, types_pb2.DT_INT16: _INT, types_pb2.DT_INT8: _INT,
    types_pb2.DT_UINT8: _INT, types_pb2.DT_INT64: range(-(2**63), 2**63),
    types_pb2.DT_UINT32: range(2**32), types_pb2.DT_UINT64: range(2**64),
}  # fmt: skip
_TYPES: dict[int, set[type]] = {
    types_pb2.DT_FLOAT: {int, float}, types_pb2.DT_DOUBLE: {int, float},
    types_pb2.DT_BOOL: {bool},
}  # fmt: skip
_WHITE_SPACE = str.maketrans("", "", " \t\n\v\f\r")
_BASE64 = re.compile(r"([A-Za-z0-9+/]*)([=.]*)")


def shown(value: Any) -> str:
    """A value as the original shows it: by rapidjson's PrettyWriter, and by `WriteDecimal`."""
    if type(value) is int and not -(2**63) <= value < 2**64:
        value = float(value)
    if type(value) is float and math.isfinite(value):
        short = f"{value:.6g}"
        text = short if float(short) == value else f"{value:.17g}"
        return text if "." in text or "e" in text else f"{text}.0"
    try:
        return json.dumps(value, indent=4, ensure_ascii=False)
    except RecursionError:
        return "(too deeply nested to be shown)"


def bad(value: Any, text: str) -> StatusError:
    """A value that is wrong, as the original shows it."""
    return invalid(f"JSON Value: {shown(value)} {text}")


def type_name(value: Any) -> str:
    """A value's type by rapidjson's name."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return "String"
    if isinstance(value, dict):
        return "Object"
    return {list: "Array", type(None): "Null"}.get(type(value), "Number")


def _type_error(value: Any, dtype: int) -> StatusError:
    expected = tensors.name_of(dtype)
    return bad(value, f"Type: {type_name(value)} is not of expected type: {expected}")


def to_values(values: list[Any], dtype: int) -> Array:
    """Scalars as an array of rank 1 of a signature's type.

    A number that a float can't hold exactly is rounded; one over its range becomes infinite.

    Raises:
        StatusError: INVALID_ARGUMENT for a value of another type, UNIMPLEMENTED for a type that
            JSON can't carry.
        OverflowError: an integer of over 308 digits (`json_tensors.parse`).
    """
    if dtype == types_pb2.DT_STRING:
        return tensors.objects([to_bytes(value) for value in values])
    kinds, wide = set(map(type, values)), tensors.numpy_type(dtype)
    if dtype in _INTEGERS:
        held = _INTEGERS[dtype]
        fits = not kinds - {int} and all(map(held.__contains__, values))
        # As wide as it is checked: narrower types wrap around.
        wide = np.dtype(np.int64 if held.start else np.uint64)
    else:
        fits = not kinds - _TYPES.get(dtype, set())
    if not fits:
        _refuse_value(next(value for value in values if not _fits(value, dtype)), dtype)
    with np.errstate(over="ignore"):
        return np.array(values, wide).astype(tensors.numpy_type(dtype), copy=False)


def _fits(value: Any, dtype: int) -> bool:
    if dtype in _INTEGERS:
        return type(value) is int and value in _INTEGERS[dtype]
    return type(value) in _TYPES.get(dtype, set())


def _refuse_value(value: Any, dtype: int) -> None:
    if dtype in _INTEGERS or dtype in _TYPES or isinstance(value, dict):
        raise _type_error(value, dtype)
    raise StatusError(
        Code.UNIMPLEMENTED,
        f"Conversion of JSON Value: {shown(value)} to type: {tensors.name_of(dtype)}",
    )


def to_bytes(value: Any) -> bytes:
    """A text, or what `b64` holds."""
    if isinstance(value, rapidjson.RawText):
        return value.raw
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not isinstance(value, dict):
        raise _type_error(value, types_pb2.DT_STRING)
    if not _is_b64(value):
        raise bad(value, "not formatted correctly for base64 data")
    return _unescaped(value["b64"])


def _unescaped(text: str) -> bytes:
    """What base64 stands for, as absl::Base64Unescape reads it.

    White space is skipped; of `=`, or `.`, there are as many as belong there, or none.
    """
    try:
        # By vector instructions: a photo takes 3 us, and 90 in the standard library.
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass  # not as it is written usually; it may be right all the same
    found = _BASE64.fullmatch(text.translate(_WHITE_SPACE))
    if found is None:
        raise invalid("Unable to base64 decode")
    digits, padding = found.groups()
    missing = -len(digits) % 4
    if missing == 3 or len(padding) not in (0, missing):
        raise invalid("Unable to base64 decode")
    return pybase64.b64decode(digits + "=" * missing, validate=True)


def utf8(text: str) -> str:
    """A name as a message can hold it: halves of surrogate pairs replaced."""
    return text.encode(errors="replace").decode()


def _is_b64(value: Any) -> bool:
    # A dict, not `Repeated`: of two members neither is the only one.
    return type(value) is dict and len(value) == 1 and isinstance(value.get("b64"), str)


def is_object(value: Any) -> bool:
    """Whether a value is an object rather than bytes."""
    return isinstance(value, dict) and not _is_b64(value)
