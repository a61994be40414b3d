"""`make claims` counts how often each claim holds, and fails where a run contradicts its text."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from rich.console import Console

from helpers.book import claims
from helpers.errors import NotebookError

pytestmark = pytest.mark.slow  # runs notebooks

# How busy the machine is, as a notebook sees it: loops are children of who runs the notebooks.
BUSY = (
    "import os, psutil\n"
    "from helpers import machine\nfrom helpers.lab import claim\n"
    "loops = [p for p in psutil.Process(os.getppid()).children() if 'getppid' in str(p.cmdline())]"
)


def run(folder: Path, *sources: str, **environ: str) -> tuple[int, dict[str, Any]]:
    cells = [new_code_cell(source) for source in (BUSY, *sources)]
    nbformat.write(new_notebook(cells=cells), folder / "00_first.ipynb")
    console = Console(file=io.StringIO(), width=120)
    status = claims.run(environ, folder=folder, output=folder, console=console)
    return status, json.loads((folder / "claims.json").read_text())


def test_each_claim_is_listed_with_how_often_it_held_quiet_and_busy(tmp_path: Path) -> None:
    sources = (
        "claim('calm', not loops, 'The machine is calm.', otherwise='It is busy.')",
        "claim('as_many_loops', len(loops) in (0, machine.usable_cores()), 'One per core.')",
    )
    status, record = run(tmp_path, *sources, RUNS="2")
    calm, loops = record["claims"]
    assert calm["held"] == {"quiet": [True, True], "busy": [False, False]}
    assert (calm["otherwise"], calm["contradicted"]) == ("It is busy.", 0)
    assert loops["held"] == {"quiet": [True, True], "busy": [True, True]}
    assert status == 0


def test_a_contradiction_fails_the_command_and_no_loop_stays(tmp_path: Path) -> None:
    status, record = run(tmp_path, "claim('calm', not loops, 'The machine is calm.')", RUNS="1")
    assert (status, record["claims"][0]["contradicted"]) == (1, 1)
    assert [p for p in psutil.Process().children() if "getppid" in " ".join(p.cmdline())] == []


def test_a_number_of_runs_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match="RUNS=often can't be used"):
        run(tmp_path, RUNS="often")
