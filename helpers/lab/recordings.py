"""Cells that need a cluster or a container engine: run where there is one, shown from a recording.

A cell whose first line is `%%cluster` (or `%%engine`) is ordinary Python below that line. Where the
notebook's target is a cluster (or a container engine runs), it is run as any other cell. Elsewhere
the reader sees what the same cell showed on a real one, in a box that says so. A word behind
`%%cluster` names a feature that not every cluster has: `%%cluster gpu`.

Recordings are data, one file per notebook in `recordings/`, written by `make record`. They are kept
by the cell's source, so that a changed cell has none, and a test fails until it is recorded anew.
No two such cells have the same source: a comment tells one `!kubectl get pods` from the next.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from helpers import settings
from helpers.errors import NotebookError

RECORDED = "application/vnd.inception-tutorial.recorded+json"
SCHEMA = "inception-tutorial-recording/1"
_FIRST_LINE = re.compile(r"%%(?P<need>cluster|engine)\b[ \t]*(?P<feature>\w*)[ \t]*")
_MARK = "_helpers_lab_recordings"  # in a kernel that knows the two words already
_NAMES = {"cluster": "a Kubernetes cluster", "engine": "a container engine"}
_HOW = {
    "cluster": '`make cluster-up` and `make cluster-images`, then `TARGET = "kubernetes"`',
    "engine": "start Docker",
}


def need(source: str) -> tuple[str, str] | None:
    """What a cell needs by its first line: `cluster` or `engine`, and a feature; else None."""
    found = _FIRST_LINE.fullmatch(source.partition("\n")[0].rstrip())
    return (found["need"], found["feature"]) if found else None


def body(source: str) -> str:
    """A cell's source below the line that says what it needs."""
    return source.partition("\n")[2].strip("\n")


def register() -> None:
    """Makes `%%cluster` and `%%engine` known to this kernel; elsewhere does nothing."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or _MARK in shell.user_ns_hidden:
        return
    shell.user_ns_hidden[_MARK] = True

    def _transformed(lines: list[str]) -> list[str]:
        source = "".join(lines)
        wanted = need(source)
        if wanted is None or _is_here(*wanted, shell.user_ns):
            return lines if wanted is None else body(source).splitlines(keepends=True)
        return [f"__import__('helpers.lab.recordings').lab.recordings.show({source!r})\n"]

    # Before IPython's own, which would take the first line for a magic.
    shell.input_transformers_cleanup.insert(0, _transformed)


def _is_here(wanted: str, feature: str, names: Mapping[str, Any]) -> bool:
    if wanted == "engine":
        from helpers import container  # only now: it takes a tenth of a second

        return not container.why_no_engine()
    limitations = getattr(names.get("cluster"), "limitations", {})
    return names.get("TARGET", "local") != "local" and feature not in limitations


def show(source: str) -> None:
    """Shows what a cell showed when it was recorded, with where and when that was."""
    from IPython.display import display

    wanted = need(source) or ("cluster", "")
    where, outputs = find(source) or (None, None)
    if outputs == []:
        return  # it showed nothing there, either
    said = f"Recorded on {where}" if where else f"Not run: this cell needs {_NAMES[wanted[0]]}"
    text = f"{said}. To run it yourself: {_HOW[wanted[0]]}."
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    box = (
        '<div class="recorded" style="border-left: 4px solid #0072b2; padding: .3em .8em; '
        f'font-size: .9em">{html}</div>'
    )
    display({RECORDED: {"where": where}, "text/plain": text, "text/html": box}, raw=True)
    for output in outputs or ():
        display(output["data"], metadata=output["metadata"], raw=True)


def find(source: str) -> tuple[str, list[dict[str, Any]]] | None:
    """Where a cell was recorded, in words, and its outputs; None when it wasn't."""
    for recording in _all():
        for cell in recording["cells"]:
            if cell["source"] == body(source):
                return cell.get("where", recording["where"]), cell["outputs"]
    return None


@cache
def _all() -> list[dict[str, Any]]:
    return [read(path) for path in sorted(settings.RECORDINGS.glob("*.json"))]


def read(path: Path) -> dict[str, Any]:
    """A notebook's recording.

    Raises:
        NotebookError: the file isn't one.
    """
    try:
        recording: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if recording["schema"] != SCHEMA:
            raise ValueError(f"its schema is {recording['schema']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotebookError(
            f"{path} can't be read as a recording",
            cause=str(error),
            next_step=f"Restore it: git checkout -- {settings.shown(path)}",
        ) from error
    return recording
