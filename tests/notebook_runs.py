"""Runs a notebook as `make tutorial` does, for tests of what it publishes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.book import lessons, runner


def published_by(number: str, folder: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What the notebook of that number publishes, by name; it is executed into a folder.

    The test fails with the cell and its error when the notebook fails, takes a parameter that it
    doesn't have, or leaves a process running.
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
    return {name: item.value for name, item in outcome.published.items()}
