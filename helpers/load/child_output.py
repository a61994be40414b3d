"""What a child process says on its standard output, line by line, each with a deadline."""

from __future__ import annotations

import os
import selectors
import time
from typing import IO

_BLOCK = 1 << 16


class ChildOutput:
    """The lines of a pipe, which nobody else reads from.

    Args:
        output: a process's `stdout`, opened for bytes.
    """

    def __init__(self, output: IO[bytes]) -> None:
        self._output, self._rest = output, b""

    def next(self, deadline: float) -> str:
        """The next line, without its end.

        Args:
            deadline: on the monotonic clock, in seconds.

        Raises:
            TimeoutError: it didn't come in time.
            EOFError: the process has ended, or the pipe was closed, before it came.
        """
        if self._output.closed:
            raise EOFError
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                block = os.read(self._output.fileno(), _BLOCK)
                if not block:
                    raise EOFError
                self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()
