"""Results as data: what is written is read again, and nothing else is taken for a result."""

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import compare
from helpers import load, stats
from helpers.errors import ResultError
from helpers.load import results
from helpers.load.results import Figure, Result
from helpers.load.results.record import RecordedRun, git_revision
from helpers.stats import Interval

SETTINGS = {
    "scenario": "closed_loop",
    "concurrency": 4,
    "photos_per_request": 1,
    "planned": None,
}


def run(
    *, rate: float = 100, latency_s: float = 0.04, failures: int = 0, seed: int = 0
) -> load.Run:
    """A run of 10 s at a rate, every request with the same latency but for some noise."""
    noise = np.random.default_rng(seed)
    count = int(rate * 10 * noise.uniform(0.99, 1.01)) if seed else int(rate * 10)
    records = np.zeros(count, stats.RECORD)
    records["due_s"] = np.sort(noise.uniform(0, 10 - 2 * latency_s, count))
    records["sent_s"] = records["due_s"]
    records["done_s"] = records["due_s"] + latency_s * noise.uniform(0.9, 1.1, count)
    records["code"][:failures] = 14
    details = {"UNAVAILABLE": "told to fail"} if failures else {}
    return load.Run(SETTINGS, records, 10.0, (load.Generator(0.1, 10.0, count),), details)


def result(**changes: Any) -> Result:
    figures = {"served_over_in_process": Figure(0.98, Interval(0.97, 0.99))}
    return Result.now("serving-light", runs={"served": run(**changes)}, figures=figures)


def in_rounds(**changes: Any) -> Result:
    """The same in four rounds."""
    rounds = {f"served, round {i}": run(seed=i, **changes) for i in range(1, 5)}
    return Result.now("serving-light", runs=rounds)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = result(failures=3)
    assert results.read(results.write(written, folder=tmp_path)) == written


def test_a_result_that_was_kept_says_in_which_file(tmp_path: Path) -> None:
    kept = results.keep("serving-light", runs={"served": run()}, folder=tmp_path)
    assert [kept.path] == list(tmp_path.iterdir())
    assert result().path is None


def test_a_result_keeps_the_raw_histogram(tmp_path: Path) -> None:
    path = results.write(result(), folder=tmp_path)
    kept = results.read(path).runs["served"].summary.histogram
    assert kept == run().summary().histogram


def test_a_file_is_named_after_benchmark_and_processor(tmp_path: Path) -> None:
    written = result()
    name = results.write(written, folder=tmp_path).name
    assert name.startswith(f"serving-light-{written.machine['processor_class']}-2")


def test_a_result_names_its_git_revision() -> None:
    revision = git_revision()["revision"]
    assert revision is None or len(revision) == 40


def test_a_result_in_which_all_failed_can_be_written(tmp_path: Path) -> None:
    written = result(failures=1000)
    kept = results.read(results.write(written, folder=tmp_path)).runs["served"]
    assert (kept.summary.p50_ms, dict(kept.summary.failures)) == (None, {"UNAVAILABLE": 1000})


def test_an_invalid_run_says_why_in_its_file(tmp_path: Path) -> None:
    busy = load.Run(SETTINGS, run().records, 10.0, (load.Generator(9.9, 10.0, 1000),), {})
    written = Result.now("serving-light", runs={"served": busy})
    kept = results.read(results.write(written, folder=tmp_path)).runs["served"]
    assert "computing 99% of the time" in kept.problems[0]


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    path = results.write(result(), folder=tmp_path)
    path.write_text(path.read_text()[:500])
    with pytest.raises(ResultError, match="not a whole JSON file"):
        results.read(path)


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = results.write(result(), folder=tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 0}))
    with pytest.raises(ResultError, match="its schema is 0"):
        results.read(path)


@pytest.mark.parametrize("text", ["[]", "{}", "1"])
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ResultError, match="another schema"):
        results.read(path)


def test_a_file_that_lacks_something_is_refused_by_its_place(tmp_path: Path) -> None:
    path = results.write(result(), folder=tmp_path)
    data = json.loads(path.read_text())
    del data["runs"]["served"]["summary"]["histogram"]
    path.write_text(json.dumps(data))
    with pytest.raises(ResultError, match=r"runs\.served\.summary: 'histogram' is a required"):
        results.read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="No such file"):
        results.read(tmp_path / "none.json")


def test_a_result_that_does_not_fit_leaves_no_file(tmp_path: Path) -> None:
    wrong = Result.now("Serving Light", runs={})
    with pytest.raises(ResultError, match="schema"):
        results.write(wrong, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("failure", "seen"),
    [(OSError(errno.ENOSPC, "No space left on device"), ResultError), (KeyboardInterrupt(), None)],
    ids=["full disk", "Ctrl-C"],
)
def test_writing_that_is_broken_off_leaves_no_half_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    seen: type[BaseException] | None,
) -> None:
    def fail(_: int) -> None:
        raise failure

    monkeypatch.setattr("helpers.load.results.files.os.fsync", fail)
    with pytest.raises(seen or type(failure)):
        results.write(result(), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_generators_lateness_is_kept(tmp_path: Path) -> None:
    opened = load.Run(
        {**SETTINGS, "concurrency": None, "planned": 1000}, run().records, 10.0, (), {}
    )
    written = Result.now("serving-light", runs={"served": opened})
    kept = results.read(results.write(written, folder=tmp_path)).runs["served"]
    assert kept.lateness_ms == {"p50": 0, "p99": 0, "max": 0}


def test_settings_that_were_noted_are_kept(tmp_path: Path) -> None:
    noted = run().noted(max_batch_size=8)
    path = results.write(Result.now("batching", runs={"8": noted}), folder=tmp_path)
    assert results.read(path).runs["8"].settings == {**SETTINGS, "max_batch_size": 8}


def test_runs_are_found_by_what_was_varied(tmp_path: Path) -> None:
    runs = {
        "b": run(rate=200).noted(size=8),
        "a, round 1": run().noted(size=1),
        "a, round 2": run().noted(size=1),
        "other": run(),
    }
    by_size = results.keep("batching", runs=runs, folder=tmp_path).by("size")
    assert list(by_size) == [1, 8]
    assert by_size[1].requests == 2 * 1000
    assert list(results.keep("b2", runs=runs, folder=tmp_path).by("size", "concurrency")) == [
        (1, 4),
        (8, 4),
    ]


def test_figures_of_parts_are_found_by_what_they_are_parts_of(tmp_path: Path) -> None:
    figures = {"one: queue": Figure(1), "one: layers": Figure(2), "all": Figure(3)}
    kept = results.keep("parts", runs={}, figures=figures, folder=tmp_path)
    assert kept.nested() == {"one": {"queue": 1, "layers": 2}}


def test_the_comparison_says_which_differences_are_noise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results.write(in_rounds(), folder=tmp_path / "before")
    after = results.write(in_rounds(rate=200), folder=tmp_path / "after")
    monkeypatch.setattr("sys.argv", ["compare", str(before), str(after)])
    assert compare.main() == 0
    lines = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["served: requests/s"].endswith("higher")
    assert lines["served: p50 ms"].endswith("may be noise")


def test_a_comparison_with_a_cut_off_file_is_one_line_and_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = results.write(result(), folder=tmp_path)
    cut = tmp_path / "cut.json"
    cut.write_text(path.read_text()[:500])
    monkeypatch.setattr("sys.argv", ["compare", str(path), str(cut)])
    assert compare.main() == 1
    assert "not a whole JSON file" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match="can't be written"):
        results.write(result(), folder=tmp_path / "file" / "results")


def test_a_large_difference_is_told_from_noise() -> None:
    found = {d.name: d.ratio for d in results.compare(in_rounds(), in_rounds(rate=200))}
    assert found["served: requests/s"] is not None
    assert not found["served: requests/s"].is_noise
    assert found["served: requests/s"].value == pytest.approx(2, rel=0.05)


def test_the_same_result_twice_is_noise() -> None:
    found = results.compare(in_rounds(), in_rounds())
    assert {d.name for d in found if d.ratio and not d.ratio.is_noise} == set()


def test_one_round_tells_nothing_from_noise() -> None:
    found = results.compare(result(), result(rate=200))[0].ratio
    assert found is not None
    assert found.value == pytest.approx(2, rel=0.05)
    assert (found.is_noise, found.interval) == (True, Interval(None, None))


def measured_again(*, seed: int) -> Result:
    """100 figures in five rounds of one machine, whose speed drifts by 5 % from round to round."""
    chance = np.random.default_rng(seed)
    runs = {}
    for name in range(100):
        for turn in range(5):
            speed = chance.lognormal(0, 0.05)
            records = np.zeros(chance.poisson(300 * speed), stats.RECORD)
            records["due_s"] = chance.uniform(0, 3, len(records))
            records["done_s"] = records["due_s"] + chance.lognormal(-3, 0.3, len(records)) / speed
            summary = stats.summarize(records, duration_s=4)
            runs[f"{name}, round {turn}"] = RecordedRun({}, (), (), {}, summary)
    return Result("again", "", {"processor_class": "avx2"}, {}, {}, runs, {})


def test_two_runs_of_the_same_thing_differ_in_one_comparison_in_twenty() -> None:
    told = [
        difference.ratio
        for seed in (1, 3, 5)
        for difference in results.compare(measured_again(seed=seed), measured_again(seed=seed + 1))
        if difference.ratio is not None
    ]
    # Throughput and four percentiles of 300 figures. They go up and down together, so that there
    # are 300 independent ones at the least: 4 standard errors are 5 %.
    assert len(told) > 1000
    assert 0.02 < sum(not ratio.is_noise for ratio in told) / len(told) < 0.10


def test_a_percentile_with_too_few_samples_is_compared_with_nothing() -> None:
    few = {d.name: d for d in results.compare(result(rate=5), result(rate=5))}
    assert (few["served: p99 ms"].before, few["served: p99 ms"].ratio) == (None, None)


def test_different_benchmarks_are_not_compared() -> None:
    other = Result.now("serving-inception", runs={})
    with pytest.raises(ResultError, match="serving-light and serving-inception"):
        results.compare(result(), other)


def test_a_ratio_of_certain_figures_is_as_certain() -> None:
    known = stats.ratio(3.0, Interval(3.0, 3.0), 2.0, Interval(2.0, 2.0))
    assert (known.value, known.interval.low, known.interval.high) == (1.5, 1.5, 1.5)


def test_a_ratio_is_as_uncertain_as_both_its_figures() -> None:
    # Two independent errors of the same size make one that is the square root of two as large.
    one = stats.ratio(100, Interval(90, 110), 100, Interval(100, 100)).interval
    both = stats.ratio(100, Interval(90, 110), 100, Interval(100 / 1.1, 100 / 0.9)).interval
    assert one.high == pytest.approx(1.1)
    assert both.high == pytest.approx(1.1 ** (2**0.5))


def test_a_ratio_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no ratio"):
        stats.ratio(0, Interval(None, None), 1, Interval(None, None))
