"""A file of PyTorch's old format is read without PyTorch, and nothing in it is ever run."""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.errors import WeightsError
from helpers.export import torch_file

VALUES = np.arange(6, dtype="<f4")


class Named:
    """Pickled as the bare name of something in a module, that need not be installed."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Storage:
    def __init__(self, key: str, count: int) -> None:
        self.pid = ("storage", Named("torch", "FloatStorage"), key, "cpu", count, None)


class View:
    """A tensor as `_rebuild_tensor_v2` is called for it."""

    def __init__(self, *arguments: Any, function: Any = None) -> None:
        self.function = function or Named("torch._utils", "_rebuild_tensor_v2")
        self.arguments = arguments


class Pickler(pickle._Pickler):  # type: ignore[name-defined] # Python's own can write any name
    def persistent_id(self, thing: Any) -> Any:
        return thing.pid if isinstance(thing, Storage) else None

    def save(self, thing: Any, save_persistent_id: bool = True) -> None:
        if isinstance(thing, Named):
            self.write(f"c{thing.module}\n{thing.name}\n".encode())
        elif isinstance(thing, View):
            self.save(thing.function)
            self.save(thing.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(thing, save_persistent_id)


def view(shape: tuple[int, ...], strides: tuple[int, ...], *, offset: int = 0) -> View:
    return View(Storage("1", len(VALUES)), offset, shape, strides, False, OrderedDict())


def written(
    path: Path, tensors: Any, *, values: np.ndarray = VALUES, magic: int | None = None
) -> Path:
    file = io.BytesIO()
    heads = (torch_file._MAGIC if magic is None else magic, 1001, {"little_endian": True})
    for thing in (*heads, tensors, ["1"]):
        Pickler(file, protocol=2).dump(thing)
    file.write(struct.pack("<q", len(values)) + values.tobytes())
    path.write_bytes(file.getvalue())
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def test_tensors_come_by_their_names(path: Path) -> None:
    written(path, OrderedDict(row=view((6,), (1,)), rows=view((2, 3), (3, 1))))
    found = torch_file.read(path)
    assert found["row"].tolist() == [0, 1, 2, 3, 4, 5]
    assert found["rows"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_strides_that_are_not_in_a_row_are_kept(path: Path) -> None:
    """The trained file has them; read in a row, every photo is a rugby ball."""
    written(path, OrderedDict(turned=view((3, 2), (1, 3)), end=view((2,), (2,), offset=1)))
    found = torch_file.read(path)
    assert found["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["end"].tolist() == [1, 3]


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("collections", "deque")],
)
def test_a_file_that_asks_for_anything_else_is_refused(path: Path, module: str, name: str) -> None:
    harm = path.with_name("harm")
    command = View(f"touch {harm}", function=Named(module, name))
    written(path, OrderedDict(a=command))
    with pytest.raises(WeightsError, match=rf"it asks for {module}\.{name}"):
        torch_file.read(path)
    assert not harm.exists()


def test_that_file_would_have_done_harm(path: Path) -> None:
    """The control: what the refused file does when Python's own unpickler reads it."""
    harm = path.with_name("harm")
    name = os.system.__module__
    file = io.BytesIO()
    Pickler(file, protocol=2).dump(View(f"touch {harm}", function=Named(name, "system")))
    pickle.loads(file.getvalue())
    assert harm.exists()


@pytest.mark.parametrize(
    "beyond",
    [
        view((7,), (1,)),
        view((6,), (1,), offset=1),
        view((2,), (-1,), offset=1),
        view((2, 3), (4, 1)),
    ],
    ids=["too long", "offset", "backwards", "strides"],
)
def test_a_tensor_beyond_its_storage_is_refused(path: Path, beyond: View) -> None:
    written(path, OrderedDict(a=beyond))
    with pytest.raises(WeightsError, match="beyond its storage"):
        torch_file.read(path)


@pytest.mark.parametrize("huge", [view((1,), (2**70,)), view((2**40,), (0,))])
def test_a_tensor_larger_than_any_memory_is_refused(path: Path, huge: View) -> None:
    written(path, OrderedDict(a=huge))
    with pytest.raises(WeightsError, match="can't be read"):
        torch_file.read(path)


def test_a_file_changes_nothing_for_the_files_after_it(path: Path) -> None:
    """A pickle's BUILD sets attributes of whatever the file names."""
    file = io.BytesIO()
    Pickler(file, protocol=2).dump(Named("torch._utils", "_rebuild_tensor_v2"))
    build = file.getvalue()[:-1] + pickle.dumps({"__new__": 1, "storage": 1}, protocol=2)[2:-1]
    path.write_bytes(build + b"b.")
    with pytest.raises(WeightsError):
        torch_file.read(path)
    written(path, OrderedDict(row=view((6,), (1,))))
    assert torch_file.read(path)["row"].tolist() == [0, 1, 2, 3, 4, 5]


def test_another_format_is_refused(path: Path) -> None:
    written(path, OrderedDict(), magic=1)
    with pytest.raises(WeightsError, match="isn't in PyTorch's format"):
        torch_file.read(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.98])
def test_a_file_that_is_cut_off_is_refused(path: Path, share: float) -> None:
    data = written(path, OrderedDict(row=view((6,), (1,)))).read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(WeightsError, match="can't be read"):
        torch_file.read(path)


@pytest.mark.parametrize("text", [b"no pickle at all", b"\x80\x02.", b"\x80\x02K\x01."])
def test_what_is_no_such_file_is_refused(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    with pytest.raises(WeightsError, match="can't be read"):
        torch_file.read(path)
