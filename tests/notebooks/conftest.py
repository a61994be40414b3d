"""Runs notebooks as `make tutorial` does, with small parameters, for tests of what they publish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from helpers import lessons, runner

RunNotebook = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def run_notebook(tmp_path_factory: pytest.TempPathFactory) -> RunNotebook:
    """`run_notebook("02", NETWORK="light")`: runs it, and returns what it published, by name.

    The test fails with the cell and its error when the notebook fails, takes a parameter that it
    doesn't have, or leaves a process running. Call it from a fixture of module scope: each call
    runs the notebook again.
    """
    found = {lesson.number: lesson for lesson in lessons.find()}

    def run(number: str, **parameters: Any) -> dict[str, Any]:
        lesson = found[number]
        unknown = parameters.keys() - lesson.parameters.keys()
        assert not unknown, f"{lesson.path.name} has no parameter {', '.join(unknown)}"
        output = tmp_path_factory.mktemp("notebook") / lesson.path.name
        outcome = runner.run(lesson, output=output, parameters=parameters)
        if outcome.error is not None:
            error = outcome.error
            where = f"{lesson.path.name}, code cell {error['cell']} under “{error['step']}”"
            pytest.fail(f"{where}: {error['kind']}: {error['message']}\nExecuted: {output}")
        assert outcome.leftovers == ()
        return {name: item.value for name, item in outcome.published.items()}

    return run
