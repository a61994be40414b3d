"""Notebook 14 on `local`: what was left on purpose is found and gone."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import RunNotebook
from solutions import Solved

# It removes what is left on this machine, so nothing else may be about to use it.
pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture(autouse=True, scope="module")
def no_engine() -> Any:
    """An engine of this machine may run what isn't the tests' to remove."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nowhere")
        yield


@pytest.fixture(scope="module")
def cleaned(run_notebook: RunNotebook) -> dict[str, Any]:
    return run_notebook("14")


def test_what_was_left_on_purpose_is_found(cleaned: dict[str, Any]) -> None:
    assert cleaned["things_before"] >= 1


def test_nothing_is_left_and_nothing_costs(cleaned: dict[str, Any]) -> None:
    assert (cleaned["things_after"], cleaned["usd_so_far"]) == (0, 0)


def test_a_python_that_is_killed_takes_its_replicas_along() -> None:
    with Solved("14", steps=[3, 4]) as solved:
        ((status, _),) = solved.values()
    assert status == -9
