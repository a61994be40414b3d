"""The Docker engine of this machine: found, or the reason why there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

from python_on_whales import DockerClient, DockerException

from helpers.errors import SetupError


def why_no_engine() -> str:
    """Why no image can be built on this machine, as a sentence; empty when one can."""
    try:
        client()
    except SetupError as error:
        return str(error)
    return ""


def client() -> DockerClient:
    """The Docker client of this machine.

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
    probe = subprocess.run(
        [program, "version", "--format", "{{.Server.Version}}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if probe.returncode:
        words = probe.stderr.strip().splitlines() or ["it said nothing"]
        denied = "permission denied" in probe.stderr
        raise SetupError(
            "no Docker engine answers",
            cause=words[-1],
            next_step="Add yourself to the group `docker` and log in again."
            if denied
            else "Start Docker Desktop or the Docker service, or go on without: the next "
            "notebooks run on the local target, which needs no container.",
        )
    return DockerClient(client_call=[program])


def has_buildx(docker: DockerClient) -> bool:
    """Whether the CLI has BuildKit's plugin; Debian's hasn't."""
    command = [*docker.client_config.docker_cmd, "buildx", "version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def run_shown(command: list[str], progress: Callable[[str], None]) -> str | None:
    """Runs a command, hands its lines on; None if it succeeded, else its last lines."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"BUILDKIT_PROGRESS": "plain"},
    ) as process:
        assert process.stdout is not None  # asked for above
        lines = []
        for line in process.stdout:
            if line.strip():
                lines.append(line.rstrip())
                progress(lines[-1])
    return " / ".join(lines[-3:]) if process.returncode else None


def words(error: DockerException) -> str:
    """The engine's own words: the last line of what it wrote."""
    lines = (error.stderr or error.stdout or str(error)).strip().splitlines()
    return lines[-1].removeprefix("docker: ").removeprefix("Error response from daemon: ")
