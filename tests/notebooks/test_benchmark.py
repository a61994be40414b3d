"""Notebook 06, run as `make tutorial` does on the light network, publishes figures that hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import RunNotebook

from helpers import results
from helpers.capacity import Prices

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def measured(
    run_notebook: RunNotebook, tmp_path_factory: pytest.TempPathFactory, folder: Path
) -> dict[str, Any]:
    return run_notebook(
        "06", NETWORK="light", MODELS=str(tmp_path_factory.mktemp("exports") / "models"),
        SECONDS=1.0, BATCH_SIZES=[1, 8], TIMEOUTS_US=[0, 5000], REPLICAS=[1, 2],
        RESULTS=str(folder),
    )  # fmt: skip


def test_the_server_answers_about_as_much_as_the_model_can(measured: dict[str, Any]) -> None:
    # Not more than twice what is possible: a window cuts lumps of answers at either end.
    assert 0 < measured["served_over_in_process"] < 2


def test_littles_law_holds(measured: dict[str, Any]) -> None:
    # 32 in flight for a second: what is cut off at either end is a few per cent at most.
    assert measured["littles_law"] == pytest.approx(1, rel=0.15)


def test_the_stall_is_in_the_honest_p99_and_not_in_the_naive_one(measured: dict[str, Any]) -> None:
    honest, naive = measured["stall_p99_ms"].values()
    assert honest > 900 > 2 * naive


def test_the_rate_that_is_found_is_under_the_capacity(measured: dict[str, Any]) -> None:
    rate = measured["highest_rate_per_second"]
    # None: on a machine that is busy with something else no rate may meet the objective.
    assert rate is None or 0 < rate < 2 * measured["light_capacity_per_second"]


def test_one_replica_is_as_efficient_as_itself(measured: dict[str, Any]) -> None:
    assert measured["scaling_efficiency"]["1"] == 1
    assert measured["scalability"]["contention"] >= 0


def test_the_prices_name_their_day(measured: dict[str, Any]) -> None:
    assert measured["prices_of"] == Prices.read().collected.isoformat()


def test_a_run_compared_with_itself_has_no_differences(measured: dict[str, Any]) -> None:
    assert measured["differences"] == 0


def test_every_figure_is_in_a_file_that_can_be_read_again(
    measured: dict[str, Any], folder: Path
) -> None:
    kept = {results.read(path).name for path in folder.iterdir()}
    assert kept >= {"closed-light", "stall", "server-light", "batching-light", "replicas-light"}
