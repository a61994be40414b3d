"""Notebook 06, run as `make tutorial` does on the light network, publishes figures that hold.

No speed is asserted, and no share of one: what is asserted holds on a machine of any speed, with
any company. Figures are computed again from the files that the run has left.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import RunNotebook

from helpers.load import results
from helpers.load.results import Result
from helpers.planning.capacity import Prices

pytestmark = pytest.mark.slow

CONCURRENCIES = [1, 8]
SIZES, TIMEOUTS_US = [1, 8], [0, 5000]
REPLICAS = [1, 2]
OBJECTIVE_MS = 400.0
THIS_MACHINE = Prices.read().machines[0]  # as good as any: a price is only multiplied
STRAY = "stray-20990101T000000.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the results go. There is a file already, newer than all that the run will write."""
    folder = tmp_path_factory.mktemp("results")
    (folder / STRAY).write_text("not a result")
    later = time.time() + 1e6
    os.utime(folder / STRAY, (later, later))
    return folder


@pytest.fixture(scope="module")
def measured(
    run_notebook: RunNotebook, tmp_path_factory: pytest.TempPathFactory, folder: Path
) -> dict[str, Any]:
    return run_notebook(
        "06", NETWORK="light", MODELS=str(tmp_path_factory.mktemp("exports") / "models"),
        CONCURRENCIES=CONCURRENCIES, SECONDS=1.0, OBJECTIVE_MS=OBJECTIVE_MS, BATCH_SIZES=SIZES,
        TIMEOUTS_US=TIMEOUTS_US, REPLICAS=REPLICAS, MACHINE_TYPE=THIS_MACHINE.name,
        RESULTS=str(folder),
    )  # fmt: skip


@pytest.fixture(scope="module")
def kept(measured: dict[str, Any], folder: Path) -> dict[str, Result]:
    """The results of the run, read from their files, by name."""
    read = [results.read(folder / name) for name in measured["results_written"]]
    return {result.name: result for result in read}


def test_the_files_that_are_listed_are_those_of_this_run(
    measured: dict[str, Any], folder: Path
) -> None:
    written = measured["results_written"]
    assert sorted(written) == sorted(path.name for path in folder.iterdir() if path.name != STRAY)


def test_every_step_has_left_its_result(kept: dict[str, Result]) -> None:
    assert set(kept) - {"cross-check"} == {  # which takes ghz
        "closed-light", "time-of-a-request-light", "stall", "server-light", "batching-light",
        "channels-light", "replicas-light", "generator-overrun",
    }  # fmt: skip


def test_every_answer_is_in_a_histogram_and_every_request_an_answer_or_a_failure(
    kept: dict[str, Result],
) -> None:
    for result in kept.values():
        for name, run in result.runs.items():
            counted = run.summary
            assert counted.requests == counted.successes + sum(counted.failures.values()), name
            if run.settings["concurrency"]:  # an open loop follows those that were due to their end
                assert counted.histogram.count == counted.successes, name


def test_the_server_has_counted_as_many_requests_as_the_client(measured: dict[str, Any]) -> None:
    counted = measured["requests_counted"]
    assert list(counted) == [f"{n} in flight" for n in CONCURRENCIES]
    for both in counted.values():
        assert both["client"] == both["server"] > 0


def test_what_is_served_a_second_is_the_best_of_the_closed_loops(
    measured: dict[str, Any], kept: dict[str, Result]
) -> None:
    loads = kept["closed-light"].by("concurrency")
    assert list(loads) == CONCURRENCIES
    best = max(summary.images_per_s for summary in loads.values())
    assert measured["images_per_second"] == best > 0
    ceiling = measured["in_process_images_per_second"]
    assert measured["served_over_in_process"] == pytest.approx(best / ceiling)


def test_the_parts_of_a_requests_time_are_all_there_and_leave_little_over(
    kept: dict[str, Result],
) -> None:
    loads = kept["time-of-a-request-light"].nested()
    assert list(loads) == [f"{n} in flight" for n in CONCURRENCIES]
    for parts in loads.values():
        assert list(parts) == [
            "client", "network", "queue", "server", "decode", "layers", "unaccounted",
        ]  # fmt: skip
        left_over = parts.pop("unaccounted")
        assert min(parts.values()) >= 0
        assert parts["decode"] > 0 < parts["layers"]
        # The server's clocks run inside of the client's: only the client's own time overlaps them.
        assert abs(left_over) <= parts["client"] + 0.01 * sum(parts.values())


def test_littles_law_holds(measured: dict[str, Any], kept: dict[str, Result]) -> None:
    # 32 in flight. What a window of 2 s cuts off at either end is its error; a wrong unit, or
    # requests that weren't counted, are more than a quarter.
    assert measured["littles_law"] == pytest.approx(1, rel=0.25)
    full = kept["server-light"].runs["closed loop"]
    assert full.settings["concurrency"] == 32
    assert full.summary.mean_ms is not None
    in_flight = full.summary.throughput_per_s * full.summary.mean_ms / 1e3
    assert in_flight == pytest.approx(32, rel=0.25)


def test_the_open_loop_has_the_requests_that_a_stall_held_up_and_the_polite_client_has_not(
    measured: dict[str, Any], kept: dict[str, Result]
) -> None:
    honest, naive = (run.summary.histogram for run in kept["stall"].runs.values())
    # 100 a second were due, and 1 s of stall: 50 of them take over half a second on any machine.
    assert honest.rank_ms(honest.count - 40) > 500
    # One after another, no more than 7 requests of over half a second have room in 3 s.
    assert naive.rank_ms(naive.count - 8) < 500
    assert measured["stall_p99_ms"]["from when it was due"] > 900


def test_the_highest_rate_is_that_of_the_verdicts_and_the_capacity_that_of_the_runs(
    measured: dict[str, Any], kept: dict[str, Result]
) -> None:
    runs = kept["server-light"].runs.values()
    met = [run.settings["rate_per_s"] for run in runs if run.settings.get("meets")]
    assert measured["highest_rate_per_second"] == max(met, default=None)
    assert any("meets" in run.settings for run in runs)
    most = max(run.summary.images_per_s for run in runs)
    assert measured["light_capacity_per_second"] == most
    assert measured["knee_per_second"] in {run.settings.get("rate_per_s") for run in runs}


def test_the_heat_map_has_every_setting_in_two_rounds_and_frames_the_best(
    measured: dict[str, Any], kept: dict[str, Result]
) -> None:
    grid = kept["batching-light"].by("max_batch_size", "batch_timeout_micros")
    assert list(grid) == list(itertools.product(SIZES, TIMEOUTS_US))
    assert [len(rounds) for rounds in kept["batching-light"].rounds().values()] == [2] * len(grid)
    meeting = {pair: s for pair, s in grid.items() if (s.p99_ms or math.inf) <= OBJECTIVE_MS}
    best = max(meeting, key=lambda pair: meeting[pair].images_per_s, default=None)
    assert measured["best_batching"] == (best and list(best))


def test_efficiency_is_throughput_over_that_of_as_many_single_replicas(
    measured: dict[str, Any], kept: dict[str, Result]
) -> None:
    rates = {n: s.images_per_s for n, s in kept["replicas-light"].by("replicas").items()}
    assert list(rates) == REPLICAS
    assert measured["scaling_efficiency"] == pytest.approx(
        {str(n): rate / (n * rates[1]) for n, rate in rates.items()}
    )
    # As many addresses were asked as there were replicas.
    asked = [len(run.settings["addresses"]) for run in kept["replicas-light"].runs.values()]
    assert sorted(asked) == REPLICAS


def test_a_run_that_the_generator_spoilt_is_marked_in_its_file_and_listed(
    measured: dict[str, Any], kept: dict[str, Result]
) -> None:
    (overrun,) = kept["generator-overrun"].runs.values()
    assert overrun.problems  # a million a second: none in Python sends that in time
    marked = [run for r in kept.values() for run, found in r.runs.items() if found.problems]
    listed = [name.partition(": ")[2] for name in measured["invalid_runs"]]
    # ghz's own runs come after the list.
    assert sorted(listed) == sorted(r for r in marked if "loop: " not in r)


def test_the_cost_that_is_called_measured_is_of_the_speed_that_was_served(
    measured: dict[str, Any],
) -> None:
    assert measured["cost_basis"] == "measured"
    hours = 1e6 / measured["images_per_second"] / 3600
    assert measured["usd_per_million"] == pytest.approx(hours * THIS_MACHINE.usd_per_hour)
    assert measured["prices_of"] == Prices.read().collected.isoformat()


def test_the_two_rounds_are_compared_in_every_setting(
    measured: dict[str, Any], kept: dict[str, Result]
) -> None:
    found = measured["differences"]
    settings = len(kept["batching-light"].rounds())
    assert found["compared"] >= settings  # a throughput each, and the percentiles that there are


def test_nothing_is_left_behind(measured: dict[str, Any]) -> None:
    assert measured["leftovers"] == []
