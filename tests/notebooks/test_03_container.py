"""Notebook 03 on a machine without a container engine, with what its solutions have typed in."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from notebook_runs import red_lines, shown, with_solutions

from helpers.book import lessons, record, runner
from helpers.lab import recordings
from helpers.lab.claims import claims
from helpers.lab.publishing import published

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("notebook")
    output = folder / "executed.ipynb"
    parameters = {"NETWORK": "light", "MODELS": str(folder / "models")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nowhere")
        lesson = with_solutions("03", folder, last="None")
        outcome = runner.run(lesson, output=output, parameters=parameters)
    assert (outcome.error, outcome.leftovers) == (None, ())
    return lessons.read(output)


@pytest.fixture(scope="module")
def found(executed: Any) -> dict[str, Any]:
    return published(executed)


def test_without_an_engine_no_figure_of_one_is_published(found: dict[str, Any]) -> None:
    assert found["engine"] is False
    assert {"server_mb", "same_image", "start_s", "ways"} & found.keys() == set()
    assert found["model_mb"] > 0


def test_the_cells_that_need_one_show_what_was_recorded(executed: Any) -> None:
    engine = [cell for cell in executed.cells if recordings.need(cell.source)]
    assert len(engine) >= 10
    (lesson,) = lessons.choose(lessons.find(), "03")
    assert record.missing(lesson) == []


def test_a_new_version_in_the_folder_is_served_by_the_same_process(
    executed: Any, found: dict[str, Any]
) -> None:
    assert found["same_process"] is True
    assert found["states"]["2"] == "AVAILABLE"
    assert [claim.name for claim in claims(executed) if not claim.held] == []


def test_the_exercises_do_what_their_solutions_say(executed: Any) -> None:
    state = ast.literal_eval(shown(executed, "typed-0"))
    assert state == {"ended": False, "port is open": False}
    assert ast.literal_eval(shown(executed, "typed-1")) == ["runAsNonRoot: true"]


def test_nothing_is_written_on_red_and_nothing_is_left(
    executed: Any, found: dict[str, Any]
) -> None:
    assert red_lines(executed, allowed=None) == []
    assert found["leftovers"] == []
