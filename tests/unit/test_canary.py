"""The canary's test: what it calls worse, and what it lets pass."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import stats
from helpers.errors import NoRequestsError
from helpers.load.traffic import Flow
from helpers.rollouts.canary import CHANCE, compare, in_words


def flow(requests: int, *, lost: int = 0, latency_s: float = 0.01) -> Flow:
    records = np.zeros(requests, stats.RECORD)
    records["due_s"] = np.arange(requests)
    # No two latencies alike, as with real ones.
    records["done_s"] = records["due_s"] + latency_s * np.linspace(0.9, 1.1, requests)
    records["code"][:lost] = 14
    return Flow(records, {})


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


@pytest.mark.parametrize(
    ("differ", "compared", "promoted"),
    # More than 44 in 100 can't be told from few photos: six of eight may be chance.
    [(0, 8, True), (6, 8, True), (8, 8, False), (44, 100, True), (60, 100, False)],
)
def test_a_canary_that_says_something_else_is_looked_at(
    differ: int, compared: int, promoted: bool
) -> None:
    verdict = compare(flow(540), flow(60), differ=differ, compared=compared)
    assert verdict.promote is promoted
    assert any(f"{differ} of {compared}" in reason for reason in verdict.reasons) is not promoted


@pytest.mark.parametrize(
    ("p", "said"), [(7.9e-7, "p < 0.001"), (0.1, "p = 0.1"), (1.0, "p = 1"), (0.00999, "p = 0.01")]
)
def test_a_probability_is_said_without_digits_that_mean_nothing(p: float, said: str) -> None:
    assert in_words(p) == said


def test_failures_of_stable_are_not_held_against_the_canary() -> None:
    assert compare(flow(540, lost=50), flow(60)).promote


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(NoRequestsError):
        compare(flow(10), flow(0))
