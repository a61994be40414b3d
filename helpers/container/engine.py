"""The Docker engine of this machine: found, or the reason why there is none."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable

from python_on_whales import DockerClient, DockerException

from helpers.errors import SetupError

# What the older builder writes between its steps: identifiers, and advice to get the newer one.
_ANSWERS_WITHIN_S = 60.0
_NOISE = re.compile(
    r" ---> |Removing intermediate|DEPRECATED: The legacy|\s+Install the buildx|\s+https://docs\."
)


def why_no_engine() -> str:
    """Why no image can be built on this machine, as a sentence; empty when one can."""
    try:
        version()
    except SetupError as error:
        return str(error)
    return ""


def client() -> DockerClient:
    """The Docker client of this machine.

    Raises:
        SetupError: see `version`.
    """
    version()
    return DockerClient(client_call=[str(shutil.which("docker"))])


def version() -> str:
    """The version of the engine that answers the command `docker`.

    Raises:
        SetupError: there is no CLI, no engine answers, or it may not be used.
    """
    program = shutil.which("docker")
    if program is None:
        raise SetupError(
            "there is no `docker` on PATH",
            next_step="Install Docker (Docker Desktop on macOS), or go on without: the next "
            "notebooks run on the local target, which needs no container.",
        )
    try:
        probe = subprocess.run(
            [program, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=_ANSWERS_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(
            "the Docker engine doesn't answer",
            cause=f"`docker version` waited {_ANSWERS_WITHIN_S:g} s for it",
            next_step="Restart Docker Desktop or the Docker service; DOCKER_HOST may name an "
            "engine on a machine that is away.",
        ) from error
    except OSError as error:
        raise SetupError(
            f"{program} can't be run",
            cause=error.strerror or str(error),
            next_step="Install Docker anew: that file is none of this machine's programs.",
        ) from error
    if probe.returncode:
        words = probe.stderr.strip().splitlines() or ["it said nothing"]
        denied = "permission denied" in probe.stderr
        raise SetupError(
            "no Docker engine answers",
            cause=words[-1].partition(". Is the docker daemon")[0],
            next_step="Add yourself to the group `docker` and log in again."
            if denied
            else "Start Docker Desktop or the Docker service, or go on without: the next "
            "notebooks run on the local target, which needs no container.",
        )
    return probe.stdout.strip()


def has_buildx(docker: DockerClient) -> bool:
    """Whether the CLI has BuildKit's plugin; Debian's hasn't."""
    return bool(docker.buildx.is_installed())


class BuilderOutput(io.TextIOBase):
    """A file that hands each line on as it comes, and remembers the last few."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress, self._rest = progress, ""
        self._stdout = sys.stdout  # where `progress` may print: we stand in for it meanwhile
        self.last: deque[str] = deque(maxlen=3)

    def write(self, text: str) -> int:
        """Takes any piece of text."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(str.strip, lines):
            if _NOISE.match(line):
                continue
            self.last.append(line.rstrip())
            with contextlib.redirect_stdout(self._stdout):
                self._progress(line.rstrip())
        return len(text)


def words(error: DockerException) -> str:
    """The engine's own words: the last line of what it wrote."""
    lines = (error.stderr or error.stdout or str(error)).strip().splitlines()
    return lines[-1].removeprefix("docker: ").removeprefix("Error response from daemon: ")
