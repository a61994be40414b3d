"""Figures from records: percentiles, throughput, and how sure both are."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import stats
from helpers.errors import LoadError, NoRequestsError, ResultError
from helpers.stats.confidence import enough_for, mean_of_batches
from helpers.stats.histogram import nearest_rank

# A bucket is at most 1/1024 as wide as the values in it, and its middle is what is read; the
# latencies are rounded to microseconds before.
PRECISION = 1 / 2048

latencies = st.lists(st.floats(1e-6, 4000.0), min_size=1, max_size=200)


def records(
    *, due: list[float], latency: list[float], late: float = 0.0, code: int = 0
) -> stats.Records:
    """Records of requests that were due at `due`, and answered `latency` after."""
    made = np.zeros(len(due), stats.RECORD)
    made["due_s"] = due
    made["sent_s"] = made["due_s"] + late
    made["done_s"] = made["due_s"] + latency
    made["code"] = code
    return made


@given(st.lists(latencies, min_size=1, max_size=5))
def test_a_merged_histogram_is_that_of_all_the_values(parts: list[list[float]]) -> None:
    merged = stats.Histogram.merged(stats.Histogram.of(part) for part in parts)
    assert merged == stats.Histogram.of([value for part in parts for value in part])


@given(latencies)
def test_a_histogram_survives_json(values: list[float]) -> None:
    histogram = stats.Histogram.of(values)
    assert stats.Histogram.from_json(json.loads(json.dumps(histogram.to_json()))) == histogram


def test_a_histogram_keeps_its_ends_exactly() -> None:
    histogram = stats.Histogram.of([0.001234, 5.678901])
    assert (histogram.min_us, histogram.max_us, histogram.quantile_ms(1.0)) == (
        1234,
        5678901,
        5678.901,
    )


def test_a_latency_below_zero_counts_as_zero() -> None:
    assert stats.Histogram.of([-1.0]).max_us == 0


def test_an_empty_histogram_survives_json() -> None:
    assert stats.Histogram.from_json(stats.Histogram().to_json()) == stats.Histogram()


def test_a_histogram_of_another_format_is_refused() -> None:
    data = stats.Histogram.of([1.0]).to_json() | {"format": "hdr-2-ms"}
    with pytest.raises(ResultError, match="hdr-2-ms"):
        stats.Histogram.from_json(data)


def test_a_histogram_of_a_million_latencies_is_a_few_thousand_buckets() -> None:
    generator = np.random.default_rng(0)
    histogram = stats.Histogram.of(generator.lognormal(-3, 1, 1_000_000))
    assert histogram.count == 1_000_000
    assert len(histogram.counts) < 20_000


@pytest.mark.parametrize(
    ("q", "count", "rank"), [(0.5, 1, 1), (0.5, 2, 1), (0.5, 3, 2), (0.999, 1000, 999), (1.0, 7, 7)]
)
def test_a_quantile_is_the_nearest_rank(q: float, count: int, rank: int) -> None:
    assert nearest_rank(q, count) == rank


def test_percentiles_without_enough_samples_are_none() -> None:
    summary = stats.summarize(records(due=[0.1] * 99, latency=[0.2] * 99), duration_s=1)
    assert summary.percentile(0.95).ms == pytest.approx(200, rel=PRECISION)
    assert summary.p99_ms is None
    assert str(summary.percentile(0.99)) == "not enough samples (99 of 100)"


@pytest.mark.parametrize(("q", "count"), [(0.5, 2), (0.9, 10), (0.99, 100), (0.999, 1000)])
def test_a_percentile_needs_one_sample_beyond_it(q: float, count: int) -> None:
    assert enough_for(q) == count


def test_a_bound_that_the_samples_do_not_give_is_none() -> None:
    # 0.99 ** 100 = 0.37: the true 99th percentile is above all of 100 values that often.
    low, high = stats.quantile_ranks(0.99, 100)
    assert (low is not None, high) == (True, None)


def test_throughput_counts_what_was_done_in_the_window() -> None:
    run = records(due=[-1.0, 0.0, 0.5, 1.9], latency=[1.5, 0.5, 0.5, 0.5])
    assert stats.summarize(run, duration_s=2).throughput_per_s == 3 / 2


def test_an_open_loop_follows_the_requests_due_in_the_window_to_their_end() -> None:
    run = records(due=[-1.0, 0.0, 1.9], latency=[1.5, 0.5, 30.0])
    summary = stats.summarize(run, duration_s=2)
    assert (summary.requests, summary.max_ms) == (2, 30_000)


def test_a_closed_loop_counts_the_requests_done_in_the_window() -> None:
    run = records(due=[-1.0, 0.0, 1.9], latency=[1.5, 0.5, 30.0])
    summary = stats.summarize(run, duration_s=2, latency_of="done")
    assert (summary.requests, summary.max_ms) == (2, 1500)


def test_latency_counts_from_when_a_request_was_due() -> None:
    run = records(due=[0.0] * 4, latency=[1.0] * 4, late=0.75)
    due = stats.summarize(run, duration_s=2)
    sent = stats.summarize(run, duration_s=2, latency_from="sent")
    assert (due.max_ms, sent.max_ms) == (1000, 250)


def test_failures_are_counted_by_code_and_not_in_latency() -> None:
    good, bad = records(due=[0.0] * 3, latency=[0.1] * 3), records(due=[0.5], latency=[9], code=14)
    summary = stats.summarize(np.concatenate([good, bad]), duration_s=1)
    assert (summary.successes, dict(summary.failures)) == (3, {"UNAVAILABLE": 1})
    assert summary.max_ms == 100


def test_a_run_in_which_all_fail_has_failures_and_no_latency() -> None:
    summary = stats.summarize(records(due=[0.0] * 9, latency=[0.1] * 9, code=4), duration_s=1)
    assert (summary.throughput_per_s, dict(summary.failures)) == (0, {"DEADLINE_EXCEEDED": 9})
    assert [summary.p50_ms, summary.p99_ms, summary.max_ms, summary.mean_ms] == [None] * 4
    assert "9 DEADLINE_EXCEEDED" in str(summary)


def test_no_requests_at_all_is_an_error() -> None:
    with pytest.raises(NoRequestsError, match="No request ended"):
        stats.summarize(np.zeros(0, stats.RECORD), duration_s=1)


def test_a_window_of_no_length_is_an_error() -> None:
    with pytest.raises(LoadError):
        stats.summarize(records(due=[0.0], latency=[1.0]), duration_s=0)


def test_images_are_photos_times_requests() -> None:
    run = records(due=[0.0] * 4, latency=[0.1] * 4)
    assert stats.summarize(run, duration_s=2, photos_per_request=8).images_per_s == 16


def test_a_summary_survives_json() -> None:
    run = records(due=list(np.linspace(0, 0.9, 200)), latency=[0.05] * 200)
    summary = stats.summarize(run, duration_s=1)
    assert stats.Summary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


def test_the_interval_of_a_rate_holds_the_true_rate_19_times_in_20() -> None:
    generator = np.random.default_rng(2)
    inside = 0
    for _ in range(1000):
        times = np.sort(generator.uniform(0, 10, generator.poisson(1000)))
        interval = mean_of_batches(times, duration_s=10)
        assert interval.low is not None
        assert interval.high is not None
        inside += interval.low <= 100 <= interval.high
    # 950 but for chance: 4 standard errors of 1000 trials are 28.
    assert 922 <= inside <= 978


def test_a_rate_from_a_few_events_has_no_interval() -> None:
    interval = mean_of_batches(np.linspace(0, 0.9, 10), duration_s=1)
    assert (interval.low, interval.high) == (None, None)


def test_one_value_has_no_interval() -> None:
    assert stats.mean([5.0]) == (5.0, stats.Interval(None, None))


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (None, None, "too few samples for an interval"),
        (0.31, 0.52, "0.31 to 0.52"),
        (0.31, None, "at least 0.31"),
        (None, 0.52, "at most 0.52"),
    ],
)
def test_an_interval_says_which_bound_it_lacks(
    low: float | None, high: float | None, words: str
) -> None:
    assert str(stats.Interval(low, high)) == words


@pytest.mark.parametrize("offset", [0.0, 0.3, 1.7, 2.9])
def test_a_rate_of_lumps_does_not_depend_on_where_the_window_cuts_them(offset: float) -> None:
    # 16 answers every 3 s, within 20 ms: 5.33 a second. Counting in the window gives 4.8 to 6.4.
    lumps = np.add.outer(np.arange(20) * 3.0, np.linspace(0, 0.02, 16)).ravel() + offset
    inside = lumps[(lumps >= 3) & (lumps < 28)]
    assert stats.rate_between_pauses(inside) == pytest.approx(16 / 3, rel=1e-3)


def test_a_rate_of_an_even_stream_is_its_rate() -> None:
    times = np.sort(np.random.default_rng(0).uniform(0, 100, 10_000))
    assert stats.rate_between_pauses(times) == pytest.approx(100, rel=0.03)


def test_a_rate_of_a_few_events_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        stats.rate_between_pauses(np.arange(7.0))


def test_rounds_are_pooled_as_one_longer_run() -> None:
    rounds = [
        stats.summarize(records(due=[0.0] * n, latency=[0.1] * n), duration_s=1) for n in (4, 8)
    ]
    together = stats.pooled(rounds)
    assert (together.duration_s, together.requests, together.throughput_per_s) == (2, 12, 6)


def test_generators_at_once_add_up() -> None:
    pods = [
        stats.summarize(records(due=[0.0] * n, latency=[0.1] * n), duration_s=1) for n in (4, 8)
    ]
    together = stats.pooled(pods, at_once=True)
    assert (together.duration_s, together.requests, together.throughput_per_s) == (1, 12, 12)


def test_failures_of_pooled_runs_add_up() -> None:
    run = stats.summarize(records(due=[0.0], latency=[0.1], code=14), duration_s=1)
    assert dict(stats.pooled([run, run]).failures) == {"UNAVAILABLE": 2}


def test_pooled_percentiles_are_those_of_all_requests() -> None:
    fast = stats.summarize(records(due=[0.0] * 90, latency=[0.1] * 90), duration_s=1)
    slow = stats.summarize(records(due=[0.0] * 10, latency=[0.9] * 10), duration_s=1)
    # The average of the two medians would be 500 ms.
    assert stats.pooled([fast, slow], at_once=True).p50_ms == pytest.approx(100, rel=PRECISION)


def test_runs_of_different_kinds_are_not_pooled() -> None:
    run = records(due=[0.0], latency=[0.1])
    one = stats.summarize(run, duration_s=1)
    with pytest.raises(LoadError, match="different kinds"):
        stats.pooled([one, stats.summarize(run, duration_s=1, photos_per_request=8)])


def test_littles_law_holds_on_a_steady_run() -> None:
    due = np.arange(-50, 150) * 0.1
    law = stats.littles_law(records(due=list(due), latency=[2.0] * 200), duration_s=10)
    assert law.concurrency == pytest.approx(20)
    assert law.ratio == pytest.approx(1)


def test_littles_law_needs_a_finished_request() -> None:
    with pytest.raises(NoRequestsError):
        stats.littles_law(records(due=[0.0], latency=[5.0]), duration_s=1)


@pytest.mark.parametrize(
    "law",
    [
        stats.Scalability(10, 0, 0),
        stats.Scalability(10, 0.1, 0),
        stats.Scalability(10, 0.05, 0.001),
    ],
    ids=["linear", "contention", "coherency"],
)
def test_the_scalability_law_is_found_again(law: stats.Scalability) -> None:
    replicas = [1, 2, 4, 8, 16]
    found = stats.fit_scalability(replicas, [law.throughput(n) for n in replicas])
    assert (found.gamma, found.alpha, found.beta) == pytest.approx(
        (law.gamma, law.alpha, law.beta), abs=1e-9
    )


def test_two_numbers_of_replicas_tell_contention_alone() -> None:
    found = stats.fit_scalability([1, 2], [10, 15])
    assert (found.gamma, found.throughput(2)) == pytest.approx((10, 15))


def test_throughput_peaks_where_coherency_costs_more_than_a_replica_brings() -> None:
    law = stats.Scalability(10, 0.0, 0.01)
    assert law.throughput(10) > max(law.throughput(9), law.throughput(11))


def test_contention_is_a_share_whatever_was_measured() -> None:
    # What notebook 06 measured on two busy cores: throughput falls from the first replica on.
    law = stats.fit_scalability([1, 2, 4], [456, 393, 361])
    assert law.alpha == 1.0
    assert law.throughput(2) <= law.throughput(1)


def test_the_unit_of_throughput_does_not_decide_about_the_fit() -> None:
    replicas, seconds = [1, 2, 4, 8], [10.0, 18.0, 30.0, 41.0]
    found = [stats.fit_scalability(replicas, [u * s for s in seconds]) for u in (1e-9, 1.0, 1e9)]
    assert len({round(law.alpha, 9) for law in found}) == 1
    assert len({round(law.beta, 9) for law in found}) == 1


def test_the_scalability_law_says_its_numbers() -> None:
    law = stats.Scalability(183.2, 0.12, 0.031)
    assert repr(law) == "one replica 183/s, contention 12.0%, coherency 3.1%"


def test_one_number_of_replicas_tells_nothing_about_scaling() -> None:
    with pytest.raises(ValueError, match="two numbers"):
        stats.fit_scalability([2, 2], [10, 11])


def queue(*, rate: float, service: float, seconds: float, seed: int) -> tuple[list[int], list[int]]:
    """An M/M/1 queue: who waited longer than its 90th percentile, and how many came, in batches."""
    chance = np.random.default_rng(seed)
    count = chance.poisson(rate * (seconds + 5))
    at = np.sort(chance.uniform(-5, seconds, count))
    took, free = np.empty(count), -math.inf
    for i, work in enumerate(chance.exponential(1 / service, count)):
        free = max(at[i], free) + work
        took[i] = free - at[i]
    late = took > math.log(10) / (service - rate)
    edges = np.linspace(0, seconds, 6)
    counted = (np.histogram(at[late], edges)[0], np.histogram(at, edges)[0])
    return counted[0].tolist(), counted[1].tolist()


def test_a_queue_at_its_limit_is_not_called_over_it_more_often_than_promised() -> None:
    judged = [queue(rate=80, service=100, seconds=5, seed=seed) for seed in range(400)]
    batched = [stats.at_most_in_batches(0.1, *found, chance=0.05) for found in judged]
    alone = [stats.at_most(0.1, sum(hits), sum(counts), chance=0.05) for hits, counts in judged]
    # Promised are 20 of 400; 4 standard errors are 17. Taken for independent, it is far more.
    assert batched.count(False) < 20 + 17
    assert alone.count(False) > 60


def test_a_queue_far_from_its_limit_is_told_in_batches_too() -> None:
    below, above = [10, 12, 9, 11, 10], [190, 204, 201, 197, 212]
    counts = [400, 410, 390, 405, 395]
    assert stats.at_most_in_batches(0.1, below, counts, chance=0.05) is True
    assert stats.at_most_in_batches(0.1, above, counts, chance=0.05) is False


def test_one_bad_moment_is_no_verdict() -> None:
    # 130 of 2,000 are more than 1 in 20, and all of them are from one batch.
    counts = [400] * 5
    assert stats.at_most(0.05, 130, 2000, chance=0.05) is False
    assert stats.at_most_in_batches(0.05, [130, 0, 0, 0, 0], counts, chance=0.05) is None


def test_the_half_width_is_the_longer_arm_of_the_interval() -> None:
    run = records(due=list(np.linspace(0, 0.99, 100)), latency=list(np.linspace(0.001, 0.1, 100)))
    run["done_s"] = np.minimum(run["done_s"], 0.999)
    found = stats.half_width(run, "p50", duration_s=1)
    summary = stats.summarize(run, duration_s=1, latency_of="done")
    p50 = summary.percentile(0.5)
    assert p50.ms is not None
    assert p50.interval_ms.low is not None
    assert p50.interval_ms.high is not None
    arms = (p50.ms - p50.interval_ms.low, p50.interval_ms.high - p50.ms)
    assert found == pytest.approx(max(arms) / p50.ms)


def test_a_figure_without_an_interval_has_no_half_width() -> None:
    few = records(due=[0.1, 0.2], latency=[0.1, 0.1])
    assert stats.half_width(few, "throughput", duration_s=1) is None
    assert stats.half_width(few, "p99", duration_s=1) is None


def test_the_knee_is_where_throughput_over_latency_is_highest() -> None:
    # M/M/1 with one a second: latency is 1 / (1 - load), and the power load · (1 - load) is
    # highest at a load of a half.
    loads = [0.1, 0.3, 0.5, 0.7, 0.9]
    assert stats.knee([(load, 1 / (1 - load)) for load in loads]) == 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.01254, "0.0125"),
        (6.25, "6.25"),
        (99.96, "100"),
        (1170.4, "1,170"),
        (23_851_784.0, "23,851,784"),
    ],
)
def test_a_figure_is_written_without_a_power_of_ten(value: float, words: str) -> None:
    assert stats.short(value) == words
