"""Notebook 08 on `local`, and its exercises."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import RunNotebook
from roll_out_promises import EACH, Promises
from solutions import Solved

# A whole notebook is run for the first of them, at a share of what this machine can do.
pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def rolled_out(run_notebook: RunNotebook) -> dict[str, Any]:
    return run_notebook("08", REQUESTS=EACH, SHARE=0.2, MOST_PER_S=150.0)


class TestOnThisMachine(Promises):
    """Processes in place of pods."""


def test_the_exercises_end_as_their_solutions_say() -> None:
    with Solved("08", steps=[1, 2, 3, 4, 6]) as solved:
        squeezed, abrupt, needed = solved.values()
    for lost in (squeezed, abrupt):
        assert lost["retrying"].startswith("0 of")
    assert needed == 200
