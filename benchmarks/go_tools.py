"""Tools written in Go that a benchmark is checked with, built once and kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from helpers.errors import SetupError

TOOLS = {
    "ghz": ("github.com/bojand/ghz/cmd/ghz", "v0.120.0"),
    "grpcurl": ("github.com/fullstorydev/grpcurl/cmd/grpcurl", "v1.9.3"),  # of tests/model_server
}


def find(name: str) -> Path | None:
    """Where a tool is, if it was built before."""
    path = _folder(name) / name
    return path if path.is_file() else None


def build(name: str) -> Path:
    """A tool's path. Building it takes some minutes, Go and, once, the network.

    Raises:
        SetupError: there is no Go here, or it couldn't be built.
    """
    if found := find(name):
        return found
    module, version = TOOLS[name]
    if shutil.which("go") is None:
        raise SetupError(
            f"{name} can't be built", cause="there is no Go here", next_step="Install Go."
        )
    folder = _folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"building {name} {version}: some minutes, once", flush=True)
    built = subprocess.run(
        ["go", "install", f"{module}@{version}"],
        env={**os.environ, "GOBIN": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        raise SetupError(
            f"{name} couldn't be built",
            cause=built.stderr.strip().rpartition("\n")[2],
            next_step="Check the network, then run it again.",
        )
    return folder / name


def _folder(name: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "inception-tutorial" / "go-tools" / f"{name}-{TOOLS[name][1]}"
