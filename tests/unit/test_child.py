"""A child's lines: whole ones, in time, or an error that tells which it was."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import IO

import pytest

from helpers.child import ChildOutput

Pipe = tuple[ChildOutput, IO[bytes], IO[bytes]]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as output, os.fdopen(write, "wb", buffering=0) as said:
        yield ChildOutput(output), output, said


def soon() -> float:
    return time.monotonic() + 60


def test_lines_come_one_by_one_however_they_were_written(pipe: Pipe) -> None:
    lines, _, said = pipe
    said.write(b"one\ntwo\nth")
    assert [lines.line(soon()), lines.line(soon())] == ["one", "two"]
    said.write(b"ree\n")
    assert lines.line(soon()) == "three"


def test_a_line_that_isnt_whole_at_the_deadline_is_not_there_yet(pipe: Pipe) -> None:
    lines, _, said = pipe
    said.write(b"ha")
    with pytest.raises(TimeoutError):
        lines.line(time.monotonic())
    said.write(b"lf\n")
    assert lines.line(soon()) == "half"


def test_the_end_is_told_from_a_long_silence(pipe: Pipe) -> None:
    lines, output, said = pipe
    said.write(b"last\n")
    said.close()
    assert lines.line(soon()) == "last"
    with pytest.raises(EOFError):
        lines.line(soon())
    output.close()
    with pytest.raises(EOFError):
        lines.line(soon())
