"""Own statistics against SciPy's and NumPy's: what others trust says the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as reference

from helpers import stats
from helpers.rollouts.canary import fisher
from helpers.stats.confidence import _binomial_quantile, student

counts = st.integers(0, 400)
shares = st.floats(0.001, 0.999)


@given(counts, counts, counts, counts)
def test_fishers_test_is_scipys(hits: int, misses: int, others: int, other_misses: int) -> None:
    assume(hits + misses and others + other_misses)
    expected = reference.fisher_exact(
        [[hits, misses], [others, other_misses]], alternative="greater"
    ).pvalue
    found = fisher(hits, hits + misses, others, others + other_misses)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(st.floats(1e-6, 1 - 1e-6), st.integers(1, 20_000), shares)
def test_a_binomial_quantile_is_scipys(probability: float, count: int, q: float) -> None:
    found = _binomial_quantile(probability, count, q)
    # Between the two values that a rounding error may decide for.
    low, high = reference.binom.ppf([probability * (1 - 1e-9), probability * (1 + 1e-9)], count, q)
    assert low <= found <= high


@given(shares, st.integers(1, 5000), st.floats(0.001, 0.4), st.data())
def test_a_share_is_judged_as_by_scipys_binomial_test(
    share: float, count: int, chance: float, data: st.DataObject
) -> None:
    hits = data.draw(st.integers(0, count))
    fewer = reference.binomtest(hits, count, share, alternative="less").pvalue
    more = reference.binomtest(hits, count, share, alternative="greater").pvalue
    assume(min(abs(fewer - chance), abs(more - chance)) > 1e-9)
    expected = True if fewer < chance else False if more < chance else None
    assert stats.at_most(share, hits, count, chance=chance) is expected


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40))
@example([float(i % 7) for i in range(200)])
def test_a_means_interval_is_scipys(values: list[float]) -> None:
    assume(np.std(values) > 1e-6)
    average, interval = stats.mean(values)
    expected = reference.t.interval(0.95, len(values) - 1, np.mean(values), reference.sem(values))
    half = (expected[1] - expected[0]) / 2
    assert average == pytest.approx(np.mean(values))
    # The table has three decimals.
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-3 * half)


@given(st.floats(1.0, 1e6))
def test_students_quantile_is_scipys(freedom: float) -> None:
    # Between the table's entries it is too wide, most between the first two.
    widest = 0.03 if freedom < 2 else 0.01
    assert -0.0005 < student(freedom) / reference.t.ppf(0.975, freedom) - 1 < widest


rounds = st.lists(st.floats(0.5, 2.0), min_size=2, max_size=12)


@given(rounds, rounds)
def test_rounds_are_compared_as_by_scipys_welch_test(a: list[float], b: list[float]) -> None:
    assume(np.std(a) > 1e-6 and np.std(b) > 1e-6)
    expected = reference.ttest_ind(np.log(a), np.log(b), equal_var=False)
    assume(expected.df >= 2)
    interval = expected.confidence_interval(0.95)
    found = stats.ratio_of_rounds(a, b)
    assert found.value == pytest.approx(math.exp(np.mean(np.log(a)) - np.mean(np.log(b))))
    assert found.interval.low is not None
    assert found.interval.high is not None
    width = math.log(found.interval.high / found.interval.low)
    # Student's quantile is too wide by as much between the entries of its table.
    assert width == pytest.approx(interval.high - interval.low, rel=0.01)
    assert math.sqrt(found.interval.high * found.interval.low) == pytest.approx(found.value)


@given(shares, st.integers(1, 2000))
def test_the_ranks_around_a_quantile_hold_95_per_cent_by_scipy(q: float, count: int) -> None:
    low, high = stats.quantile_ranks(q, count)
    below = reference.binom(count, q)
    # P(value of rank r <= quantile) = P(at least r values are below it).
    if low is not None:
        assert below.sf(low - 1) >= 0.975 - 1e-9
        assert below.sf(low) < 0.975 + 1e-9
    if high is not None:
        assert below.sf(high - 1) <= 0.025 + 1e-9


throughputs = st.lists(st.floats(0.1, 1e5), min_size=3, max_size=6)


@given(throughputs, st.data())
def test_the_scalability_law_is_fitted_as_scipys_bounded_least_squares_does(
    x: list[float], data: st.DataObject
) -> None:
    size = st.lists(st.integers(1, 64), min_size=len(x), max_size=len(x), unique=True)
    n = np.array(data.draw(size), float)
    law = stats.fit_scalability(list(n), x)
    assert 0 <= law.alpha <= 1
    assert law.beta >= 0
    assert law.gamma > 0
    wanted = n / np.array(x) / np.mean(n / np.array(x))
    terms = np.stack([np.ones_like(n), n, n * (n - 1)], axis=1)
    # Not `nnls`: for [1, 1, 3] at 1, 2 and 3 replicas SciPy 1.15.3's is off by 0.70; least is 0.53.
    best = optimize.lsq_linear(terms, wanted, bounds=(0, np.inf), method="bvls", tol=1e-12)
    assume(best.x[0] + best.x[1] > 1e-6)  # else one replica would be infinitely fast
    found = np.array([law.throughput(k) for k in n])
    ours = np.linalg.norm(n / found / np.mean(n / np.array(x)) - wanted)
    assert ours == pytest.approx(math.sqrt(2 * best.cost), rel=1e-5, abs=1e-5)


@given(
    st.lists(st.floats(1e-6, 4000.0), min_size=1, max_size=500),
    st.floats(0.001, 1.0),
)
def test_a_histograms_quantile_is_numpys_within_a_bucket(values: list[float], q: float) -> None:
    expected = 1e3 * float(
        np.quantile(np.rint(np.array(values) * 1e6) / 1e6, q, method="inverted_cdf")
    )
    assume(abs(q * len(values) - round(q * len(values))) > 1e-9 or q == 1.0)
    assert stats.Histogram.of(values).quantile_ms(q) == pytest.approx(
        expected, rel=1 / 2048, abs=0.0006
    )


@given(st.floats(0.001, 0.999), st.integers(20_001, 10_000_000), shares)
def test_a_binomial_quantile_of_many_is_scipys_within_one(
    probability: float, count: int, q: float
) -> None:
    found = _binomial_quantile(probability, count, q)
    assert abs(found - reference.binom.ppf(probability, count, q)) <= 1
