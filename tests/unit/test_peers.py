"""The peers' benchmark, as far as it can be tested without installing them."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small_servers import Quiet, served

from benchmarks.peers import environments, http_load, servers, table
from benchmarks.peers.http1 import whole
from benchmarks.peers.rounds import NAMES, Turns, differences
from helpers import settings
from helpers.client import addresses
from helpers.errors import ServerUnavailableError
from helpers.load.results import Figure, Result
from helpers.stats import Records

SERVICE_S = 0.05


@contextmanager
def web_server(*, status: int = 200, chunked: bool = False) -> Iterator[tuple[str, int]]:
    """A server that takes SERVICE_S for each request, however many there are."""

    class Handler(Quiet):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # noqa: N802
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(SERVICE_S)
            self.send_response(status)
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"2\r\n{}\r\n0\r\n\r\n" if chunked else b"{}")

    with served(Handler) as address:
        yield addresses.split(address)


def load(address: tuple[str, int], **options: Any) -> Any:
    request = http_load.request("/x", b"photo" * 20_000, servers.JPEG)
    return http_load.closed_loop(address, [request], concurrency=4, duration_s=1.0, **options)


def in_flight(records: Records) -> int:
    """The most requests that were on their way at once."""
    events = [(r["sent_s"], 1) for r in records] + [(r["done_s"], -1) for r in records]
    most = now = 0
    for _, change in sorted(events):
        now += change
        most = max(most, now)
    return most


@pytest.mark.parametrize("chunked", [False, True])
def test_no_latency_over_http_is_below_the_service_time(chunked: bool) -> None:
    with web_server(chunked=chunked) as address:
        summary = load(address).summary()
    assert summary.failures == {}
    assert summary.histogram.min_us >= 1e6 * SERVICE_S * 0.999  # the histogram has three digits


def test_the_loop_over_http_keeps_its_concurrency_and_no_more() -> None:
    with web_server() as address:
        assert in_flight(load(address).records) == 4


def test_a_status_that_is_no_success_counts_as_a_failure_with_its_words() -> None:
    with web_server(status=503) as address:
        run = load(address)
    assert set(run.summary().failures) == {"UNAVAILABLE"}
    assert "503" in run.details["UNAVAILABLE"]


def test_a_request_over_http_is_given_up_at_its_deadline() -> None:
    with web_server() as address:
        run = load(address, timeout_s=SERVICE_S / 5)
    assert "DEADLINE_EXCEEDED" in run.summary().failures


def test_an_address_where_nobody_listens_is_an_error_that_names_it() -> None:
    with pytest.raises(ServerUnavailableError, match=r"127\.0\.0\.1:9"):
        load(("127.0.0.1", 9))


def test_an_answer_is_whole_with_its_last_byte() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    assert [whole(answer[:end]) for end in (10, len(answer) - 1, len(answer))] == [0, 0, 1]


def test_an_answer_that_does_not_say_where_it_ends_is_refused() -> None:
    with pytest.raises(ValueError, match="neither"):
        whole(b"HTTP/1.1 200 OK\r\n\r\nabc")


@pytest.mark.parametrize("server", servers.SERVERS, ids=lambda server: server.name)
def test_a_photo_is_whole_in_each_servers_request(server: servers.Server) -> None:
    photo = bytes(range(256))
    assert photo in server.body(photo) or servers._base64(photo).encode() in server.body(photo)


def test_tritons_head_is_as_long_as_the_header_says() -> None:
    (triton,) = (server for server in servers.SERVERS if server.name == "Triton")
    photo = b"x" * 123_456
    head = int(triton.headers["Inference-Header-Content-Length"])
    (size,) = {
        tensor["parameters"]["binary_data_size"]
        for tensor in json.loads(triton.body(photo)[:head])["inputs"]
    }
    assert len(triton.body(photo)) == head + size


@pytest.mark.parametrize("name", environments.NAMES)
def test_what_a_peer_asks_for_is_pinned_with_hashes_and_without_an_address(name: str) -> None:
    folder = environments.FOLDER / name
    asked = re.findall(r"^([a-z-]+)(?:\[\w+\])?==(\S+)", _read(folder / "requirements.in"), re.M)
    lock = _read(folder / "requirements.lock")
    for package, version in asked:
        assert f"{package}" in lock
        assert re.search(rf"^{package}(\[\w+\])?=={re.escape(version)}\b", lock, re.M), package
    assert lock.count("--hash=sha256:") >= lock.count("==")
    assert "://" not in lock


@pytest.mark.parametrize("name", environments.NAMES)
def test_peers_run_the_tensorflow_that_we_run(name: str) -> None:
    ours = re.search(r'"tensorflow==(\S+)"', _read(settings.ROOT / "pyproject.toml"))
    assert ours
    assert f"tensorflow=={ours[1]}\n" in _read(environments.FOLDER / name / "requirements.in")


def test_an_environment_of_other_pins_is_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "litserve").mkdir()
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    places = set()
    for pin in ("a==1", "a==2"):
        (tmp_path / "litserve" / "requirements.lock").write_text(pin)
        places.add(environments.location("litserve"))
    assert len(places) == 2


def test_turns_go_round_and_leave_out_what_was_taken_or_failed(tmp_path: Path) -> None:
    names = ["in process", "LitServe", "Triton"]
    turns = Turns("light", rounds=2, seconds=1, names=names, kept=tmp_path)
    figures = {"in process, round 1": Figure(1), "Triton, failed": Figure(1)}
    result = Result.now("peers-light", runs={}, figures=figures)
    assert list(turns.missing(result)) == [("LitServe", 1), ("in process", 2), ("LitServe", 2)]


def test_differences_count_other_labels_and_the_worst_score_as_a_share_of_the_best() -> None:
    expected = [(["a", "b"], [0.5, 0.2]), (["a", "b"], [0.5, 0.2])]
    answers = [(["a", "b"], [0.5, 0.2]), (["b", "a"], [0.45, 0.2])]
    assert differences(answers, expected) == (1, pytest.approx(0.1))


def test_the_means_are_of_each_rounds_ratio() -> None:
    figures = {
        f"{name}, round {i}": Figure(value, unit="images/s")
        for name, values in {table.FAST: (10, 30), table.OPENVINO: (20, 40)}.items()
        for i, value in enumerate(values, 1)
    }
    figures[f"{table.OPENVINO}, round 1, CPU"] = Figure(9.0)  # no rate
    figures = dict(reversed(figures.items()))  # in whatever order the rounds were taken
    found = table.with_figures(Result.now("peers-inception-v3", runs={}, figures=figures)).figures
    assert found["fast form over OpenVINO"].value == pytest.approx((10 / 20 + 30 / 40) / 2)
    assert found[table.OPENVINO].value == pytest.approx(30)


def test_both_networks_measure_every_server() -> None:
    for names in NAMES.values():
        assert {server.name for server in servers.SERVERS} < set(names)


def _read(path: Path) -> str:
    return path.read_text()
