"""`make bench`: what it says of goals, and of a benchmark that can't be run."""

from pathlib import Path

import pytest

import benchmarks.__main__ as bench
from helpers.errors import SetupError
from helpers.load.results import Figure, Result

RESULT = Result.now("some-bench", runs={}, figures={"ratio": Figure(0.9)})


def fake(name: str, text: str) -> bench.Bench:
    return bench.Bench(name, 1, 2, lambda: RESULT, lambda result: text)


def failing() -> Result:
    raise SetupError("ghz can't be built", cause="there is no Go here", next_step="Install Go.")


def test_a_benchmark_leaves_a_file(tmp_path: Path) -> None:
    text, path = bench.run(fake("one", "0.9 (goal 1 MISSED)"), long=False, folder=tmp_path)
    assert text == "0.9 (goal 1 MISSED)"
    assert path is not None
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_one_that_cannot_be_measured_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    broken = bench.Bench("broken", 1, 1, failing, lambda _: "")
    text, path = bench.run(broken, long=False, folder=tmp_path)
    assert text.startswith("NOT MEASURED: ghz can't be built")
    assert (path, list(tmp_path.iterdir())) == (None, [])


def test_goals_that_are_missed_are_named_as_loudly_as_those_reached() -> None:
    said = bench.summary({"a": "x: 1 (goal 1 reached)\ny: 2", "b": "z: 3 (goal 4 MISSED)"})
    assert said.splitlines() == [
        "reached       a  x: 1 (goal 1 reached)",
        "MISSED        b  z: 3 (goal 4 MISSED)",
    ]


def test_the_length_is_stated_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = bench.Bench("one", 240, 600, lambda: RESULT, lambda _: "fine")
    monkeypatch.setattr(bench, "BENCHES", (one,))
    assert bench.main(["--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("1 benchmarks, about 4 minutes, on ")


def test_what_was_not_measured_makes_the_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = bench.Bench("broken", 1, 1, failing, lambda _: "")
    monkeypatch.setattr(bench, "BENCHES", (fake("one", ""), broken))
    assert bench.main(["--folder", str(tmp_path)]) == 1


def test_a_name_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["nonsense"])
    assert "there is no nonsense" in capsys.readouterr().err
