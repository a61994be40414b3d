"""`make claims`: how often each notebook's claims hold, on a quiet machine and on a busy one.

    NOTEBOOKS="05 06"   asks some of them
    RUNS=3              times quiet, and as many beside one busy loop per core

Notebooks are run as `make tutorial` runs them, with the environment's parameters. The table goes to
`build/claims.json`, too. The exit status is 1 when a run contradicted its text or failed, 2 for a
wrong call, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from helpers import machine, settings
from helpers.book import command, lessons, runner
from helpers.book.runner import Outcome
from helpers.errors import NotebookError

SCHEMA = "inception-tutorial-claims/1"
QUIET, BUSY = "quiet", "busy"
# Ends by itself when whoever started it is gone, however that came.
_LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"


@dataclass
class Tally:
    """How often a claim was made, and what became of it.

    Args:
        held: by condition (`quiet`, `busy`), for each run whether it held.
        contradicted: in how many runs nothing was true instead.
        otherwise: what was said when it didn't hold, last.
    """

    held: dict[str, list[bool]] = field(default_factory=lambda: {QUIET: [], BUSY: []})
    contradicted: int = 0
    otherwise: str = ""


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keeps cores busy meanwhile, each with a loop that does nothing: a browser beside the run.

    Args:
        loops: how many; one per core takes half of each from the notebook.
    """
    started = [subprocess.Popen([sys.executable, "-c", _LOOP]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def tally(outcomes: Sequence[tuple[str, Outcome]]) -> dict[tuple[str, str], Tally]:
    """By notebook and claim, how often it held in runs under each condition."""
    found: dict[tuple[str, str], Tally] = {}
    for condition, outcome in outcomes:
        for claim in outcome.claims:
            one = found.setdefault((outcome.lesson.number, claim.name), Tally())
            one.held[condition].append(claim.held)
            one.contradicted += claim.contradicted
            if not claim.held:
                one.otherwise = claim.sentence
    return found


def as_json(tallies: Mapping[tuple[str, str], Tally]) -> list[dict[str, Any]]:
    """What `build/claims.json` holds of each claim."""
    return [
        {"notebook": number, "claim": name, **vars(one)} for (number, name), one in tallies.items()
    ]


def _print_table(tallies: Mapping[tuple[str, str], Tally], *, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("", "claim", QUIET, BUSY, "when it didn't hold"):
        table.add_column(column)
    for (number, name), one in tallies.items():
        counts = [f"{sum(held)} of {len(held)}" for held in one.held.values()]
        style = "bold red" if one.contradicted else None
        text = ("contradicted: " if one.contradicted else "") + one.otherwise
        table.add_row(number, name, *counts, escape(text), style=style)
    console.print(table, highlight=False)


def run(environ: Mapping[str, str], *, folder: Path, output: Path, console: Console) -> int:
    """Runs the notebooks of a folder and lists their claims; returns the exit status.

    Raises:
        TutorialError: the environment names a notebook or a value that there is not.
    """
    found = lessons.find(folder)
    command.check_typed(environ, {"NOTEBOOKS", "RUNS", *lessons.variables(found)})
    chosen = lessons.choose(found, environ.get("NOTEBOOKS", ""))
    parameters = {lesson.number: lessons.from_environment(lesson, environ) for lesson in chosen}
    loops, runs = machine.usable_cores(), _runs(environ)
    outcomes: list[tuple[str, Outcome]] = []
    for condition in (QUIET, BUSY) * runs:  # in turn: whatever else the machine does hits both
        for lesson in chosen:
            with busy(loops) if condition == BUSY else nullcontext():
                executed = output / "claims" / lesson.path.name
                outcome = runner.run(lesson, output=executed, parameters=parameters[lesson.number])
            outcomes.append((condition, outcome))
            told = outcome.error["message"] if outcome.error else f"{len(outcome.claims)} claims"
            line = (
                f"{lesson.number}  {condition}  {outcome.seconds:6.1f} s  {outcome.status}  {told}"
            )
            console.print(escape(line), soft_wrap=True, highlight=False)
    tallies = tally(outcomes)
    record = {"schema": SCHEMA, "machine": machine.describe(), "runs": runs, "loops": loops}
    path = output / "claims.json"
    path.write_text(json.dumps(record | {"claims": as_json(tallies)}, indent=2) + "\n")
    console.print()
    _print_table(tallies, console=console)
    contradicted = sum(one.contradicted > 0 for one in tallies.values())
    console.print(f"\n{len(tallies)} claims, {contradicted} contradicted: {path}", soft_wrap=True)
    failed = any(outcome.status != "ok" for _, outcome in outcomes)
    return int(failed or contradicted > 0)


def _runs(environ: Mapping[str, str]) -> int:
    text = environ.get("RUNS", "3")
    if not text.isdecimal() or int(text) < 1:
        raise NotebookError(
            f"RUNS={text} can't be used",
            cause="it is how often each notebook is run under each condition",
            next_step="Set it to a number from 1, or unset it.",
        )
    return int(text)


def main(arguments: Sequence[str] | None = None, *, environ: Mapping[str, str] = os.environ) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m helpers.book.claims", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.parse_args(arguments)
    options = {"folder": settings.NOTEBOOKS, "output": settings.BUILD}
    return command.call(lambda: run(environ, console=command.console(), **options))


if __name__ == "__main__":
    sys.exit(main())
