"""A child process that is spoken to line by line, and what it says, each line with a deadline."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from helpers import settings
from helpers.closing import Closing
from helpers.errors import TutorialError

_BLOCK = 1 << 16


class ChildOutput:
    """The lines of a pipe, which nobody else reads from.

    Args:
        output: a process's `stdout`, opened for bytes.
    """

    def __init__(self, output: IO[bytes]) -> None:
        self.output, self._rest = output, b""

    def line(self, deadline: float | None = None) -> str:
        """The next line, without its end.

        Args:
            deadline: on the monotonic clock, in seconds; None: however long it takes.

        Raises:
            TimeoutError: it didn't come in time.
            EOFError: the process has ended, or the pipe was closed, before it came.
        """
        if self.output.closed:
            raise EOFError
        with selectors.DefaultSelector() as selector:
            selector.register(self.output, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not selector.select(left_s):
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
        failed: makes the error that is raised when it doesn't answer, of the cause.
        environment: of the process; None: this one's.
        python: the interpreter.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        failed: Callable[[str], TutorialError],
        environment: Mapping[str, str] | None = None,
        python: Path | str = sys.executable,
    ) -> None:
        self._failed, self._said = failed, ""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            cwd=settings.ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
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

    def next(self, deadline: float | None = None) -> str:
        """Its next line, see `line`. If there is none, closes it and raises what `failed` makes."""
        try:
            return self.line(deadline)
        except TimeoutError as error:
            self.close()
            raise self.failed("it did not answer in time") from error
        except EOFError as error:
            self.close()
            raise self.failed("it ended") from error

    def failed(self, why: str) -> TutorialError:
        """The error for a cause, with the last line that it wrote on standard error."""
        said = self._last_words()
        return self._failed(f"{why}: {said}" if said else why)

    def close(self) -> None:
        """Kills it, and waits until it is gone. May be called again."""
        self._process.kill()
        self._process.wait()
        self.output.close()
        with suppress(BrokenPipeError):  # it ended before it read what we said last
            self._input.close()
        self._last_words()  # they are kept
        self._errors.close()

    def _last_words(self) -> str:
        if not self._errors.closed:
            # Not by a seek: the place in the file is the process's, too.
            text = os.pread(self._errors.fileno(), os.fstat(self._errors.fileno()).st_size, 0)
            self._said = text.decode(errors="replace").strip().rpartition("\n")[2]
        return self._said
