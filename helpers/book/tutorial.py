"""`make tutorial`: runs the notebooks in order and makes one readable page of them.

    NOTEBOOKS="01 02"   runs some of them
    TARGET=kubernetes   sets the parameter `target` of each notebook that has it, and so on

Everything goes to `build/tutorial/`: index.html, one page per notebook, the executed notebooks and
results.json. The exit status is 1 when a notebook failed, 2 for a wrong call, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from helpers import clusters, machine, settings
from helpers.book import command, lessons, runner, site
from helpers.book.lessons import Lesson
from helpers.book.runner import Outcome
from helpers.errors import NotebookError
from helpers.export.catalog import NETWORKS
from helpers.lab.publishing import Published

SCHEMA = "inception-tutorial-results/1"
OUTPUT = settings.BUILD / "tutorial"
_STYLES = {"ok": "green", "failed": "bold red", "skipped": "yellow", "interrupted": "yellow"}


def highlights(published: Mapping[str, Published], *, most: int = 2) -> list[str]:
    """The most telling values in words: those with a label, otherwise the first numbers."""
    labelled = [f"{item.text} {item.label}" for item in published.values() if item.label]
    numbers = [
        f"{item.name} {item.text}"
        for item in published.values()
        if isinstance(item.value, (int, float)) and not isinstance(item.value, bool)
    ]
    return (labelled or numbers)[:most]


def as_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome as an entry of results.json."""
    lesson, values = outcome.lesson, outcome.published.values()
    return {
        "number": lesson.number,
        "file": lesson.path.name,
        "title": lesson.title,
        "status": outcome.status,
        "seconds": outcome.seconds,
        "finished": outcome.finished,
        "parameters": dict(outcome.parameters),
        "published": {item.name: item.value for item in values},
        "labels": {item.name: item.label for item in values if item.label},
        "claims": [vars(claim) for claim in outcome.claims],
        "error": outcome.error,
        "leftovers": list(outcome.leftovers),
    }


def run_all(
    chosen: Sequence[Lesson],
    *,
    output: Path,
    overrides: Mapping[str, Mapping[str, Any]],
    console: Console,
) -> list[Outcome]:
    """Runs the notebooks in order, with a line for each one that is done.

    One that needs a notebook which failed in this run is skipped. After Ctrl-C the list ends
    with the notebook that was interrupted.
    """
    outcomes: list[Outcome] = []
    width = max(len(lesson.title) for lesson in chosen)
    for lesson in chosen:
        failed = [o.lesson.number for o in outcomes if o.status != "ok"]
        missing = [number for number in lesson.needs if number in failed]
        if missing:
            why = {"kind": "", "message": f"needs notebook {', '.join(missing)}, which failed"}
            outcome = Outcome(lesson, "skipped", error=why)
        else:
            outcome = _run(lesson, output=output, parameters=overrides[lesson.number], on=console)
        outcomes.append(outcome)
        _print_outcome(outcome, width=width, console=console)
        if outcome.status == "interrupted":
            break
    return outcomes


def _run(lesson: Lesson, *, output: Path, parameters: Mapping[str, Any], on: Console) -> Outcome:
    """Runs a notebook; on a terminal, a line says meanwhile how far it is."""
    start = time.monotonic()
    name = f"{lesson.number}  {escape(lesson.title)}"
    status = on.status(f"{name} …") if on.is_terminal else nullcontext()
    try:
        with status as line:

            def on_cell(done: int, of: int) -> None:
                if line is not None:
                    line.update(f"{name} … {done / of:.0%}, {time.monotonic() - start:.0f} s")

            return runner.run(
                lesson,
                output=output / "notebooks" / lesson.path.name,
                parameters=parameters,
                on_cell=on_cell,
            )
    except KeyboardInterrupt:
        seconds = round(time.monotonic() - start, 2)
        return Outcome(lesson, "interrupted", seconds=seconds)


def _print_outcome(outcome: Outcome, *, width: int, console: Console) -> None:
    lesson, style = outcome.lesson, _STYLES[outcome.status]
    told = outcome.error["message"] if outcome.status == "skipped" and outcome.error else ""
    told = told or " · ".join(highlights(outcome.published))
    console.print(
        f"{lesson.number}  {escape(f'{lesson.title:{width}}')}  {outcome.seconds:6.1f} s  "
        f"[{style}]{outcome.status:6}[/]  {escape(told)}".rstrip(),
        soft_wrap=True,
        highlight=False,
    )
    if outcome.status == "failed" and outcome.error:
        _print_error(outcome, console=console)
    for claim in (one for one in outcome.claims if one.contradicted):
        line = f"    it contradicts its text: {claim.sentence}"
        console.print(escape(line), style="yellow", soft_wrap=True, highlight=False)
    for process in outcome.leftovers:
        console.print(
            f"    it left a process running, now ended: {escape(process)}", soft_wrap=True
        )


def _print_error(outcome: Outcome, *, console: Console) -> None:
    error = outcome.error or {}
    where = f"code cell {error['cell']}" if error["cell"] else "before its first cell"
    step = f" under “{error['step']}”" if error["step"] else ""
    source = error["source"].rstrip().splitlines()
    shown = source[:12] + (["…"] if len(source) > 12 else [])
    lines = [f"{outcome.lesson.path.name}, {where}{step}:", *(f"  {line}" for line in shown)]
    lines += [f"{error['kind']}: {error['message']}"]
    for line in "\n".join(lines).splitlines():
        console.print(f"    {escape(line)}", style="red", soft_wrap=True, highlight=False)


def _print_table(outcomes: Sequence[Outcome], *, console: Console) -> None:
    table = Table(box=None, pad_edge=False, show_footer=True)
    table.add_column("", footer="")
    table.add_column("notebook", footer="in all")
    table.add_column("time", justify="right", footer=_time(sum(o.seconds for o in outcomes)))
    table.add_column("")
    table.add_column("of this run")
    for outcome in outcomes:
        status = f"[{_STYLES[outcome.status]}]{outcome.status}[/]"
        told = "\n".join(escape(text) for text in highlights(outcome.published, most=4))
        title = escape(outcome.lesson.title)
        table.add_row(outcome.lesson.number, title, _time(outcome.seconds), status, told)
    console.print(table, highlight=False)


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _earlier(output: Path, found: Sequence[Lesson], ran: set[str]) -> list[dict[str, Any]]:
    """What an earlier run left of the notebooks that this one did not come to."""
    try:
        entries = json.loads((output / "results.json").read_text())["notebooks"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    files = {lesson.number: lesson.path.name for lesson in found}
    return [
        entry | {"earlier": True}
        for entry in entries
        if entry["number"] not in ran and files.get(entry["number"]) == entry["file"]
    ]


def run(environ: Mapping[str, str], *, folder: Path, output: Path, console: Console) -> int:
    """Runs what the environment asks for and writes the site; returns the exit status.

    Raises:
        TutorialError: the environment names a notebook or a value that there is not; another run is
            writing to the same folder; or the folder can't be written to.
    """
    found = lessons.find(folder)
    command.check_typed(environ, {"NOTEBOOKS", *lessons.variables(found)})
    chosen = lessons.choose(found, environ.get("NOTEBOOKS", ""))
    overrides = {lesson.number: lessons.from_environment(lesson, environ) for lesson in chosen}
    _check(overrides.values())
    with command.only_writer(output):
        return _run_chosen(found, chosen, output=output, overrides=overrides, console=console)


def _run_chosen(
    found: Sequence[Lesson],
    chosen: Sequence[Lesson],
    *,
    output: Path,
    overrides: Mapping[str, Mapping[str, Any]],
    console: Console,
) -> int:
    said = {f"{k}={v}" for values in overrides.values() for k, v in values.items()}
    console.print(
        f"Running {len(chosen)} of {len(found)} notebooks"
        + (f" with {', '.join(sorted(said))}" if said else ""),
        highlight=False,
    )
    outcomes = run_all(chosen, output=output, overrides=overrides, console=console)
    console.print("Making the pages …", highlight=False)
    earlier = _earlier(output, found, {outcome.lesson.number for outcome in outcomes})
    entries = sorted([*map(as_json, outcomes), *earlier], key=lambda entry: entry["number"])
    ok = len(outcomes) == len(chosen) and all(outcome.status == "ok" for outcome in outcomes)
    results = {
        "schema": SCHEMA,
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "ok": ok,
        "seconds": round(sum(outcome.seconds for outcome in outcomes), 2),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "notebooks": entries,
    }
    (output / "results.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    site.build(output, results=results, lessons=found)
    console.print()
    _print_table(outcomes, console=console)
    console.print(f"\nThe page: {output / 'index.html'}", soft_wrap=True, highlight=False)
    console.print(f"The numbers: {output / 'results.json'}", soft_wrap=True, highlight=False)
    if outcomes[-1].status == "interrupted":
        return 130
    return 0 if ok else 1


def _check(overrides: Iterable[Mapping[str, Any]]) -> None:
    """Whether the targets and networks exist: a run of minutes shouldn't find that out later."""
    known = {"TARGET": (*clusters.TARGETS, "gke"), "NETWORK": tuple(NETWORKS)}
    for name, value in {item for values in overrides for item in values.items()}:
        if value not in known.get(name, (value,)):
            raise NotebookError(
                f"{name}={value} isn't known",
                cause=f"there are {', '.join(known[name])}",
                next_step=f"Correct {name}, or leave it out.",
            )


def strip(paths: Sequence[Path], *, console: Console) -> int:
    """Strips the notebooks in place and says which were changed."""
    for path in paths:
        if lessons.strip(path):
            console.print(f"stripped {path.name}", highlight=False)
    return 0


def main(arguments: Sequence[str] | None = None, *, environ: Mapping[str, str] = os.environ) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m helpers.book.tutorial", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--strip", action="store_true", help="only remove outputs, in place")
    parser.add_argument("--notebooks", type=Path, default=settings.NOTEBOOKS, metavar="FOLDER")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FOLDER")
    options = parser.parse_args(arguments)
    folder, output = options.notebooks.resolve(), options.output.resolve()
    console = command.console()
    return command.call(
        lambda: (
            strip([lesson.path for lesson in lessons.find(folder)], console=console)
            if options.strip
            else run(environ, folder=folder, output=output, console=console)
        )
    )


if __name__ == "__main__":
    sys.exit(main())
