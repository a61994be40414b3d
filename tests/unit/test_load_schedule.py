"""When requests are due: rates that are kept, and rates that make no sense."""

import math

import numpy as np
import pytest

from helpers import load
from helpers.errors import LoadError


def test_constant_arrivals_are_evenly_spaced() -> None:
    due = load.due_times(4, duration_s=1, arrivals="constant")
    assert due.tolist() == [0.0, 0.25, 0.5, 0.75]


def test_the_warm_up_comes_before_zero() -> None:
    due = load.due_times(2, duration_s=1, warmup_s=1, arrivals="constant")
    assert due.tolist() == [-1.0, -0.5, 0.0, 0.5]


def test_poisson_arrivals_have_the_rate_asked_for() -> None:
    due = load.due_times(100, duration_s=1000, seed=1)
    # 100 000 arrivals have a standard deviation of 316.
    assert abs(len(due) - 100_000) < 4 * 316


def test_poisson_arrivals_are_memoryless() -> None:
    gaps = np.diff(load.due_times(100, duration_s=1000, seed=1))
    # An exponential distribution's standard deviation is its mean; 1 % is over 3 standard errors.
    assert gaps.std() / gaps.mean() == pytest.approx(1, rel=0.01)


def test_the_same_seed_gives_the_same_arrivals() -> None:
    first, second = (load.due_times(50, duration_s=10, seed=7) for _ in range(2))
    assert first.tolist() == second.tolist()


def test_a_ramp_sends_ever_faster() -> None:
    due = load.due_times(load.ramp(1, 9, duration_s=10), duration_s=10, arrivals="constant")
    # The mean rate is 5 a second; the rate in the second half is 7, in the first 3.
    assert (len(due), int((due < 5).sum())) == (50, 15)


def test_steps_stay_at_each_rate() -> None:
    due = load.due_times(load.steps([2, 4, 8], step_s=2), duration_s=6, arrivals="constant")
    assert np.histogram(due, bins=3, range=(0, 6))[0].tolist() == [4, 8, 16]


def test_the_last_rate_of_a_profile_lasts() -> None:
    due = load.due_times([(0, 2), (1, 2)], duration_s=3, arrivals="constant")
    assert due.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]


def test_a_profile_is_cut_off_at_the_end_of_the_run() -> None:
    due = load.due_times(load.ramp(1, 9, duration_s=10), duration_s=5, arrivals="constant")
    assert len(due) == 15


@pytest.mark.parametrize("rate", [0, -1, math.inf, math.nan, [(0, 1), (5, 0)], []], ids=str)
def test_a_rate_that_makes_no_sense_is_refused(rate: object) -> None:
    with pytest.raises(LoadError, match="rate"):
        load.due_times(rate, duration_s=10)  # type: ignore[arg-type]


def test_a_profile_that_goes_backwards_is_refused() -> None:
    with pytest.raises(LoadError, match="backwards"):
        load.due_times([(0, 1), (5, 2), (3, 4)], duration_s=10)
