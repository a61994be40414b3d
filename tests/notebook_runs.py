"""Runs a notebook as `make tutorial` does, for tests of what it publishes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest

from helpers import settings
from helpers.book import lessons, runner
from helpers.lab import recordings
from helpers.lab.claims import claims

# What a notebook may write to stderr, by a line of it: red boxes in JupyterLab, so each is one that
# the text prepares for.
RED = {
    # A certificate that has expired is offered on purpose; gRPC's core logs that it is refused.
    "10": r"ssl_transport_security.*CERTIFICATE_VERIFY_FAILED",
}


def published_by(number: str, folder: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What the notebook of that number publishes, by name; it is executed into a folder.

    The test fails with the cell and its error when the notebook fails, takes a parameter that it
    doesn't have, leaves a process running, contradicts its own text, or writes to stderr.
    """
    (lesson,) = lessons.choose(lessons.find(), number)
    unknown = parameters.keys() - lesson.parameters.keys()
    assert not unknown, f"{lesson.path.name} has no parameter {', '.join(unknown)}"
    output = folder / lesson.path.name
    outcome = runner.run(lesson, output=output, parameters=parameters)
    if outcome.error is not None:
        error = outcome.error
        where = f"{lesson.path.name}, code cell {error['cell']} under “{error['step']}”"
        pytest.fail(f"{where}: {error['kind']}: {error['message']}\nExecuted: {output}")
    assert outcome.leftovers == ()
    assert [claim.sentence for claim in claims(output) if claim.contradicted] == []
    assert red_lines(lessons.read(output), allowed=RED.get(number)) == []
    values = {name: item.value for name, item in outcome.published.items()}
    recording = settings.RECORDINGS / f"{number}.json"
    if parameters.get("TARGET") == "kubernetes" and recording.exists():
        apart = unlike(values, recordings.read(recording)["published"])
        assert apart == {}, f"unlike its recording: {apart}; run: make record"
    return values


def unlike(
    fresh: Mapping[str, Any], recorded: Mapping[str, Any], *, factor: float = 10
) -> dict[str, tuple[Any, Any]]:
    """What a run on a cluster published that isn't like what is recorded, by name, both values.

    The same names, the same answers to yes and no, and numbers of the same size: tests run a
    notebook with fewer requests than its recording had, beside other tests, so a shape is compared
    and no speed. One is added to each number, so that none and few are alike.
    """
    apart: dict[str, tuple[Any, Any]] = {}
    for name in fresh.keys() | recorded.keys():
        new, old = fresh.get(name, "not published"), recorded.get(name, "not recorded")
        if (
            isinstance(new, bool)
            or isinstance(old, bool)
            or not (name in fresh and name in recorded)
        ):
            alike = new == old
        elif isinstance(new, (int, float)) and isinstance(old, (int, float)):
            alike = 1 / factor < (abs(new) + 1) / (abs(old) + 1) < factor
        else:
            alike = type(new) is type(old)
        if not alike:
            apart[name] = (new, old)
    return apart


def with_solutions(number: str, folder: Path, *, last: str) -> lessons.Lesson:
    """The notebook as a reader leaves it who types in what its exercises and solutions have.

    Args:
        number: of the notebook.
        folder: where the copy is written.
        last: what the exercises say to type in the end.

    Returns:
        The copy, whose typed cells have the ids `typed-0`, `typed-1`, ….
    """
    (lesson,) = lessons.choose(lessons.find(), number)
    node = lessons.read(lesson.path)
    (at,) = (i for i, cell in enumerate(node.cells) if cell.source.startswith("## On your own"))
    typed = re.findall(r"^```python\n(.*?)^```", node.cells[at].source, re.DOTALL | re.MULTILINE)
    node.cells[at + 1 : at + 1] = [
        nbformat.v4.new_code_cell(source.strip(), id=f"typed-{i}")
        for i, source in enumerate([*typed, last])
    ]
    copy = folder / lesson.path.name
    nbformat.write(node, copy)
    return dataclasses.replace(lesson, path=copy)


def shown(node: Any, cell_id: str) -> str:
    """The last thing that a cell of an executed notebook showed, as text."""
    (cell,) = (cell for cell in node.cells if cell.id == cell_id)
    output = cell.outputs[-1]
    return str(output.get("text") or output.data["text/plain"])


def red_lines(node: Any, *, allowed: str | None) -> list[str]:
    """What an executed notebook wrote to stderr, without the lines that may be there."""
    return [
        line
        for cell in node.cells
        for output in cell.get("outputs", [])
        if output.get("name") == "stderr"
        for line in output.text.splitlines()
        if line.strip() and not (allowed and re.search(allowed, line))
    ]
