"""What a client's records say, and what they are too few to say."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import stats
from helpers.load.traffic import Flow


def answered(count: int, *, every_s: float = 0.1, took_s: float = 0.05) -> Flow:
    records = np.zeros(count, stats.RECORD)
    records["due_s"] = np.arange(count) * every_s
    records["done_s"] = records["due_s"] + took_s
    return Flow(records, {})


@pytest.mark.parametrize(("count", "told"), [(0, False), (99, False), (100, True)])
def test_a_p99_needs_a_hundred_answers(count: int, told: bool) -> None:
    assert (answered(count).p99_ms is not None) == told


def test_what_is_too_few_is_said_in_words() -> None:
    assert repr(answered(60)) == "0 of 60 requests lost, p99: too few requests"


def test_over_time_only_whole_buckets_are_shown() -> None:
    # The last of 21 requests ends at 2.05 s, in a bucket that has just begun.
    over_time = answered(21).buckets(0.5)
    assert over_time["at_s"].tolist() == [0.25, 0.75, 1.25, 1.75]
    assert over_time["answered"].tolist() == [10.0] * 4


def test_a_client_without_answers_has_no_time_line() -> None:
    assert len(answered(0).buckets(0.5)["at_s"]) == 0
