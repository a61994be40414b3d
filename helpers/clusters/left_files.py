"""Files that the tutorial left on this machine: those of runs that were killed, and old exports.

A folder counts as left when its owner is gone: the process that its name carries, as
`closing.scratch` makes it; or, where it names none, every process that was given its path.
"""

from __future__ import annotations

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
        yield from (p for p in temporary.glob(kind) if _settled(p) and any(p.glob("plan*.json")))
    yield from (p.parents[2] for p in temporary.glob("tmp*/by_hand/1/saved_model.pb"))
    # What notebooks write for the time of a lesson: 01's export by hand, once it is whole or nobody
    # is at it; files for servers, 10's bomb; and certificates, which earlier versions kept.
    by_hand = settings.BY_HAND
    if by_hand.exists() and (any(by_hand.rglob("saved_model.pb")) or _settled(by_hand)):
        yield by_hand
    yield from settings.BUILD.glob("certificates")
    yield from (settings.BUILD / "files").glob("*")
    yield from settings.BUILD.glob("bomb.*")


def _settled(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _SETTLED_S


def _command_lines() -> Iterator[str]:
    for process in psutil.process_iter(["cmdline"]):
        yield " ".join(process.info["cmdline"] or ())
