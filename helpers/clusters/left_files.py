"""Files that the tutorial left on this machine: those of runs that were killed, and old exports.

A folder counts as left when its owner is gone: the process that its name carries, as
`closing.scratch` makes it; or, where it names none, every process that was given its path.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from helpers import settings
from helpers.closing import SCRATCH
from helpers.errors import SetupError

_OWNER = re.compile(rf"{SCRATCH}(?P<pid>\d+)-")
_SETTLED_S = 60.0  # untouched for so long: no run is between making a folder and using it


def paths() -> list[Path]:
    """All of them, those of earlier versions of this collection included."""
    used = "\n".join(_command_lines())
    return sorted(path for path in {*_candidates()} if str(path) not in used)


def remove(found: list[Path]) -> None:
    """Removes folders and files.

    Raises:
        SetupError: one can't be removed.
    """
    for path in found:
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise SetupError(
                f"{path} can't be removed",
                cause=error.strerror or str(error),
                next_step="Correct its permissions, or remove it yourself.",
            ) from error


def line(path: Path) -> str:
    """A path and how much is in it; from the repository's root where it is inside."""
    size = sum(f.stat().st_size for f in (path, *path.rglob("*")) if f.is_file())
    amount = f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
    return f"{settings.shown(path)}, {amount}"


def _candidates() -> Iterator[Path]:
    temporary = Path(tempfile.gettempdir())
    for path in temporary.glob(f"{SCRATCH}*"):
        owner = _OWNER.match(path.name)
        if owner and not psutil.pid_exists(int(owner["pid"])):
            yield path
    # What earlier versions left, which named no owner: told by what is in it.
    for kind in ("load-*", "traffic-*"):
        yield from (path for path in temporary.glob(kind) if _is_a_generators(path))
    for export in temporary.glob("tmp*/by_hand/1/saved_model.pb"):
        if export.stat().st_uid == os.getuid():
            yield export.parents[2]
    # Also theirs: an export by hand, files for servers, certificates. And 10's bomb, if it was
    # interrupted.
    for kind in ("by_hand", "certificates", "files", "bomb.*"):
        yield from settings.BUILD.glob(kind)


def _is_a_generators(path: Path) -> bool:
    """Whether it is a folder of ours whose plan says that its records go into this same folder."""
    about = path.stat()
    if about.st_uid != os.getuid() or time.time() - about.st_mtime < _SETTLED_S:
        return False
    plans = (plan.read_bytes() for plan in path.glob("plan*.json") if plan.is_file())
    return any(f'"records": "{path}/'.encode() in plan for plan in plans)


def _command_lines() -> Iterator[str]:
    for process in psutil.process_iter(["cmdline"]):
        yield " ".join(process.info["cmdline"] or ())
