"""TensorProto to numpy and back, without the detours of TensorFlow's Python API.

A request of one photo is one string; `make_tensor_proto` and `make_ndarray` would cost more than
the rest of the request's Python. Values come in `tensor_content` or in the typed field, shortened
in the latter: what is missing repeats the last value (tensor.cc, `FromProtoField`).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.python.framework import dtypes

_FIELDS = {
    "float_val": (types_pb2.DT_FLOAT,),
    "double_val": (types_pb2.DT_DOUBLE,),
    "int_val": (
        types_pb2.DT_INT32, types_pb2.DT_UINT8, types_pb2.DT_INT16, types_pb2.DT_INT8,
        types_pb2.DT_UINT16, types_pb2.DT_QINT8, types_pb2.DT_QUINT8, types_pb2.DT_QINT32,
        types_pb2.DT_QINT16, types_pb2.DT_QUINT16, types_pb2.DT_INT4, types_pb2.DT_UINT4,
    ),
    "int64_val": (types_pb2.DT_INT64,),
    "uint32_val": (types_pb2.DT_UINT32,),
    "uint64_val": (types_pb2.DT_UINT64,),
    "bool_val": (types_pb2.DT_BOOL,),
    "half_val": (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16),
    "scomplex_val": (types_pb2.DT_COMPLEX64,),
    "dcomplex_val": (types_pb2.DT_COMPLEX128,),
}  # fmt: skip
FIELD = {dtype: name for name, held in _FIELDS.items() for dtype in held}
for _name in ("DT_FLOAT8_E5M2", "DT_FLOAT8_E4M3FN"):
    if hasattr(types_pb2, _name):
        FIELD[getattr(types_pb2, _name)] = "float8_val"

# A tensor of few values and a huge shape would fill the memory before anyone looked at it.
_LARGEST_EXPANSION = 1 << 28  # bytes


def name_of(dtype: int) -> str:
    """`float`, `string`: as TensorFlow writes a DataType in a message."""
    try:
        name = types_pb2.DataType.Name(dtype)
    except ValueError:
        return str(dtype)
    return str(name).removeprefix("DT_").lower()


def numpy_type(dtype: int) -> np.dtype[Any]:
    """The numpy type of a DataType."""
    return np.dtype(dtypes.as_dtype(dtype).as_numpy_dtype)


def to_array(proto: tensor_pb2.TensorProto) -> np.ndarray[Any, Any]:
    """The array that a TensorProto describes; strings as an object array of bytes.

    Raises:
        ValueError: shape, type and values contradict each other.
    """
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError(f"shape {shape} is not fully known")
    count = math.prod(shape)
    if proto.dtype == types_pb2.DT_STRING:
        return _strings(proto, shape, count)
    if proto.dtype not in FIELD:
        raise ValueError(f"values of type {proto.dtype} can't be sent")
    dtype = numpy_type(proto.dtype)
    if proto.tensor_content:
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise ValueError(f"{len(proto.tensor_content)} bytes don't fill shape {shape}")
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    _check_expansion(count, dtype.itemsize)
    return _repeat_last(_typed_values(proto, dtype, count), count, dtype).reshape(shape)


def _strings(
    proto: tensor_pb2.TensorProto, shape: tuple[int, ...], count: int
) -> np.ndarray[Any, Any]:
    if proto.tensor_content:
        values = _unpack_strings(proto.tensor_content, count)
    else:
        values = list(proto.string_val[:count])
    if len(values) < count:
        _check_expansion(count, 8)
        values += [values[-1] if values else b""] * (count - len(values))
    array = np.empty(count, object)
    array[:] = values
    return array.reshape(shape)


def _unpack_strings(content: bytes, count: int) -> list[bytes]:
    """Strings in `tensor_content`: their lengths as varints, then their bytes.

    Source: `port::DecodeStringList`, tensorflow/core/platform/tensor_coding.cc.
    """
    if count > len(content):
        raise ValueError(f"{count} strings in {len(content)} bytes")
    lengths, at = [], 0
    for _ in range(count):
        length = shift = 0
        while True:
            byte = content[at] if at < len(content) else 0
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if at + sum(lengths) != len(content):
        raise ValueError("the lengths of the strings don't add up")
    ends = [at + end for end in itertools.accumulate(lengths)]
    return [content[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _typed_values(
    proto: tensor_pb2.TensorProto, dtype: np.dtype[Any], count: int
) -> np.ndarray[Any, Any]:
    name = FIELD[proto.dtype]
    held = getattr(proto, name)
    if name == "float8_val":  # a byte each
        return np.frombuffer(held, dtype)[:count]
    if name == "half_val":  # the 16 bits of each value, in an int32
        return np.array(held[:count], np.uint32).astype(np.uint16).view(dtype)
    if name in ("scomplex_val", "dcomplex_val"):
        part = np.float32 if name == "scomplex_val" else np.float64
        if len(held) % 2:
            raise ValueError("a complex value lacks its imaginary part")
        return np.array(held[: 2 * count], part).view(dtype)
    if name == "int_val":
        return np.array(held[:count], np.int32).astype(dtype)
    return np.array(held[:count], dtype)


def _check_expansion(count: int, width: int) -> None:
    if count * width > _LARGEST_EXPANSION:
        raise ValueError(f"{count} values of which few were sent")


def _repeat_last(
    values: np.ndarray[Any, Any], count: int, dtype: np.dtype[Any]
) -> np.ndarray[Any, Any]:
    if len(values) == count:
        return values
    filled = np.zeros(count, dtype)
    if len(values):
        filled[: len(values)] = values
        filled[len(values) :] = values[-1]
    return filled


def fill(proto: tensor_pb2.TensorProto, array: Any, *, as_content: bool = False) -> None:
    """Write an array (or a scalar of numpy) into an empty TensorProto.

    Args:
        array: of any type that a signature can carry; strings as an object array of bytes.
        as_content: values go to `tensor_content` rather than to the typed field.
    """
    array = np.asarray(array)
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if array.dtype.kind in "OSU":
        proto.dtype = types_pb2.DT_STRING
        strings = [v if isinstance(v, bytes) else str(v).encode() for v in array.flat]
        if as_content:
            lengths = b"".join(_varint(len(value)) for value in strings)
            proto.tensor_content = lengths + b"".join(strings)
        else:
            proto.string_val.extend(strings)
        return
    proto.dtype = dtypes.as_dtype(array.dtype).as_datatype_enum
    if as_content:
        proto.tensor_content = array.tobytes()
        return
    name = FIELD[proto.dtype]
    if name == "float8_val":
        proto.float8_val = array.tobytes()
    elif name == "half_val":
        proto.half_val.extend(array.reshape(-1).view(np.uint16).tolist())
    elif name in _PACKED and array.size:
        proto.MergeFromString(_packed(_PACKED[name], array.tobytes()))
    else:
        getattr(proto, name).extend(
            array.reshape(-1).astype(np.int64).tolist()
            if name == "int_val"
            else array.reshape(-1).tolist()
        )


# A packed field of fixed width is the array's own bytes behind a tag and a length, so a large
# answer is copied rather than walked through (1 ms instead of 30 ms a million floats).
_PACKED = {
    name: tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[name].number
    for name in ("float_val", "double_val", "bool_val", "scomplex_val", "dcomplex_val")
}


def _packed(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload  # 2: length-delimited


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
