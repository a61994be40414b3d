"""What a server took for a request or a version goes back to the system."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from running import Server, request, serving, tensor, until

GROWTH = 1.05  # at most, over the same server a while before
PHOTO = 58_000  # bytes, of a body of the usual size
LARGE = 50_000_000


def resident(server: Server) -> int:
    """Bytes that the server holds: the least of one second, since an answer takes some and frees
    it."""
    process, end, found = psutil.Process(server.process.pid), time.monotonic() + 1, []
    while not found or time.monotonic() < end:
        found.append(int(process.memory_info().rss))
        time.sleep(0.02)
    return min(found)


@contextmanager
def others(send: Callable[[], Any], expected: Any) -> Iterator[None]:
    """Somebody else sends requests one after another meanwhile, and each is answered."""
    stop, wrong, count = threading.Event(), [], 0

    def run() -> None:
        nonlocal count
        while not stop.wait(0.01):
            try:
                answer = send()
            except Exception as error:
                answer = error
            count += 1
            if answer != expected:
                wrong.append(answer)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert wrong == []
    assert count > 0


def replaced(server: Server, number: int) -> bool:
    """Whether a version has come and the one before it is unloaded."""
    states = server.states("ballast")
    return (states.get(number), states.get(number - 1)) == ("AVAILABLE", "END")


def cut_off(server: Server, *, size: int, times: int) -> None:
    """Send all of a body but its last byte, and go away."""
    head = "POST /v1/models/half:predict HTTP/1.1\r\nHost: a\r\nContent-Length: "
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", server.rest_port), 30) as connection:
            connection.sendall(f"{head}{size + 1}\r\n\r\n".encode() + b"x" * size)


def test_two_thousand_uploads_that_are_cut_off_leave_nothing_behind(
    models: Path, tmp_path: Path
) -> None:
    def ask() -> Any:
        return server.http("/v1/models/half:predict", {"instances": [[4.0]]})

    with (
        serving(
            tmp_path / "log", "--model_name=half", f"--model_base_path={models / 'half'}"
        ) as server,
        others(ask, (200, {"predictions": [[5.0]]})),
    ):
        cut_off(server, size=PHOTO, times=100)
        cut_off(server, size=LARGE, times=2)
        before = resident(server)
        for _ in range(5):
            cut_off(server, size=PHOTO, times=398)
            cut_off(server, size=LARGE, times=2)
        until(lambda: resident(server) < GROWTH * before)


def test_thirty_versions_leave_the_memory_as_it_was_after_the_third(
    models: Path, tmp_path: Path
) -> None:
    base = tmp_path / "ballast"
    shutil.copytree(models / "ballast" / "1", base / "1")
    sent = request("ballast", {"x": tensor([0.0], "float32")})
    with serving(
        tmp_path / "log", "--model_name=ballast", f"--model_base_path={base}", "--enable_batching"
    ) as server:
        value = server.predict(sent).outputs["y"].float_val[0]
        with others(lambda: server.predict(sent).outputs["y"].float_val[0], value):
            for number in range(2, 31):
                shutil.copytree(base / str(number - 1), tmp_path / "unfinished")
                (tmp_path / "unfinished").rename(base / str(number))
                until(lambda new=number: replaced(server, new))
                shutil.rmtree(base / str(number - 1))
                if number == 3:
                    before = resident(server)
            after = resident(server)
    assert after < GROWTH * before


def test_a_version_that_fails_its_warm_up_leaves_its_error_and_nothing_else(
    models: Path, tmp_path: Path
) -> None:
    """An exception keeps the frames that it passed, and what was loaded in them."""
    base = tmp_path / "ballast"
    shutil.copytree(models / "ballast" / "1", base / "1")
    with serving(
        tmp_path / "log", "--model_name=ballast", f"--model_base_path={base}",
        "--max_num_load_retries=0",
    ) as server:  # fmt: skip
        for number in range(2, 9):
            broken = tmp_path / "unfinished"
            shutil.copytree(base / "1", broken)
            (broken / "assets.extra").mkdir()
            (broken / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no record " * 20)
            broken.rename(base / str(number))
            until(lambda new=number: server.states("ballast").get(new) == "END")
            if number == 3:
                before = resident(server)
        assert resident(server) < before + 24_000_000  # less than a version; five have failed
        assert "DATA_LOSS" in server.log


def test_an_idle_batch_thread_keeps_no_version_in_memory(models: Path, tmp_path: Path) -> None:
    """The last batch is what it would keep, with the version that it ran on."""
    base = tmp_path / "ballast"
    shutil.copytree(models / "ballast" / "1", base / "1")
    with serving(
        tmp_path / "log", "--model_name=ballast", f"--model_base_path={base}", "--enable_batching"
    ) as server:
        server.predict(request("ballast", {"x": tensor([0.0], "float32")}))
        before = resident(server)
        (base / "1").rename(tmp_path / "1")
        until(lambda: server.states("ballast") == {1: "END"})
        until(lambda: resident(server) < before - 24_000_000)  # the variables, at least
