"""Notebook 07 on `local`, with the ten thousand requests that its promise is made for."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import RunNotebook

# A whole notebook is run for the first of them, at a rate that it chose on an idle machine.
pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def rolled_out(run_notebook: RunNotebook) -> dict[str, Any]:
    return run_notebook("08", REQUESTS=10_000, RATE=150.0)


def test_no_request_of_ten_thousand_is_lost_while_replicas_are_replaced(
    rolled_out: dict[str, Any],
) -> None:
    assert (rolled_out["requests"], rolled_out["lost"]) == (10_000, 0)
    assert rolled_out["roll_outs"] >= 1


def test_a_deployments_defaults_lose_requests(rolled_out: dict[str, Any]) -> None:
    assert rolled_out["lost_with_defaults"] > 0


def test_the_second_version_answers_differently(rolled_out: dict[str, Any]) -> None:
    assert 0 < rolled_out["disagreement"] <= 1


def test_a_canary_that_loses_nothing_may_be_promoted(rolled_out: dict[str, Any]) -> None:
    # Latency isn't asserted on: it belongs to the machine, and to what else runs on it.
    assert (rolled_out["canary_lost"], rolled_out["canary_errors_p"]) == (0, 1.0)


def test_a_label_moves_forth_and_back(rolled_out: dict[str, Any]) -> None:
    said = rolled_out["stable_says"]
    assert said["promoted"] != said["before"] == said["rolled back"]


def test_each_broken_version_is_refused_and_nobody_notices(rolled_out: dict[str, Any]) -> None:
    assert (rolled_out["broken_versions_refused"], rolled_out["lost_meanwhile"]) == (3, 0)


def test_a_broken_release_fails_with_its_reason_and_takes_nothing_away(
    rolled_out: dict[str, Any],
) -> None:
    assert "did not become available" in rolled_out["broken_release_reason"]
    assert (rolled_out["ready_meanwhile"], rolled_out["lost_to_broken_release"]) == (2, 0)


def test_nothing_is_left(rolled_out: dict[str, Any]) -> None:
    assert rolled_out["leftovers"] == []
