"""The machine and the versions that a figure was measured with: part of every recorded result."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from helpers.machine.processor import processor_class

GIB = 2**30
_TOLD = ("tensorflow", "keras", "grpcio", "numpy", "papermill", "tensorflow-serving-api")


def usable_cores() -> int:
    """The cores that this process may use: fewer than the machine's in some containers."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def version(package: str) -> str | None:
    """An installed package's version; None when it is not installed. Nothing is imported."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git(*words: str) -> str | None:
    """What git says of this tree; None where there is no git, or no repository: an archive."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def describe() -> dict[str, Any]:
    """The machine, as results name it."""
    import psutil  # only here: the load generator's image hasn't got it

    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor_class": processor_class(),
        "cores": usable_cores(),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
    }


def versions() -> dict[str, str]:
    """The versions that decide about figures."""
    found = {name: version(name) for name in _TOLD}
    return {"python": platform.python_version()} | {k: v for k, v in found.items() if v}
