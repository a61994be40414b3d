"""A goal is reached, missed or not told: judged by the whole interval of what was measured."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import cross_check, faults, load_generator, serving
from helpers import load, stats
from helpers.load import results
from helpers.load.results import Figure, Result
from helpers.stats import Interval

SETTINGS = {"scenario": "closed_loop", "concurrency": 8, "photos_per_request": 1, "planned": None}


def figure(low: float | None, high: float | None, value: float = 1.0) -> Figure:
    return Figure(value, Interval(low, high))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.9, 1.1, "reached"),
        (0.8, 1.2, "reached"),
        (0.7, 1.1, "not told"),
        (0.9, 1.3, "not told"),
        (0.1, 2.0, "not told"),
        (0.1, 0.7, "MISSED"),
        (1.3, 2.0, "MISSED"),
        (None, 1.1, "not told"),
        (0.9, None, "not told"),
    ],
)
def test_the_interval_decides(low: float | None, high: float | None, expected: str) -> None:
    assert results.verdict(figure(low, high), least=0.8, most=1.2) == expected


def test_one_measurement_without_an_interval_tells_nothing() -> None:
    assert results.verdict(Figure(5.0), least=1) == "not told"


def test_what_was_counted_needs_no_interval() -> None:
    assert results.verdict(Figure.exact(20), least=20, most=20) == "reached"
    assert results.verdict(Figure.exact(19), least=20, most=20) == "MISSED"


def test_a_load_generator_is_judged_by_its_share_of_grpcios_cost() -> None:
    clients = ("grpcio_threads", "grpcio_asyncio", "grpcio_asyncio_open")
    # Microseconds are whatever the machine makes of them.
    figures = {
        f"{name}_us": figure(900, 1100, 1000) for name in ("closed_loop", "open_loop", *clients)
    }
    figures |= {name.replace("_us", "_least_us"): Figure(890) for name in figures}
    figures |= {
        "closed_loop_over_grpcio_threads": figure(0.5, 0.6, 0.55),
        "closed_loop_over_grpcio_asyncio": figure(0.3, 0.5, 0.39),
        "open_loop_over_grpcio_asyncio_open": figure(0.41, 0.5, 0.45),
    }
    table = load_generator.table(Result.now("load-generator", runs={}, figures=figures))
    *_, threads, closed, opened = table.splitlines()
    assert "goal" not in threads
    assert "goal 0.4 not told" in closed
    assert "goal 0.4 MISSED" in opened


def test_two_generators_agree_if_the_interval_is_within_the_goal() -> None:
    name = "open loop: images_per_s over ghz"
    for found, expected in (
        (figure(0.99, 1.01), "reached"),
        (figure(0.9, 1.1), "not told"),
        (figure(0.5, 0.6), "MISSED"),
    ):
        result = Result.now("cross-check", runs={}, figures={name: found})
        assert f"within 3% {expected}" in cross_check.table(result)


def test_a_fault_that_is_reported_as_it_was_is_reached() -> None:
    figures = {"failures over those injected": Figure.exact(1.0)}
    assert "reached" in faults.table(Result.now("faults", runs={}, figures=figures))


def served(concurrency: int, figures: dict[str, Figure]) -> Result:
    """A result of serving with these figures, and one round of a hundred answers behind them."""
    records = np.zeros(100, stats.RECORD)
    records["done_s"] = 0.1
    name = f"served, {concurrency} at a time, round 1"
    runs = {name: load.Run(SETTINGS, records, 10.0, (), {})}
    return Result.now("serving-light", runs=runs, figures=figures)


def test_each_goal_of_serving_has_a_verdict_in_a_line_of_its_own() -> None:
    figures = {
        "served_8": figure(80, 90, 85),
        "served_over_in_process_8": figure(0.7, 0.9, 0.86),
        "cpu_in_process_over_served_8": figure(0.7, 0.9, 0.8),
        "generator_8": figure(90, 100, 95),
    }
    share, in_cpu, generator = serving.table(served(8, figures)).splitlines()
    assert "goal 0.85 not told" in share
    assert "0.800 of in process in processor time" in in_cpu
    assert "goal 0.85 not told" in in_cpu
    assert "goal" not in generator  # its goal is a ratio, which load-generator measures


@pytest.mark.parametrize(("processor", "verdict"), [("avx2", "reached"), ("avx512_bf16", "MISSED")])
def test_one_request_alone_may_take_longer_on_the_slow_class(processor: str, verdict: str) -> None:
    figures = {
        "served_1": figure(80, 90, 85),
        "served_over_in_process_1": figure(0.7, 0.9, 0.86),
        "cpu_in_process_over_served_1": figure(0.7, 0.9, 0.8),
        "added_ms_1": figure(1.9, 2.1, 2.0),
        "generator_1": figure(90, 100, 95),
    }
    result = served(1, figures)
    result = replace(result, machine={**result.machine, "processor_class": processor})
    assert verdict in serving.table(result).splitlines()[0]
