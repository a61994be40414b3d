"""The load generator reports what a server was told to do wrong, and ends whatever happens.

The faulty server does wrong by counting requests, so the counts are exact. Latencies can only be
bounded from below: how much longer they are is up to the machine.
"""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from helpers import load, settings, stats
from helpers.client import protos
from helpers.errors import LoadError, ServerUnavailableError
from helpers.generator import __main__ as generator_process
from helpers.load.faulty_server import faulty_server

PHOTOS = [b"\xff\xd8" + bytes([i]) * 50_000 for i in range(3)]


def generators() -> list[psutil.Process]:
    """The generator processes that this process, or one that it started, runs."""
    children = psutil.Process().children(recursive=True)
    return [c for c in children if "helpers.generator" in " ".join(c.cmdline())]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with faulty_server(service_s=0.02) as address:
        yield address


def test_a_closed_loop_keeps_its_concurrency(address: str) -> None:
    run = load.closed_loop(address, PHOTOS, concurrency=8, duration_s=1, warmup_s=0.2)
    inside = run.records[(run.records["due_s"] <= 0.5) & (run.records["done_s"] > 0.5)]
    assert len(inside) == 8


def test_the_warm_up_is_apart_from_what_is_measured(address: str) -> None:
    run = load.closed_loop(address, PHOTOS, concurrency=4, duration_s=0.5, warmup_s=0.5)
    before = run.records[run.records["done_s"] < 0]
    assert len(before) > 0
    assert run.summary().requests == len(
        run.records[(run.records["done_s"] >= 0) & (run.records["done_s"] < 0.5)]
    )


def test_an_open_loop_sends_everything_that_was_due(address: str) -> None:
    due = load.due_times(100, duration_s=1, warmup_s=0.2, seed=3)
    run = load.open_loop(address, PHOTOS, rate_per_s=100, duration_s=1, warmup_s=0.2, seed=3)
    assert run.records["due_s"].tolist() == due.tolist()
    assert run.summary().requests == int((due >= 0).sum())


def test_nothing_is_sent_before_it_is_due(address: str) -> None:
    run = load.open_loop(address, PHOTOS, rate_per_s=100, duration_s=0.5)
    assert (run.records["sent_s"] >= run.records["due_s"]).all()


def test_a_trace_is_replayed_as_recorded(address: str) -> None:
    trace = [-0.1, 0.0, 0.01, 0.01, 0.3]
    run = load.replay(address, PHOTOS, due_s=trace)
    assert run.records["due_s"].tolist() == trace
    assert run.summary().requests == 4


def test_several_processes_share_the_load(address: str) -> None:
    due = load.due_times(100, duration_s=1, seed=5)
    run = load.open_loop(address, PHOTOS, rate_per_s=100, duration_s=1, seed=5, processes=3)
    assert run.records["due_s"].tolist() == due.tolist()
    assert np.unique(run.records["process"]).tolist() == [0, 1, 2]


def test_merged_percentiles_are_those_of_the_merged_records(address: str) -> None:
    run = load.closed_loop(address, PHOTOS, concurrency=4, duration_s=1, processes=2)
    latency = run.records["done_s"] - run.records["due_s"]
    done = (run.records["done_s"] >= 0) & (run.records["done_s"] < 1)
    parts = [latency[done & (run.records["process"] == p)] for p in (0, 1)]
    merged = stats.Histogram.merged(stats.Histogram.of(part) for part in parts)
    assert merged == run.summary().histogram


def test_a_run_ends_by_count(address: str) -> None:
    run = load.closed_loop(address, PHOTOS, concurrency=4, duration_s=60, requests=30)
    assert (len(run.records), run.summary().requests) == (30, 30)
    assert run.duration_s < 60


def test_a_run_ends_when_its_throughput_is_known_well_enough() -> None:
    # One worker at exactly 200 a second: after a second or so the interval is a few per cent wide.
    with faulty_server(service_s=0.005, workers=1) as address:
        run = load.closed_loop(address, PHOTOS, concurrency=8, duration_s=60, precision=0.2)
    assert 0 < run.duration_s < 60
    assert run.summary().throughput_interval.high is not None


def test_a_run_ends_when_its_percentile_is_known_well_enough() -> None:
    with faulty_server(service_s=0.005) as address:
        run = load.single_stream(address, PHOTOS, duration_s=60, precision=1.0)
    assert run.settings["precision_of"] == "p90"
    assert 0 < run.duration_s < 60
    assert run.summary().percentile(0.9).interval_ms.high is not None


def test_an_open_loop_that_ends_early_has_sent_all_that_was_due() -> None:
    with faulty_server(service_s=0.005) as address:
        run = load.open_loop(
            address, PHOTOS, rate_per_s=400, duration_s=60, precision=2.0, precision_of="p50"
        )
    assert run.duration_s < 60
    assert not [problem for problem in run.problems if "never sent" in problem]
    due = load.due_times(400, duration_s=60, seed=settings.SEED)
    assert run.summary().requests == int((due < run.duration_s).sum())


@pytest.mark.parametrize("wrong", [{"precision": 0}, {"precision_of": "p42"}], ids=str)
def test_a_precision_that_makes_no_sense_is_refused(address: str, wrong: dict[str, object]) -> None:
    with pytest.raises(LoadError, match="precision"):
        load.closed_loop(address, PHOTOS, concurrency=1, duration_s=1, **wrong)


def test_several_photos_travel_in_one_request(address: str) -> None:
    run = load.multi_stream(address, PHOTOS, photos_per_request=8, duration_s=60, requests=5)
    summary = run.summary()
    assert summary.images_per_s == 8 * summary.throughput_per_s
    # Each photo is answered by two labels and two scores: eight take more bytes than one.
    one = load.single_stream(address, PHOTOS, duration_s=60, requests=5)
    assert run.records["bytes"].min() > one.records["bytes"].max()


def test_a_megabyte_in_one_request_passes_the_windows(address: str) -> None:
    run = load.multi_stream(address, PHOTOS, photos_per_request=64, duration_s=60, requests=4)
    assert run.summary().successes == 4


def test_throughput_is_the_servers() -> None:
    # One worker that takes 10 ms a request, by its own clock: 100 a second. 128 in its queue keep
    # it at work through a pause of a second; one of 0.1 s at the window's end moves 10 of 300.
    with faulty_server(service_s=0.01, workers=1) as address:
        run = load.closed_loop(address, PHOTOS, concurrency=128, duration_s=3, warmup_s=0.5)
    assert run.summary().throughput_per_s == pytest.approx(100, rel=0.04)


def test_latency_is_not_less_than_the_servers() -> None:
    with faulty_server(service_s=0.1) as address:
        run = load.closed_loop(address, PHOTOS, concurrency=4, duration_s=1)
    assert run.summary().histogram.min_us >= 100_000


def test_failures_are_the_ones_injected() -> None:
    with faulty_server(fail_every=100, code="INTERNAL", details="one in 100") as address:
        run = load.closed_loop(address, PHOTOS, concurrency=4, duration_s=60, requests=500)
    assert dict(run.summary().failures) == {"INTERNAL": 5}
    assert run.details == {"INTERNAL": "one in 100"}


def test_percentiles_are_those_of_what_was_seen_within_three_digits(address: str) -> None:
    run = load.open_loop(address, PHOTOS, rate_per_s=200, duration_s=1.5)
    latency = np.sort(run.records["done_s"] - run.records["due_s"]) * 1e3
    for name, found in run.summary().latency.items():
        if found.ms is not None:
            exact = latency[math.ceil(round(found.q * len(latency), 9)) - 1]
            # A bucket's middle is off by 1/2048 at most, and microseconds are rounded.
            assert found.ms == pytest.approx(exact, rel=1 / 2048, abs=0.0006), name


def test_a_stall_shows_when_latency_counts_from_the_due_time() -> None:
    # 100 a second for 4 s; at the 100th request the server stops for 2 s, in which 200 requests
    # become due: half of all, so p99 is within the slowest of them.
    with faulty_server(service_s=0.005, stall_after=100, stall_s=2) as address:
        run = load.open_loop(address, PHOTOS, rate_per_s=100, arrivals="constant", duration_s=4)
    p99 = run.summary().p99_ms
    assert p99 is not None
    assert p99 > 1900


def test_the_naive_measure_misses_the_same_stall() -> None:
    # One request after another: the stall holds up one of 200, which p99 leaves out.
    with faulty_server(service_s=0.005, stall_after=100, stall_s=2) as address:
        run = load.single_stream(address, PHOTOS, duration_s=60, requests=200)
    summary = run.summary()
    assert summary.max_ms is not None
    assert summary.p99_ms is not None
    assert summary.p99_ms < 1900 < summary.max_ms


def test_littles_law_holds_on_a_measured_run() -> None:
    with faulty_server(service_s=0.01, workers=2) as address:
        run = load.closed_loop(address, PHOTOS, concurrency=8, duration_s=2, warmup_s=0.5)
    law = stats.littles_law(run.records, duration_s=run.duration_s)
    assert law.concurrency == pytest.approx(8, rel=0.01)
    assert law.ratio == pytest.approx(1, rel=0.05)


def test_a_server_that_fails_everything_gives_a_result_that_says_so() -> None:
    with faulty_server(fail_every=1, code="RESOURCE_EXHAUSTED") as address:
        run = load.closed_loop(address, PHOTOS, concurrency=2, duration_s=60, requests=20)
    summary = run.summary()
    assert (summary.successes, dict(summary.failures)) == (0, {"RESOURCE_EXHAUSTED": 20})
    assert summary.p50_ms is None


def test_a_server_that_never_answers_fails_by_the_deadline() -> None:
    with faulty_server(service_s=600) as address:
        run = load.open_loop(
            address, PHOTOS, rate_per_s=20, arrivals="constant", duration_s=0.5, timeout_s=0.5
        )
    assert dict(run.summary().failures) == {"DEADLINE_EXCEEDED": 10}


def test_a_server_that_dies_half_way_gives_both_halves() -> None:
    with faulty_server(die_after=30) as address:
        run = load.open_loop(
            address, PHOTOS, rate_per_s=50, arrivals="constant", duration_s=1.5, timeout_s=1
        )
    summary = run.summary()
    assert 0 < summary.successes < 30
    assert set(summary.failures) == {"UNAVAILABLE"}
    assert summary.successes + summary.failures["UNAVAILABLE"] == 75


def test_several_addresses_take_the_requests_in_turns() -> None:
    with faulty_server() as first, faulty_server(fail_every=1, code="INTERNAL") as second:
        run = load.closed_loop([first, second], PHOTOS, concurrency=2, duration_s=60, requests=40)
    assert dict(run.summary().failures) == {"INTERNAL": 20}


def test_a_dead_replica_does_not_take_requests(address: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{holder.getsockname()[1]}"
        run = load.closed_loop([dead, address], PHOTOS, concurrency=2, duration_s=60, requests=20)
    assert (run.summary().successes, dict(run.summary().failures)) == (20, {})


def test_an_address_nobody_listens_on_fails_at_once() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{holder.getsockname()[1]}"
        with pytest.raises(ServerUnavailableError, match=f"{dead}: Connection refused"):
            load.closed_loop(dead, PHOTOS, concurrency=1, duration_s=60)
    assert generators() == []


def test_a_late_generator_makes_the_run_invalid(address: str) -> None:
    run = load.open_loop(address, PHOTOS, rate_per_s=50, duration_s=1)
    late = run.records.copy()
    late["sent_s"] += 0.5
    late["done_s"] += 0.5
    lagging = load.Run(run.settings, late, run.duration_s, run.generators, run.details)
    assert "late" in " ".join(lagging.problems)


def test_a_generator_that_is_the_bottleneck_makes_the_run_invalid() -> None:
    # Far more than one process can send.
    with faulty_server() as address:
        run = load.open_loop(
            address, [b"x"], rate_per_s=500_000, arrivals="constant", duration_s=0.1, timeout_s=2
        )
    assert not run.valid
    assert "late" in " ".join(run.problems)
    assert "invalid" in repr(run)


class JumpingClock:
    """Time as the generator sees it: it jumps forward once, as when a machine was suspended."""

    def __init__(self, *, after_s: float, by_s: float) -> None:
        self.start, self.after_s, self.by_s = time.monotonic(), after_s, by_s

    def monotonic(self) -> float:
        now = time.monotonic()
        return now + self.by_s if now - self.start > self.after_s else now

    process_time = staticmethod(time.process_time)


def run_in_this_process(plan: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> load.Run:
    clock = JumpingClock(after_s=0.5, by_s=5)
    monkeypatch.setattr(generator_process, "time", clock)
    words, starter = os.pipe()  # whoever started it says nothing, and is there
    monkeypatch.setattr(generator_process.sys, "stdin", os.fdopen(words))
    generator = generator_process.Generator(plan)
    assert generator.connect() == ""
    end = generator.run(clock.monotonic())
    os.close(starter)
    records = np.fromfile(str(plan["records"]), stats.RECORD)
    used = load.Generator(end["cpu_s"], end["window_s"], end["sent"], end["paused_s"])
    asked = {"scenario": "server", "concurrency": None, "planned": 10, "photos_per_request": 1}
    return load.Run(asked, records, 8.0, (used,), {})


def test_a_clock_that_jumps_makes_the_run_invalid(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "request").write_bytes(protos.predict_request([b"x"]).SerializeToString())
    np.arange(0, 1, 0.1).astype("<f8").tofile(tmp_path / "due")
    host, port = address.split(":")
    plan = {
        "process": 0, "connections": [(host, int(port))], "method": protos.PREDICT,
        "authority": address, "timeout_s": 10, "requests": [str(tmp_path / "request")],
        "due": str(tmp_path / "due"), "concurrency": None, "count": None, "duration_s": 8.0,
        "answers": 0,
        "warmup_s": 0.0, "records": str(tmp_path / "records"),
    }  # fmt: skip
    run = run_in_this_process(plan, monkeypatch)
    assert "stood still for 5 s" in " ".join(run.problems)


def test_time_that_goes_backwards_is_told(address: str) -> None:
    run = load.closed_loop(address, PHOTOS, concurrency=1, duration_s=60, requests=5)
    records = run.records.copy()
    records["done_s"][2] = records["sent_s"][2] - 1
    jumped = load.Run(run.settings, records, run.duration_s, run.generators, run.details)
    assert "1 requests ended before they were sent" in " ".join(jumped.problems)


def test_lateness_is_recorded_of_an_open_loop_only(address: str) -> None:
    opened = load.open_loop(address, PHOTOS, rate_per_s=50, duration_s=0.5)
    closed = load.closed_loop(address, PHOTOS, concurrency=1, duration_s=60, requests=3)
    assert opened.lateness_ms is not None
    assert 0 <= opened.lateness_ms["p50"] <= opened.lateness_ms["p99"] <= opened.lateness_ms["max"]
    assert closed.lateness_ms is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"concurrency": 1, "requests": 0},
        {"concurrency": 1, "duration_s": 0},
        {"concurrency": 1, "warmup_s": -1},
        {"concurrency": 1, "processes": 2},
        {"concurrency": 1, "channels": 0},
        {"concurrency": 1, "timeout_s": 0},
        {"concurrency": 1, "photos_per_request": 0},
    ],
    ids=str,
)
def test_a_load_that_makes_no_sense_is_refused(address: str, wrong: dict[str, int]) -> None:
    with pytest.raises(LoadError, match="can't be run with"):
        load.closed_loop(address, PHOTOS, **{"duration_s": 1, **wrong})


@pytest.mark.parametrize("rate", [0, -5])
def test_a_rate_of_nothing_is_refused(address: str, rate: float) -> None:
    with pytest.raises(LoadError, match="rate"):
        load.open_loop(address, PHOTOS, rate_per_s=rate, duration_s=1)


def test_no_photo_is_refused(address: str) -> None:
    with pytest.raises(LoadError, match="photo"):
        load.closed_loop(address, [], concurrency=1, duration_s=1)


def test_a_window_shorter_than_a_request_is_open_until_one_has_ended() -> None:
    with faulty_server(service_s=0.6) as address:
        run = load.closed_loop(address, PHOTOS, concurrency=1, duration_s=0.1)
    assert run.summary().successes >= 1
    assert run.duration_s > 0.6
    assert "to get 1 answers" in " ".join(run.notes)


def test_a_window_is_open_until_it_has_as_many_answers_as_asked_for() -> None:
    with faulty_server(service_s=0.02) as address:
        run = load.closed_loop(address, PHOTOS, concurrency=2, duration_s=0.1, answers=40)
    assert run.summary().requests >= 40
    # 20 after each other, 20 ms each: the window isn't open for much longer than they take.
    assert 0.4 < run.duration_s < run.records["done_s"][39] + 1


def test_an_open_loop_goes_on_at_its_rate_until_it_has_its_answers(address: str) -> None:
    asked = {"rate_per_s": 100, "seed": 3}
    run = load.open_loop(address, PHOTOS, duration_s=0.1, answers=30, **asked)
    due = load.due_times(100, duration_s=60, seed=3)
    assert run.records["due_s"].tolist() == due[: len(run.records)].tolist()
    assert run.summary().requests == int((due < run.duration_s).sum()) >= 30
    assert not [problem for problem in run.problems if "never sent" in problem]


def test_a_window_that_does_not_get_its_answers_ends_and_says_so() -> None:
    with faulty_server(service_s=600) as address:
        run = load.closed_loop(
            address, PHOTOS, concurrency=2, duration_s=0.2, answers=50, timeout_s=0.5
        )
    assert dict(run.summary().failures) == {"DEADLINE_EXCEEDED": 2}
    assert 0.7 <= run.duration_s < 60
    assert "2 requests ended in the window, not the 50 asked for" in run.notes


def test_a_window_that_has_its_answers_is_as_long_as_asked_for(address: str) -> None:
    run = load.closed_loop(address, PHOTOS, concurrency=2, duration_s=0.5, answers=3)
    assert (run.duration_s, [note for note in run.notes if "window" in note]) == (0.5, [])


def test_a_run_that_ends_by_count_has_all_of_its_requests() -> None:
    # They are all sent at once, and none is answered within the window that was asked for.
    with faulty_server(service_s=0.5) as address:
        run = load.closed_loop(address, PHOTOS, concurrency=4, duration_s=0.1, requests=4)
    assert run.summary().successes == 4


def test_a_precision_that_was_not_reached_is_said(address: str) -> None:
    run = load.closed_loop(address, PHOTOS, concurrency=4, duration_s=0.5, precision=0.0001)
    assert run.duration_s == 0.5
    assert "not to the ±0.0% asked for: measure for longer" in " ".join(run.notes)


def test_what_the_generator_takes_of_the_servers_machine_is_said(address: str) -> None:
    run = load.closed_loop(address, PHOTOS, concurrency=1, duration_s=60, requests=3)
    cores = run.settings["cores_shared"]
    busy, idle = (
        load.Run(run.settings, run.records, 1.0, (load.Generator(share * cores, 1.0, 3),), {})
        for share in (0.04, 0.02)
    )
    assert "the generator took 4.0% of the machine" in " ".join(busy.notes)
    assert "of the machine" not in " ".join(idle.notes)


def test_a_generator_elsewhere_takes_nothing_of_the_servers_machine(address: str) -> None:
    run = load.closed_loop(address, PHOTOS, concurrency=1, duration_s=60, requests=3)
    far = load.Run({**run.settings, "cores_shared": None}, run.records, 1.0, run.generators, {})
    assert far.share is None


def test_ctrl_c_leaves_no_process(address: str, tmp_path: Path) -> None:
    script = (
        "from helpers import load\n"
        f"load.closed_loop({address!r}, [b'x'], concurrency=2, duration_s=600, processes=2)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=settings.ROOT, stderr=subprocess.PIPE
    ) as caller:
        started = wait_for_generators(2)
        caller.send_signal(signal.SIGINT)
        caller.communicate(timeout=60)
    assert ended(started)


def test_a_caller_that_is_killed_leaves_no_process(address: str) -> None:
    script = (
        "from helpers import load\n"
        f"load.closed_loop({address!r}, [b'x'], concurrency=1, duration_s=600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=settings.ROOT) as caller:
        started = wait_for_generators(1)
        caller.kill()
    assert ended(started)


def test_a_generator_that_is_killed_is_an_error(address: str) -> None:
    script = (
        "from helpers import load, errors\n"
        "try:\n"
        f"    load.closed_loop({address!r}, [b'x'], concurrency=1, duration_s=600)\n"
        "except errors.LoadError as error:\n"
        "    print(error)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=settings.ROOT, stdout=subprocess.PIPE, text=True
    ) as caller:
        os.kill(wait_for_generators(1)[0].pid, signal.SIGKILL)
        said, _ = caller.communicate(timeout=60)
    assert said.startswith("A load generator failed")


def test_a_notebook_kernel_can_run_a_load(address: str, tmp_path: Path) -> None:
    # Its `__main__` is no file: a generator that imported it again would fail.
    code = (
        "import json\n"
        "from helpers import load\n"
        f"run = load.closed_loop({address!r}, [b'x'], concurrency=1, duration_s=60, requests=3)\n"
        "print(json.dumps(run.summary().successes))\n"
    )
    done = subprocess.run(
        [sys.executable, "-"], input=code, cwd=settings.ROOT, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == 3


def wait_for_generators(count: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 60
    while len(found := generators()) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(found) == count
    return found


def ended(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=60)
    return not alive
