"""What the `local` target needs of this machine: a server program, ports, memory."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import sys
from pathlib import Path

import psutil

from helpers.errors import ClusterError, SetupError

_FREE = "leave `port` and `rest_port` out for free ones"
BINARY = "TENSORFLOW_MODEL_SERVER"  # the environment variable that names the real server


def program() -> tuple[str, ...]:
    """The command that runs the model server, without its flags."""
    named = os.environ.get(BINARY)
    if not named:
        return (sys.executable, "-m", "helpers.model_server")
    found = shutil.which(named)
    if found is None:
        exists = Path(named).exists()
        raise SetupError(
            f"${BINARY} is {named!r}",
            cause="that file can't be executed" if exists else "there is no such program",
            next_step=f"Name the real server's binary, or `unset {BINARY}` for the embedded one.",
        )
    return (str(Path(found).resolve()),)


def listener(port: int, what: str) -> socket.socket:
    """A socket bound on this machine's own address for the load balancer."""
    try:
        return socket.create_server(("127.0.0.1", port), backlog=1024)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        cause = os.strerror(number) if number else str(error)
        if number == errno.EADDRINUSE:
            cause, next_step = f"{cause}{_who_has(port)}", f"End that program, or {_FREE}."
        elif number == errno.EACCES:
            next_step = f"Ports below 1024 are root's. Take a higher one, or {_FREE}."
        else:
            next_step = f"A port is a number from 0 to 65535. Correct it, or {_FREE}."
        raise ClusterError(
            f"the load balancer can't listen on 127.0.0.1:{port} for {what}",
            cause=cause,
            next_step=next_step,
        ) from error


def _who_has(port: int) -> str:
    """The program that listens on a port, as far as this user may know."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,):
                process = psutil.Process(connection.pid)
                return f" by {process.name()} (process {process.pid})"
    return ""


def check_replicas(replicas: int, memory_bytes: int) -> None:
    """As the API server and the scheduler would.

    Raises:
        ClusterError: it is no number of replicas, or they ask for more memory than there is.
    """
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise ClusterError(
            f"there can't be {replicas!r} replicas",
            next_step="Ask for a whole number, 0 or more.",
        )
    total = psutil.virtual_memory().total
    if replicas * memory_bytes > total:
        raise ClusterError(
            f"there can't be {replicas} replicas on this machine",
            cause=f"insufficient memory: each requests {memory_bytes / 2**30:.1f} GiB, "
            f"and there are {total / 2**30:.1f}",
            next_step=f"Ask for {total // memory_bytes} at most, or for less memory a replica "
            "(resources.requests.memory in deployment.yaml).",
        )
