"""A child process that is spoken to line by line, and what it says, each line with a deadline."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO

from helpers import settings
from helpers.closing import Closing

_BLOCK = 1 << 16


class ChildOutput:
    """The lines of a pipe, which nobody else reads from.

    Args:
        output: a process's `stdout`, opened for bytes.
    """

    def __init__(self, output: IO[bytes]) -> None:
        self.output, self._rest = output, b""

    def next(self, deadline: float) -> str:
        """The next line, without its end.

        Args:
            deadline: on the monotonic clock, in seconds.

        Raises:
            TimeoutError: it didn't come in time.
            EOFError: the process has ended, or the pipe was closed, before it came.
        """
        if self.output.closed:
            raise EOFError
        with selectors.DefaultSelector() as selector:
            selector.register(self.output, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                block = os.read(self.output.fileno(), _BLOCK)
                if not block:
                    raise EOFError
                self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


class Child(ChildOutput, Closing):
    """A module of ours that runs in a process of its own: `python -m MODULE ARGUMENTS`.

    Args:
        module: its name.
        arguments: its command line.
        errors: the file that its standard error goes to; None: where ours does.
    """

    def __init__(self, module: str, *arguments: str, errors: Path | None = None) -> None:
        with errors.open("wb") if errors else nullcontext() as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=settings.ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,  # Ctrl-C is for whoever started it, who then ends it
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input = self._process.stdin
        super().__init__(self._process.stdout)

    @property
    def ended(self) -> bool:
        """Whether the process is gone, by itself or by `close`."""
        return self._process.poll() is not None

    def say(self, words: str) -> None:
        """Writes a line to it. One that has ended doesn't hear it: `next` tells."""
        with suppress(BrokenPipeError, ValueError):
            self._input.write(f"{words}\n".encode())
            self._input.flush()

    def close(self) -> None:
        """Kills it, and waits until it is gone. May be called again."""
        self._process.kill()
        self._process.wait()
        self.output.close()
        with suppress(BrokenPipeError):  # it ended before it read what we said last
            self._input.close()
