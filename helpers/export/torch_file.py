"""Arrays out of a file that PyTorch wrote before version 1.6, without PyTorch.

A pickle can call whatever it names while it is read. This reader knows four names and refuses a
file with any other, so nothing in a file is ever run. Such a file is a sequence of five pickles (a
magic number, the format's version, sizes of types, the tensors, the storages' keys), then for each
key a count of 8 bytes and as many values. The format is read as `torch/serialization.py` of
PyTorch 1.5 writes it.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from helpers.errors import WeightsError

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


class _Storage(NamedTuple):
    """Values in a row, which tensors are views of."""

    key: str
    dtype: str
    values: int


class _Tensor(NamedTuple):
    """A view of a storage, what `_rebuild_tensor_v2` is called with; strides in values."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    requires_grad: bool
    hooks: object


def _tensor(*arguments: Any) -> _Tensor:
    """A function and no class: a pickle may set the attributes of a class that it was given."""
    return _Tensor(*arguments)


_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no weights need")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, count, _view = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"it refers to a {kind!r}, where a storage is expected")
        return _Storage(key, dtype, count)


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors in a file, by name, as arrays of their own.

    Args:
        path: a file that `torch.save` wrote from a state dict of float32 and int64 tensors.

    Raises:
        WeightsError: the file is no such file, is cut off, or names anything but tensors.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except (
        pickle.UnpicklingError,
        struct.error,
        ValueError,
        TypeError,
        KeyError,
        EOFError,
        AttributeError,
        IndexError,
        ImportError,
        OverflowError,
    ) as error:  # what a broken pickle raises
        raise WeightsError(
            f"The weights in {path} can't be read",
            cause=str(error) or type(error).__name__,
            next_step="Install them again: delete .venv, then `make setup`.",
        ) from error  # fmt: skip


def _read(file: IO[bytes]) -> dict[str, np.ndarray]:
    if (_Unpickler(file).load(), _Unpickler(file).load()) != (_MAGIC, _VERSION):
        raise ValueError("it isn't in PyTorch's format of before 1.6")
    _Unpickler(file).load()  # sizes of C's types on the machine that wrote it
    tensors, keys = _Unpickler(file).load(), _Unpickler(file).load()
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    storages = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        dtype = np.dtype(dtypes[key])
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
    return {name: _view(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _view(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    """A copy of the values that a tensor means. Its strides need not be those of C or Fortran."""
    axes = list(zip(tensor.shape, tensor.strides, strict=True))
    last = tensor.offset + sum((size - 1) * stride for size, stride in axes)
    if min(tensor.offset, *tensor.strides, 0) < 0 or last >= len(storage):
        raise ValueError("a tensor reaches beyond its storage")  # NumPy would read what is there
    if math.prod(tensor.shape) > len(storage):
        raise ValueError("a tensor repeats its storage")  # as often as it likes: into all memory
    strides = [stride * storage.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides)
    return view.copy()
