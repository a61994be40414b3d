"""Directories that look like versions, and configurations that wait for something."""

from __future__ import annotations

import contextlib
import queue
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from running import (
    Server,
    config_file,
    listens,
    model_management_pb2,
    refusal,
    request,
    serving,
    tensor,
    until,
)

LARGEST = 2**63 - 1
BY_STRFTIME = "20261127090912123456"  # %Y%m%d%H%M%S%f: 20 digits, more than an int64 holds


def half(server: Server, **settings: object) -> float:
    sent = request("half", {"x": tensor([[4.0]], "float32")}, **settings)  # type: ignore[arg-type]
    return float(server.predict(sent).outputs["y"].float_val[0])


def add(models: Path, version: int, to: Path) -> None:
    """A version appears whole, under any name."""
    unfinished = to.parent / f"unfinished-{to.name}"
    shutil.copytree(models / "half" / str(version), unfinished)
    unfinished.rename(to)


@pytest.fixture
def one(models: Path, tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server over a base path with version 1, and the base path."""
    base = tmp_path / "half"
    base.mkdir()
    add(models, 1, base / "1")
    with serving(
        tmp_path / "log", "--model_name=half", f"--model_base_path={base}",
        "--enable_grpc_healthcheck_service", "--max_num_load_retries=0",
    ) as running:  # fmt: skip
        yield running, base


def test_a_name_that_no_int64_holds_is_no_version_and_is_said(
    one: tuple[Server, Path], models: Path
) -> None:
    server, base = one
    for name in (BY_STRFTIME, str(LARGEST + 1), "9" * 200):
        add(models, 2, base / name)
    until(lambda: f"{BY_STRFTIME} is larger than {LARGEST}" in server.log)
    assert server.states("half") == {1: "AVAILABLE"}
    assert half(server) == 3.0


def test_the_largest_int64_is_a_version(one: tuple[Server, Path], models: Path) -> None:
    server, base = one
    add(models, 2, base / str(LARGEST))
    until(lambda: server.states("half") == {1: "END", LARGEST: "AVAILABLE"})
    assert half(server, version=LARGEST) == 4.0
    assert server.http(f"/v1/models/half/versions/{LARGEST}")[0] == 200


def test_of_two_names_of_one_version_the_one_sorted_later_is_loaded_with_a_warning(
    models: Path, tmp_path: Path
) -> None:
    """Whatever the file system's order: each name is made first in one of two base paths."""
    for order in (["001", "1", "01"], ["1", "01", "001"]):
        base = tmp_path / order[0] / "half"
        base.mkdir(parents=True)
        for name in order:
            add(models, 2 if name == "1" else 1, base / name)
        with serving(tmp_path / "log", "--model_name=half", f"--model_base_path={base}") as server:
            assert server.states("half") == {1: "AVAILABLE"}
            assert half(server) == 4.0
            assert "Version 1 will be loaded from 1, 01 will be ignored" in server.log


@pytest.mark.parametrize("version", [str(LARGEST + 1), BY_STRFTIME, "9" * 5000])
def test_a_version_in_a_url_that_no_int64_holds_is_a_bad_request(
    server: Server, version: str
) -> None:
    for path in (f"/v1/models/half/versions/{version}", f"/v1/models/half/versions/{version}:x"):
        assert server.http(path)[0] == 400
    status, answer = server.http(
        f"/v1/models/half/versions/{version}:predict", {"instances": [[4.0]]}
    )
    assert (status, answer["error"][:90]) == (
        400, f"Failed to convert version: {version} to numeric."[:90],
    )  # fmt: skip


def test_a_broken_version_that_goes_again_takes_no_answer_with_it(
    one: tuple[Server, Path],
) -> None:
    """The good one stays loaded throughout; unloaded and loaded again, it would miss requests."""
    server, base = one
    stop, failed = threading.Event(), []

    def send() -> None:
        while not stop.is_set():
            try:
                half(server)
            except Exception as error:
                failed.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        (base / "2").mkdir()
        until(lambda: server.states("half").get(2) == "END")
        (base / "2").rmdir()
        looks = server.log.count("Successfully loaded")
        (base / "3").mkdir()  # seen by a later look than the one that missed 2
        until(lambda: server.states("half").get(3) == "END")
    finally:
        stop.set()
        sender.join()
    assert (failed, looks) == ([], 1)


def listen(watching: Any, said: queue.SimpleQueue[int]) -> None:
    """Note each status that a Watch reports, until it is cancelled."""
    with contextlib.suppress(grpc.RpcError):
        for answer in watching:
            said.put(answer.status)


def health(server: Server) -> int:
    stub = health_pb2_grpc.HealthStub(server.channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=30).status)


def test_a_typo_in_a_polled_file_is_corrected_by_the_next_look_and_leaves_the_rest_ready(
    listed: tuple[Server, Path], models: Path
) -> None:
    server, file = listed
    watching = health_pb2_grpc.HealthStub(server.channel).Watch(
        health_pb2.HealthCheckRequest(), timeout=300
    )
    said: queue.SimpleQueue[int] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(watching, said)).start()
    config_file(file, {"half": models / "half", "photos": models / "photoss"})
    until(lambda: "Could not find base path" in server.log)
    assert half(server) == 5.0
    config_file(file, {"half": models / "half", "photos": models / "photos"})
    until(lambda: server.states("photos") == {1: "AVAILABLE"})
    config_file(file, {"photos": models / "photos"})  # and the one after it counts as well
    until(lambda: server.states("half") == {3: "END"})
    assert said.get() == health_pb2.HealthCheckResponse.SERVING
    assert said.empty()  # readiness never changed
    watching.cancel()


def test_a_typo_at_the_start_is_corrected_by_the_next_look(models: Path, tmp_path: Path) -> None:
    file = config_file(tmp_path / "models.config", {"half": models / "hlaf"})
    server = Server(
        tmp_path / "log", f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1",
        "--file_system_poll_wait_seconds=600",
    )  # fmt: skip
    try:
        until(lambda: "Could not find base path" in server.log, 90)
        assert not listens(server.port)
        config_file(file, {"half": models / "half"})
        assert half(server.wait_until_ready()) == 5.0
    finally:
        assert server.stop() == 0


def test_readiness_goes_when_a_typo_takes_the_only_model(
    listed: tuple[Server, Path], models: Path
) -> None:
    server, file = listed
    config_file(file, {"hlaf": models / "hlaf"})
    until(lambda: health(server) == health_pb2.HealthCheckResponse.NOT_SERVING)
    config_file(file, {"half": models / "half"})
    until(lambda: health(server) == health_pb2.HealthCheckResponse.SERVING)


def test_a_reload_that_waits_for_a_base_path_gives_way_to_the_next_one(
    listed: tuple[Server, Path], models: Path
) -> None:
    server, _ = listed
    sent = model_management_pb2.ReloadConfigRequest()
    text = 'config {{ name: "{0}" base_path: "{1}" model_platform: "tensorflow" }}'
    text_format.Parse(
        f"model_config_list {{ {text.format('half', models / 'half')} "
        f"{text.format('new', models / 'nowhere')} }}",
        sent.config,
    )
    code, message = refusal(server.model.HandleReloadConfigRequest, sent)
    assert (code, message) == (
        "ABORTED", "A newer configuration, without new, has replaced this one",
    )  # fmt: skip


def test_a_label_is_given_as_soon_as_its_version_is_there(models: Path, tmp_path: Path) -> None:
    base = tmp_path / "half"
    base.mkdir()
    add(models, 1, base / "1")
    file = config_file(tmp_path / "models.config", {"half": base})
    every = "model_version_policy { all {} } version_labels { key: 'stable' value: 2 }"
    with serving(
        tmp_path / "log", f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1",
    ) as server:  # fmt: skip
        config_file(file, {"half": base}, half=every)
        until(lambda: "Request to assign label to version 2 of model half" in server.log)
        add(models, 2, base / "2")
        until(lambda: "Applied" in server.log.rpartition("Request to assign label")[2])
        assert half(server, label="stable") == 4.0


def test_an_empty_list_of_versions_says_what_is_waited_for(models: Path, tmp_path: Path) -> None:
    file = config_file(
        tmp_path / "models.config", {"half": models / "half"},
        half="model_version_policy { specific {} }",
    )  # fmt: skip
    server = Server(tmp_path / "log", f"--model_config_file={file}")
    try:
        until(lambda: "'specific' version policy of servable half lists no version" in server.log)
        assert f"Add `versions: N` to it; {models / 'half'} holds 1, 2, 3." in server.log
        assert not listens(server.port)
    finally:
        server.stop()
