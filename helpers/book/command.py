"""What the commands that run notebooks have in common: how they end, and where they write."""

from __future__ import annotations

import difflib
import errno
import fcntl
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from helpers.errors import NotebookError, TutorialError

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)  # handled as Ctrl-C is: a closed terminal, a stopped CI


def call(run: Callable[[], int]) -> int:
    """Runs a command; returns its exit status: 2 for an error of ours, 130 after Ctrl-C."""
    for talkative in ("papermill", "asyncio"):  # errors are told by us, once
        logging.getLogger(talkative).setLevel(logging.CRITICAL)
    # The kernel of this environment, not one of the same name that the user installed.
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    before = {number: signal.signal(number, _interrupt) for number in _ENDINGS}
    try:
        return run()
    except TutorialError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_typed(environ: Mapping[str, str], known: Iterable[str]) -> None:
    """Refuses a variable that was typed behind `make` and is all but one that the command has.

    Others may be another program's: make puts all of them into the environment. One before `make`
    isn't looked at, since an environment is full of names that nobody chose for us.

    Args:
        environ: in which make says what was typed.
        known: the command's variables.

    Raises:
        NotebookError: there is such a one.
    """
    names = sorted({*known, "PYTHON"})
    # A blank in a value has a backslash: ` -- NOTEBOOKS=01\ 02 NETWORK=light`.
    typed = re.findall(r"(?<!\\) (\w+)\W?=", " " + environ.get("MAKEFLAGS", "").partition("-- ")[2])
    for name in set(typed) - set(names):
        for meant in difflib.get_close_matches(name.upper(), names, n=1, cutoff=0.75):
            raise NotebookError(
                f"{name} would be ignored",
                cause="this command has no such variable",
                next_step=f"Did you mean {meant}?",
            )


_NOT_WRITABLE = {  # a full disk, a missing permission, something else of that name
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM,
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR,
}  # fmt: skip


@contextmanager
def only_writer(output: Path) -> Iterator[None]:
    """Makes the folder, and keeps every other run out of it for as long as this process lives.

    Raises:
        NotebookError: another run is writing there, or nothing can be written there.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with (output / ".lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                raise NotebookError(
                    f"Another run is writing to {output}",
                    cause=f"it is process {lock.read().strip()}",
                    next_step="Wait for it, or stop it.",
                ) from error
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield
    except OSError as error:
        if error.errno not in _NOT_WRITABLE:
            raise  # of a run inside: it has another cause
        raise NotebookError(
            f"{error.filename or output} can't be written",
            cause=error.strerror or str(error),
            next_step="Free some space, or change its permissions: the pages go there.",
        ) from error


def console() -> Console:
    """Where a command prints; a log has no width of its own."""
    found = Console()
    return found if found.is_terminal else Console(width=120)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
