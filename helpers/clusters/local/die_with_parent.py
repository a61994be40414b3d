"""Runs a program that ends when the process that started it ends, however that comes about.

    python die_with_parent.py kernel|watcher PARENT_PID PIPE_FD PROGRAM ARGUMENTS…

`kernel`: Linux sends SIGKILL at the parent's death (PR_SET_PDEATHSIG, which survives exec).
`watcher`: elsewhere a forked process reads a pipe of which only the parent has the other end; its
end of file is the parent's death. Standard library alone, since it starts before each replica.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOOK_AGAIN_S = 1.0


def main(way: str, parent: int, pipe: int, command: list[str]) -> None:
    """Arranges for the end, then becomes the program.

    Args:
        way: `kernel` or `watcher`.
        parent: the process whose end is to be this one's.
        pipe: the end for reading of a pipe that only the parent writes to.
        command: the program and its arguments.
    """
    if way == "kernel":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        server = os.getpid()
        if os.fork() == 0:
            _watch(pipe, server)
    os.close(pipe)
    if os.getppid() != parent:  # it died before the arrangement was made
        sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        print(f"{command[0]} can't be run: {error.strerror}", file=sys.stderr)
        sys.exit(127)


def _watch(pipe: int, server: int) -> None:
    """Waits for the end of file, or for the server to end by itself."""
    # Let go of the log and the rest: only the pipe matters to this process.
    os.closerange(0, pipe)
    os.closerange(pipe + 1, 256)
    while os.getppid() == server:
        readable, _, _ = select.select([pipe], [], [], _LOOK_AGAIN_S)
        if readable and not os.read(pipe, 1):
            os.kill(server, signal.SIGKILL)
            break
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
