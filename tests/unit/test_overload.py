"""What became of more requests than a server can do is counted from their records."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers import load, stats
from helpers.faults import overload

SECONDS = 10.0
RATE = 50  # due a second
SETTINGS = {"scenario": "open_loop", "concurrency": None, "photos_per_request": 1}


def run(*, sent_late_s: float = 0.0, busy: float = 0.1) -> load.Run:
    """Of 500 requests 100 are refused, and 200 of those that are answered are too late."""
    records = np.zeros(int(RATE * SECONDS), stats.RECORD)
    records["due_s"] = np.arange(len(records)) / RATE
    records["sent_s"] = records["due_s"] + sent_late_s
    records["done_s"] = records["sent_s"] + 0.1
    records["done_s"][:200] += 2
    records["code"][-100:] = stats.CODES.index("UNAVAILABLE")
    generator = load.Generator(busy * SECONDS, SECONDS, len(records))
    return load.Run({**SETTINGS, "planned": len(records)}, records, SECONDS, (generator,), {})


def closed(*, busy: float = 0.1) -> load.Run:
    records = np.zeros(200, stats.RECORD)
    records["sent_s"] = records["due_s"] = np.arange(200) / 20
    records["done_s"] = records["sent_s"] + 0.01
    generator = load.Generator(busy * SECONDS, SECONDS, 200)
    settings = {**SETTINGS, "concurrency": 1, "planned": None}
    return load.Run(settings, records, SECONDS, (generator,), {})


def test_each_request_is_in_time_refused_or_too_late() -> None:
    found = overload.outcome(closed(), run(), objective_s=1.0)
    assert (found.failures, found.late) == ({"UNAVAILABLE": 100}, 200)


def test_goodput_is_counted_over_time() -> None:
    found = overload.outcome(closed(), run(), objective_s=1.0)
    # 50 per second are due: those of the first 4 s are too late, those of the last 2 s refused.
    assert sum(found.goodput) * 0.5 == 200
    assert found.goodput[:8] == (0,) * 8
    assert found.goodput[10:15] == (50,) * 5
    assert found.goodput[17:] == (0,) * 3


def test_the_peak_is_the_most_that_was_seen() -> None:
    assert overload.outcome(closed(), run(), objective_s=1.0).peak_per_s == 42  # 20 in the loop
    late = overload.outcome(closed(), run(sent_late_s=9.0), objective_s=1.0)
    assert late.peak_per_s == 20


def test_what_lasts_is_judged_by_the_second_half() -> None:
    found = overload.outcome(closed(), run(), objective_s=1.0)
    assert found.lasting_share == pytest.approx(155 / 210)  # in time, of all that it answered


def test_what_was_sent_is_counted_and_not_what_was_asked_for() -> None:
    assert overload.outcome(closed(), run(), objective_s=1.0).sent_per_s == RATE
    # A generator that is five seconds behind has sent half of it when the time is over.
    late = overload.outcome(closed(), run(sent_late_s=5.0), objective_s=1.0)
    assert late.sent_per_s == RATE / 2


def test_a_generator_that_was_the_bottleneck_is_in_the_table() -> None:
    assert overload.outcome(closed(), run(), objective_s=1.0).row()["problems"] == "none"
    for one, other in ((closed(busy=0.99), run()), (closed(), run(busy=0.99))):
        row = overload.outcome(one, other, objective_s=1.0).row()
        assert "computing 99% of the time" in row["problems"]


@pytest.mark.parametrize(("peak_per_s", "objective_s"), [(200, 0.5), (20, 2.0)])
def test_an_objective_is_no_shorter_than_the_machine_is_fast(
    monkeypatch: pytest.MonkeyPatch, peak_per_s: float, objective_s: float
) -> None:
    asked: dict[str, float] = {}
    of_peak = SimpleNamespace(summary=lambda: SimpleNamespace(throughput_per_s=peak_per_s))
    monkeypatch.setattr(load, "closed_loop", lambda *_, **__: of_peak)
    monkeypatch.setattr(load, "open_loop", lambda *_, **options: asked.update(options))
    monkeypatch.setattr(overload, "outcome", lambda *_, **options: options["objective_s"])
    cluster = SimpleNamespace(addresses=lambda: ["127.0.0.1:1"])
    assert overload.measure(cluster, times=3, seconds=4.5) == objective_s  # type: ignore[arg-type]
    assert asked["rate_per_s"] == 3 * peak_per_s
    assert asked["duration_s"] >= 4 * objective_s
    assert asked["timeout_s"] > objective_s


def test_the_table_says_which_of_the_two_runs_had_the_problem() -> None:
    found = overload.outcome(closed(busy=0.99), run(), objective_s=1.0)
    assert [problem.startswith("at the peak: ") for problem in found.problems] == [True]
