"""What is closed when its `with` block is left: processes, connections, things in a cluster."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

SCRATCH = "inception-tutorial-"  # what the name of each of our temporary folders begins with
T = TypeVar("T", bound="Closing")


class Closing:
    """Has a `close()`, which leaving its `with` block calls, whether or not the block failed."""

    def close(self) -> None:
        """Gives back what the object holds. Closing it again does nothing."""
        raise NotImplementedError

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def scratch(what: str) -> TemporaryDirectory[str]:
    """A temporary folder that names the process it belongs to.

    A process that is killed can't remove it; notebook 14 can then tell that nobody will.

    Args:
        what: what it is for, in a word: `load`.
    """
    return TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-{what}-")


class Scratch(Closing):
    """A `scratch` folder that is made when it is first asked for, and again after a `close`.

    Args:
        what: as for `scratch`.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._folder: TemporaryDirectory[str] | None = None

    @property
    def path(self) -> Path:
        """Where it is."""
        if self._folder is None:
            self._folder = scratch(self._what)
        return Path(self._folder.name)

    def close(self) -> None:
        """Removes the folder and what is in it."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
