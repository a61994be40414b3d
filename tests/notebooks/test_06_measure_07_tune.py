"""Notebooks 06 and 07 publish what their own result files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import RunNotebook
from solutions import Solved

from helpers.load import results
from helpers.load.results import Result
from helpers.planning import Prices

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OBJECTIVE_MS = 400.0
THIS_MACHINE = Prices.read().machines[0]  # as good as any: a price is only multiplied


def read(published: dict[str, Any], folder: Path) -> dict[str, Result]:
    kept = [results.read(folder / name) for name in published["results_written"]]
    return {result.name: result for result in kept}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        "NETWORK": "light",
        "MODELS": str(tmp_path_factory.mktemp("exports") / "models"),
        "RESULTS": str(tmp_path_factory.mktemp("results")),
    }


@pytest.fixture(scope="module")
def measured(run_notebook: RunNotebook, places: dict[str, str]) -> dict[str, Any]:
    return run_notebook("06", **places, SECONDS=1.0, OBJECTIVE_MS=OBJECTIVE_MS)


@pytest.fixture(scope="module")
def tuned(run_notebook: RunNotebook, places: dict[str, str]) -> dict[str, Any]:
    asked = {"SECONDS": 1.0, "REPLICAS": [1, 2], "MACHINE_TYPE": THIS_MACHINE.name}
    return run_notebook("07", **places, **asked)


def test_a_polite_client_doesnt_see_the_stall(measured: dict[str, Any]) -> None:
    polite, honest = measured["stall_p99_polite_ms"], measured["stall_p99_honest_ms"]
    assert 2 * polite < honest  # a stall of a second, against answers of a few milliseconds


def test_littles_law_holds(measured: dict[str, Any]) -> None:
    assert measured["littles_law"] == pytest.approx(1, abs=0.1)


def test_the_highest_rate_is_of_the_capacitys_size(measured: dict[str, Any]) -> None:
    # The two are measured a while apart, beside other tests that come and go meanwhile.
    highest = measured["highest_rate_per_second"] or 1
    assert 0 < highest <= 2 * measured["light_capacity_per_second"]


def test_an_overrun_generator_is_marked(measured: dict[str, Any], places: dict[str, str]) -> None:
    kept = read(measured, Path(places["RESULTS"]))
    (overrun,) = kept["generator-overrun"].runs.values()
    assert overrun.problems


def test_the_figures_are_those_of_the_files(
    measured: dict[str, Any], places: dict[str, str]
) -> None:
    kept = read(measured, Path(places["RESULTS"]))
    fastest = max(run.summary.images_per_s for run in kept["closed-light"].runs.values())
    assert measured["images_per_second"] == pytest.approx(fastest)


def test_the_best_batching_is_one_that_was_tried(tuned: dict[str, Any]) -> None:
    assert tuned["best_batching"] is None or tuned["best_batching"][0] in (1, 16)


def test_what_didnt_change_differs_seldom(tuned: dict[str, Any]) -> None:
    told = tuned["differences"]
    assert told["beyond_noise"] <= max(3, told["compared"] / 2)


def test_a_price_is_the_machines_over_what_it_answers(tuned: dict[str, Any]) -> None:
    images_per_hour = 3600 * tuned["priced_images_per_second"]
    expected = THIS_MACHINE.usd_per_hour / images_per_hour * 1e6
    assert tuned["cost_basis"] == "measured"
    assert tuned["usd_per_million"] == pytest.approx(expected)


def test_contention_is_a_share(tuned: dict[str, Any]) -> None:
    assert 0 <= tuned["scalability"]["contention"] <= 1


@pytest.mark.parametrize("notebook", ["measured", "tuned"])
def test_nothing_is_left(notebook: str, request: pytest.FixtureRequest) -> None:
    assert request.getfixturevalue(notebook)["leftovers"] == []


def test_the_exercises_of_06_end_as_their_solutions_say() -> None:
    with Solved("06", steps=[1, 2, 3], parameters={"NETWORK": "light"}) as solved:
        shorter, (from_due, from_sent) = solved.values()
    # 20 of 300 requests are due in the 0.2 s of stall; the later they are due, the less they wait.
    assert shorter.p99_ms > 100
    assert sum(shorter.histogram.rank_ms(n) > 50 for n in range(1, shorter.successes + 1)) >= 10
    # An open loop sends when a request is due, give or take what this machine is late.
    assert from_sent > 500
    assert from_due > 500


def test_the_exercises_of_07_end_as_their_solutions_say() -> None:
    parameters = {"NETWORK": "light", "SECONDS": 0.8, "ROUNDS": 2}
    with Solved("07", steps=[1, 2, 3, 4], parameters=parameters) as solved:
        limited, priced, picture = solved.values()
    (_, few), (_, enough) = limited.values()
    assert any("the server takes 4 at a time on each" in note for note in few)  # they waited
    assert not any("waited for room" in note for note in enough)  # 8 connections × 4 = 32
    assert "basis" in priced.columns
    assert picture.alt.startswith("Images per second by batch")
