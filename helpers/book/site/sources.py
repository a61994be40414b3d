"""Where what a page names can be read: in the repository on the web, or in this clone."""

from __future__ import annotations

import ast
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from helpers import machine, settings

# `https://host/owner/name`, `git@host:owner/name.git`, `ssh://git@host/owner/name`. What stands
# before an @ may be a password, and stays here.
_REMOTE = re.compile(
    r"(?:https?://|ssh://)(?:[^@/]*@)?(?P<host>[\w.-]+\.\w+)(?::\d+)?/(?P<path>[\w./-]+?)(?:\.git)?/?"
    r"|[\w.-]+@(?P<host2>[\w.-]+\.\w+):(?P<path2>[\w./-]+?)(?:\.git)?/?"
)


def web_address(remote: str) -> str:
    """The address at which a git remote can be read; empty when it names no host."""
    found = _REMOTE.fullmatch(remote.strip())
    if found is None:
        return ""
    return f"https://{found['host'] or found['host2']}/{found['path'] or found['path2']}"


@functools.cache
def repository() -> str:
    """The repository's address by this clone's remote `origin`; empty when it has none."""
    return web_address(machine.git("config", "--get", "remote.origin.url") or "")


def link(path: Path, *, folder: Path) -> str:
    """Leads to a file: at this revision on the web, otherwise in this clone.

    Args:
        path: the file or folder.
        folder: where the page is, from where a link into the clone leads.
    """
    if repository() and path.is_relative_to(settings.ROOT) and _revision():
        kind = "tree" if path.is_dir() else "blob"
        return f"{repository()}/{kind}/{_revision()}/{path.relative_to(settings.ROOT).as_posix()}"
    return Path(os.path.relpath(path, folder)).as_posix()


@functools.cache
def _revision() -> str:
    return machine.git("rev-parse", "HEAD") or ""


def imported(source: str) -> list[Path]:
    """The files in `helpers/` that a cell imports from, in order; a name of a package, its file."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return []  # it has a line of IPython's own
    found: dict[Path, None] = {}
    for statement in body:
        if isinstance(statement, ast.ImportFrom) and statement.level == 0:
            for alias in statement.names:
                found |= dict.fromkeys(_files(statement.module or "", alias.name))
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                found |= dict.fromkeys(_files(alias.name, ""))
    return list(found)


def _files(module: str, name: str) -> Iterator[Path]:
    if module.split(".")[0] != "helpers":
        return
    place = settings.ROOT.joinpath(*module.split("."))
    for path in (place / f"{name}.py", place / name) if name else ():
        if path.exists():
            yield path
            return
    if place.is_dir():
        yield _defined_in(place, name) or place
    elif (file := place.with_suffix(".py")).exists():
        yield file


@functools.cache
def _defined_in(package: Path, name: str) -> Path | None:
    """The file from which a package's `__init__` has a name."""
    for statement in ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            if any((alias.asname or alias.name) == name for alias in statement.names):
                place = settings.ROOT.joinpath(*statement.module.split("."))
                return next((p for p in (place.with_suffix(".py"), place) if p.exists()), None)
        elif getattr(statement, "name", None) == name:
            return package / "__init__.py"
    return None
