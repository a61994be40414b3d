"""A profile of the server, captured as TensorBoard captures it."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from running import Server, listens, request, serving, tensor

from helpers.client import protos

with protos._stand_in_for_tensorflow():
    xplane_pb2 = importlib.import_module("tensorflow.tsl.profiler.protobuf.xplane_pb2")

# TensorFlow's own client, which is what TensorBoard's "capture profile" calls.
CAPTURE = """
import sys
from tensorflow.python.profiler import profiler_client
profiler_client.trace(sys.argv[1], sys.argv[2], 700)
"""


@pytest.fixture
def busy(models: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that always has something to do."""
    stop = threading.Event()
    sent = request("half", {"x": tensor([[4.0]], "float32")})

    def send() -> None:
        while not stop.is_set():
            running.predict(sent)

    flags = ["--model_name=half", f"--model_base_path={models / 'half'}"]
    with serving(tmp_path / "log", *flags) as running, ThreadPoolExecutor() as pool:
        sender = pool.submit(send)
        yield running
        stop.set()
        sender.result()


def message(**fields: tuple[int, str]) -> Any:
    """A message class with these fields, as profiler_service.proto numbers them."""
    file = descriptor_pb2.FileDescriptorProto(name="fields.proto", syntax="proto3")
    made = file.message_type.add(name="Fields")
    for name, (number, kind) in fields.items():
        kind_number = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
        made.field.add(name=name, number=number, type=kind_number)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Fields"))


Request = message(
    duration_ms=(1, "uint64"), repository_root=(5, "string"), session_id=(6, "string"),
    host_name=(7, "string"), emit_xspace=(9, "bool"),
)  # fmt: skip
Response = message(empty_trace=(7, "bool"), xspace=(8, "bytes"))
Terminate = message(session_id=(1, "string"))


def call(server: Server, method: str, sent: Any) -> Any:
    made = server.channel.unary_unary(f"/tensorflow.ProfilerService/{method}")
    return made.future(sent.SerializeToString(), timeout=60)


def under_way(server: Server, sent: Any) -> tuple[Any, Any]:
    """A profile that is being captured, and how another was refused meanwhile."""
    while True:
        profile = call(server, "Profile", sent)
        while not profile.done():  # it is the one refused if the short one came first
            short = Request(duration_ms=1, session_id=sent.session_id)
            refused = call(server, "Profile", short).exception()
            if refused is not None and not profile.done():
                return profile, refused


def events(space: Any) -> set[str]:
    """The names of what was recorded."""
    return {
        plane.event_metadata[event.metadata_id].name
        for plane in space.planes
        for line in plane.lines
        for event in line.events
    }


def test_tensorflows_client_captures_a_profile(busy: Server, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    arguments = [sys.executable, "-c", CAPTURE, f"grpc://127.0.0.1:{busy.port}", str(logs)]
    finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    # Where TensorBoard looks.
    (file,) = (logs / "plugins" / "profile").glob("*/*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    assert any("SessionRun" in name or "Session" in name for name in events(space)), events(space)


def test_a_profile_comes_in_the_answer_where_no_directory_is_named(busy: Server) -> None:
    answer = Response.FromString(call(busy, "Profile", Request(duration_ms=300)).result())
    assert not answer.empty_trace
    assert events(xplane_pb2.XSpace.FromString(answer.xspace))


def test_one_profile_is_captured_at_a_time_and_can_be_ended(busy: Server, tmp_path: Path) -> None:
    first = Request(duration_ms=50_000, session_id="first", repository_root=str(tmp_path),
                    host_name="host:8500", emit_xspace=True)  # fmt: skip
    profile, refused = under_way(busy, first)
    assert refused.code() == grpc.StatusCode.INTERNAL
    assert refused.details() == "Another profiling session active."
    call(busy, "Terminate", Terminate(session_id="first")).result()
    answer = Response.FromString(profile.result())
    written = (tmp_path / "first" / "host_8500.xplane.pb").read_bytes()
    assert xplane_pb2.XSpace.FromString(written) == xplane_pb2.XSpace.FromString(answer.xspace)


def test_a_client_that_goes_away_ends_its_profile(busy: Server) -> None:
    given_up, _ = under_way(busy, Request(duration_ms=50_000))
    given_up.cancel()
    while call(busy, "Profile", Request(duration_ms=1)).exception() is not None:
        pass


def test_a_directory_that_cannot_be_written_is_named(busy: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sent = Request(duration_ms=1, repository_root=str(tmp_path / "file"), host_name="host")
    refused = call(busy, "Profile", sent).exception()
    assert refused.code() == grpc.StatusCode.INTERNAL
    assert str(tmp_path / "file") in refused.details()


def test_monitoring_is_for_accelerators_only(busy: Server) -> None:
    refused = call(busy, "Monitor", Terminate()).exception()
    assert refused.code() == grpc.StatusCode.UNIMPLEMENTED


def test_the_profiler_can_be_left_out(models: Path, tmp_path: Path) -> None:
    flags = ["--model_name=half", f"--model_base_path={models / 'half'}"]
    with serving(tmp_path / "log", *flags, "--enable_profiler=false") as running:
        refused = call(running, "Profile", Request(duration_ms=1)).exception()
        assert refused.code() == grpc.StatusCode.UNIMPLEMENTED
        assert listens(running.port)
