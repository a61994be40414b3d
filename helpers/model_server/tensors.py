"""TensorProto to numpy and back, without the detours of TensorFlow's Python API.

A request of one photo is one string; `make_tensor_proto` and `make_ndarray` would cost more than
the rest of the request's Python. Values come in `tensor_content` or in the typed field, shortened
in the latter: what is missing repeats the last value (tensor.cc, `FromProtoField`).
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.python.framework import dtypes

Array = np.ndarray[Any, Any]

# The typed field that holds a DataType, and the numpy type of what stands in it.
_HELD = {
    "float_val": ("f4", "FLOAT"), "double_val": ("f8", "DOUBLE"), "int64_val": ("i8", "INT64"),
    "uint32_val": ("u4", "UINT32"), "uint64_val": ("u8", "UINT64"), "bool_val": ("?", "BOOL"),
    "int_val": (
        "i4", "INT32 UINT8 INT16 INT8 UINT16 INT4 UINT4 QINT8 QUINT8 QINT32 QINT16 QUINT16"
    ),
    "half_val": ("u4", "HALF BFLOAT16"), "scomplex_val": ("f4", "COMPLEX64"),
    "dcomplex_val": ("f8", "COMPLEX128"), "float8_val": ("u1", "FLOAT8_E5M2 FLOAT8_E4M3FN"),
}  # fmt: skip
_FIELD = {
    types_pb2.DataType.Value(f"DT_{name}"): field
    for field, (_, names) in _HELD.items()
    for name in names.split()
}
_NAMES = {number: n.removeprefix("DT_").lower() for n, number in types_pb2.DataType.items()}
# A packed field of fixed width is the array's own bytes behind a tag and a length, so a large
# answer is copied rather than walked through (1 ms instead of 30 ms a million floats).
_AS_BYTES = {
    name: tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[name].number
    for name in (
        "float_val", "double_val", "bool_val", "scomplex_val", "dcomplex_val", "float8_val"
    )
}  # fmt: skip
_BYTES = [bytes([value]) for value in range(0x80)]
# A tensor of few values and a huge shape would fill the memory before anyone looked at it.
_LARGEST_EXPANSION = 1 << 28  # bytes


def name_of(dtype: int) -> str:
    """`float`, `string`: as TensorFlow writes a DataType in a message."""
    return _NAMES.get(dtype, str(dtype))


def numpy_type(dtype: int) -> np.dtype[Any]:
    """The numpy type of a DataType."""
    return np.dtype(dtypes.as_dtype(dtype).as_numpy_dtype)


def objects(values: list[Any]) -> Array:
    """Byte strings as an array of rank 1."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


@functools.lru_cache(maxsize=1024)
def type_of(dtype: np.dtype[Any]) -> int:
    """The DataType of a numpy type."""
    if dtype.kind in "OSU":
        return types_pb2.DT_STRING
    number: int = dtypes.as_dtype(dtype).as_datatype_enum
    return number


def strings(array: Array) -> list[bytes]:
    """The values of an array of strings."""
    return [value if isinstance(value, bytes) else str(value).encode() for value in array.flat]


def to_array(proto: tensor_pb2.TensorProto) -> Array:
    """The array that a TensorProto describes; strings as an object array of bytes.

    Raises:
        ValueError: shape, type and values contradict each other.
    """
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError(f"shape {shape} is not fully known")
    count = math.prod(shape)
    if proto.dtype == types_pb2.DT_STRING:
        return _strings(proto, count).reshape(shape)
    if proto.dtype not in _FIELD:
        raise ValueError(f"values of type {proto.dtype} can't be sent")
    dtype = numpy_type(proto.dtype)
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = _typed_values(proto, dtype)[:count]
    _check_expansion(count, dtype.itemsize)
    if len(values) < count:
        filled = np.zeros(count, dtype)
        if len(values):
            filled[: len(values)], filled[len(values) :] = values, values[-1]
        values = filled
    return values.reshape(shape)


def _strings(proto: tensor_pb2.TensorProto, count: int) -> Array:
    if proto.tensor_content:
        return objects(_unpack_strings(proto.tensor_content, count))
    values = list(proto.string_val[:count])
    if len(values) < count:
        _check_expansion(count, 8)
        values += [values[-1] if values else b""] * (count - len(values))
    return objects(values)


def _unpack_strings(content: bytes, count: int) -> list[bytes]:
    """Strings in `tensor_content`: their lengths as varints, then their bytes.

    Source: `port::DecodeStringList`, tensorflow/core/platform/tensor_coding.cc.
    """
    if count > len(content):
        raise ValueError(f"{count} strings in {len(content)} bytes")
    ends, at = [0], 0
    for _ in range(count):
        length = shift = 0
        byte = 0x80
        while byte >= 0x80:
            if shift > 63:
                raise ValueError("the length of a string isn't a number of 64 bits")
            byte = content[at] if at < len(content) else 0
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
        ends.append(ends[-1] + length)
    if at + ends[-1] != len(content):
        raise ValueError("the lengths of the strings don't add up")
    return [content[at + start : at + end] for start, end in itertools.pairwise(ends)]


def _typed_values(proto: tensor_pb2.TensorProto, dtype: np.dtype[Any]) -> Array:
    name = _FIELD[proto.dtype]
    held = getattr(proto, name)
    if isinstance(held, bytes):  # float8: a byte each
        return np.frombuffer(held, dtype)
    if name == "half_val":  # the 16 bits of each value, in an int32
        return np.array(held, np.int32).astype(np.uint16).view(dtype)
    values = np.array(held, _HELD[name][0])
    return values.view(dtype) if dtype.kind == "c" else values.astype(dtype, copy=False)


def _check_expansion(count: int, width: int) -> None:
    if count * width > _LARGEST_EXPANSION:
        raise ValueError(f"{count} values of which few were sent")


def serialized(array: Any, *, as_content: bool = False) -> bytes:
    """A serialized TensorProto of an array (or of a scalar of numpy).

    It is written without a TensorProto. Protobuf's memory costs more than an answer's few values:
    with each 10,000 blocks that it frees it has the C library give back all free memory, which the
    next batch then has to ask the system for.

    Args:
        array: of any type that a signature can carry; strings as an object array of bytes.
        as_content: values go to `tensor_content` rather than to the typed field.
    """
    array = np.asarray(array)
    dtype = type_of(array.dtype)
    head = _head(dtype, array.shape)
    if dtype == types_pb2.DT_STRING:
        values = strings(array)
        if as_content:
            return head + field(4, b"".join([*(_varint(len(v)) for v in values), *values]))
        return head + b"".join([field(8, value) for value in values])
    name = _FIELD[dtype]
    if not array.size:
        return head
    if as_content:
        return head + field(4, array.tobytes())
    if name in _AS_BYTES:
        return head + field(_AS_BYTES[name], array.tobytes())
    flat = array.reshape(-1)
    flat = flat.view(np.uint16) if name == "half_val" else flat
    numbers = (flat.astype("i8") if name == "int_val" else flat).tolist()
    written: bytes = tensor_pb2.TensorProto(**{name: numbers}).SerializeToString()
    return head + written


@functools.lru_cache(maxsize=1024)
def _head(dtype: int, shape: tuple[int, ...]) -> bytes:
    proto = tensor_pb2.TensorProto(dtype=dtype)
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    head: bytes = proto.SerializeToString()
    return head


def field(number: int, value: bytes) -> bytes:
    """A field of a serialized message that holds bytes, a string or a message."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value  # 2: length-delimited


def _varint(value: int) -> bytes:
    if value < 0x80:
        return _BYTES[value]
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
