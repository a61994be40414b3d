"""The notebook's end of the line to the supervisor: commands out, states in."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, TextIO

import psutil

from helpers import settings
from helpers.errors import ClusterError
from helpers.settings import shown

# In the environment of all that a run of `make tutorial` starts: the number of the process that
# runs it, a dash, and what tells its notebooks apart.
RUN = "INCEPTION_TUTORIAL_RUN"
_CLOSE_S = 20.0  # the supervisor gives its replicas 10 s


class SupervisorClient:
    """A supervisor that was started, and the state that it last told.

    Args:
        logs: the directory for logs; when another kernel's replicas write there, one below it.
        listeners: bound sockets for gRPC and REST, which the supervisor takes over.
    """

    def __init__(self, logs: Path, listeners: tuple[socket.socket, socket.socket]) -> None:
        self.state: dict[str, Any] = {"seen": 0, "wanted": 0, "pods": []}
        self.changed = threading.Condition()
        self._owner, self._numbers = os.getpid(), count(1)
        self.logs, lock = _claim(logs)
        self.log = self.logs / "supervisor.log"
        fds = [listener.fileno() for listener in listeners]
        with self.log.open("w") as log, lock:
            program = [sys.executable, "-m", "helpers.clusters.local.supervisor"]
            self._process = subprocess.Popen(
                [*program, str(self.logs), *map(str, fds)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1,
                env=python_environment(), pass_fds=[*fds, lock.fileno()],
                # Ctrl-C in a terminal goes to a whole session: the kernel decides what it ends.
                start_new_session=True,
            )  # fmt: skip
        for listener in listeners:
            listener.close()
        self.alive = True
        self._reader = threading.Thread(target=self._read, name="cluster-state", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The supervisor's process."""
        return self._process.pid

    def send(self, do: str, **details: Any) -> int:
        """Sends a command and returns its number, which a later state tells as `seen`.

        Raises:
            ClusterError: the supervisor is gone.
        """
        with self.changed:
            number = next(self._numbers)
            line = json.dumps({"number": number, "do": do, **details}, default=str)
            try:
                if self._process.stdin is None or not self.alive:
                    raise BrokenPipeError
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
            except (OSError, ValueError) as error:
                raise self.lost() from error
            return number

    def wait(self, number: int, timeout_s: float = 60.0) -> dict[str, Any]:
        """The first state in which a command is carried out.

        Raises:
            ClusterError: the supervisor is gone, or doesn't answer.
        """
        with self.changed:
            if not self.changed.wait_for(
                lambda: self.state["seen"] >= number or not self.alive, timeout_s
            ):
                raise self.lost(f"it did not answer in {timeout_s:g} s")
            if not self.alive:
                raise self.lost()
            return self.state

    def lost(self, cause: str = "it has ended, and the replicas with it") -> ClusterError:
        """The error for a supervisor that can't be reached."""
        return ClusterError(
            f"the local cluster's supervisor (process {self.pid}) can't be reached",
            cause=cause,
            next_step=f"Call connect() and apply() again. If it happens twice, read "
            f"{shown(self.log)}",
        )

    def _read(self) -> None:
        for line in self._process.stdout or ():
            with contextlib.suppress(ValueError), self.changed:  # the last line may be cut off
                self.state = json.loads(line)
                self.changed.notify_all()
        with self.changed:
            self.alive = False
            self.changed.notify_all()
        # Should the supervisor have been killed where the kernel doesn't end its children for us:
        for pod in self.state["pods"]:
            end_process(pod["pid"], pod["made_at"])

    def close(self) -> None:
        """Ends the supervisor and all that it started, and waits until they are gone."""
        if os.getpid() != self._owner:
            return  # a forked copy of the kernel isn't the owner
        with contextlib.suppress(OSError, ValueError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader is not threading.current_thread():
            self._reader.join(_CLOSE_S)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()


def python_environment() -> dict[str, str]:
    """This process's environment, in which `python -m helpers…` works from any directory."""
    paths = [str(settings.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def end_process(pid: int | None, made_at: float) -> None:
    """SIGKILL to a process and those it started, if it is the one that is meant.

    Args:
        pid: the process, or None.
        made_at: seconds since the epoch before which it can't have been started; its number may
            have gone to another process since.
    """
    with contextlib.suppress(psutil.Error):
        if pid is not None and (process := psutil.Process(pid)).create_time() >= made_at - 5:
            for each in [*process.children(recursive=True), process]:
                with contextlib.suppress(psutil.Error):
                    each.kill()


def _claim(logs: Path) -> tuple[Path, TextIO]:
    """The first of LOGS, LOGS/2, LOGS/3, … to which no living supervisor writes, and its lock.

    The supervisor inherits the lock and holds it for as long as it lives.

    Raises:
        ClusterError: nothing can be written there.
    """
    for number in count(1):
        directory = logs if number == 1 else logs / str(number)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock = (directory / ".lock").open("w")
        except OSError as error:
            raise ClusterError(
                f"{shown(directory)} can't be written to",
                cause=error.strerror or str(error),
                next_step="Free some space, or change its permissions: the logs go there.",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        return directory, lock
    raise AssertionError("count() has no end")


def carrying(name: str) -> list[tuple[psutil.Process, Mapping[str, str]]]:
    """This user's processes with a variable in their environment, and that environment."""
    found: list[tuple[psutil.Process, Mapping[str, str]]] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # it ended, or is somebody else's
            environment = process.environ()
            if environment.get(name) and process.status() != psutil.STATUS_ZOMBIE:
                found.append((process, environment))
    return found


def marked(name: str) -> list[tuple[psutil.Process, int]]:
    """This user's processes that carry a mark in their environment, with the mark's number.

    Those of another run that goes on are left out: that run ends what its notebooks leave.
    """
    ours = ((process, found[name]) for process, found in carrying(name) if not _others(found))
    return [(process, int(mark)) for process, mark in ours if mark.isdecimal()]


def _others(environment: Mapping[str, str]) -> bool:
    run = environment.get(RUN)
    if not run or run == os.environ.get(RUN):
        return False
    return psutil.pid_exists(int(run.partition("-")[0]))
