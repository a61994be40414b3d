"""The canary's test: what it calls worse, and what it lets pass."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import stats
from helpers.errors import NoRequestsError
from helpers.load.traffic import Flow
from helpers.rollouts.canary import CHANCE, compare, fisher


def flow(requests: int, *, lost: int = 0, latency_s: float = 0.01) -> Flow:
    records = np.zeros(requests, stats.RECORD)
    records["due_s"] = np.arange(requests)
    # No two latencies alike, as with real ones.
    records["done_s"] = records["due_s"] + latency_s * np.linspace(0.9, 1.1, requests)
    records["code"][:lost] = 14
    return Flow(records, {})


def test_fishers_test_is_that_of_the_lady_tasting_tea() -> None:
    # Fisher's own example: all four cups found, and three or more of four.
    assert fisher(4, 4, 0, 4) == pytest.approx(1 / 70)
    assert fisher(3, 4, 1, 4) == pytest.approx(17 / 70)


def test_no_failures_are_no_evidence() -> None:
    assert fisher(0, 60, 0, 540) == pytest.approx(1.0)


def test_a_canary_that_fails_is_not_promoted() -> None:
    verdict = compare(flow(540), flow(60, lost=6))
    assert verdict.errors_p < CHANCE
    assert (verdict.promote, "fails more often" in verdict.reasons[0]) == (False, True)


def test_one_failure_may_be_chance() -> None:
    assert compare(flow(540), flow(60, lost=1)).promote


def test_a_canary_twice_as_slow_is_not_promoted() -> None:
    verdict = compare(flow(540), flow(60, latency_s=0.02))
    assert (verdict.promote, "slower" in verdict.reasons[0]) == (False, True)


def test_a_canary_that_is_alike_is_promoted() -> None:
    assert compare(flow(540), flow(60)).promote


def test_failures_of_stable_are_not_held_against_the_canary() -> None:
    assert compare(flow(540, lost=50), flow(60)).promote


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(NoRequestsError):
        compare(flow(10), flow(0))
