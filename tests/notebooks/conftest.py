"""Notebooks run on this machine, with small parameters, for tests of what they publish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from notebook_runs import published_by

RunNotebook = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def run_notebook(tmp_path_factory: pytest.TempPathFactory) -> RunNotebook:
    """`run_notebook("02", NETWORK="light")`: runs it, and returns what it published, by name.

    Call it from a fixture of module scope: each call runs the notebook again.
    """

    def run(number: str, **parameters: Any) -> dict[str, Any]:
        return published_by(number, tmp_path_factory.mktemp("notebook"), parameters)

    return run
