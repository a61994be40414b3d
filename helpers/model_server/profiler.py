"""TensorFlow's profiler on the gRPC port, so that TensorBoard can capture a profile of the server.

`tensorflow.ProfilerService` as the original serves it: a request names a duration and a directory,
the server records what TensorFlow does meanwhile and writes `HOST.xplane.pb` into that directory on
its own disk. No wheel has the service's messages without all of TensorBoard, so they are declared
here. The record itself is TensorFlow's XSpace.

Source: tsl/profiler/protobuf/profiler_service.proto, xla/tsl/profiler/rpc/profiler_service_impl.cc.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.python.framework import errors_impl
from tensorflow.tsl.profiler.protobuf import profiler_options_pb2, xplane_pb2

from helpers.model_server.status import Code, StatusError

_FILE = "tsl/profiler/protobuf/profiler_service.proto"
_Field = descriptor_pb2.FieldDescriptorProto
_MESSAGES = {  # number, type and name of the fields that are used here
    "ProfileRequest": """1 uint64 duration_ms, 4 ProfileOptions opts, 5 string repository_root,
        6 string session_id, 7 string host_name, 9 bool emit_xspace""",
    "ProfileResponse": "7 bool empty_trace, 8 profiler.XSpace xspace",
    "TerminateRequest": "1 string session_id", "TerminateResponse": "",
    "MonitorRequest": "1 uint64 duration_ms", "MonitorResponse": "1 string data",
}  # fmt: skip


def _declare() -> Any:
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name=_FILE, package="tensorflow", syntax="proto3")
    for used in (profiler_options_pb2, xplane_pb2):
        pool.AddSerializedFile(used.DESCRIPTOR.serialized_pb)
        file.dependency.append(used.DESCRIPTOR.name)
    for name, fields in _MESSAGES.items():
        declared = file.message_type.add(name=name)
        for number, kind, field in map(str.split, filter(None, fields.split(","))):
            added = declared.field.add(name=field, number=int(number))
            if kind[0].islower() and "." not in kind:
                added.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
            else:
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".tensorflow.{kind}"
    service = file.service.add(name="ProfilerService")
    for method in ("Profile", "Terminate", "Monitor"):
        service.method.add(
            name=method, input_type=f".tensorflow.{method}Request",
            output_type=f".tensorflow.{method}Response",
        )  # fmt: skip
    pool.Add(file)
    return pool.FindFileByName(_FILE)


_DESCRIPTOR = _declare()
SERVICE = _DESCRIPTOR.services_by_name["ProfilerService"]


class Profiler:
    """One recording at a time; `Terminate` ends it early."""

    def __init__(self) -> None:
        self._stops: dict[str, asyncio.Event] = {}

    def served(self) -> dict[str, Callable[[Any, Any], Coroutine[Any, Any, Any]]]:
        """The service's methods by name."""
        return {"Profile": self._profile, "Terminate": self._terminate, "Monitor": self._monitor}

    async def _profile(self, request: Any, _: Any) -> Any:
        from tensorflow.python.profiler.internal import _pywrap_profiler  # 0.2 s, for those who ask

        loop = asyncio.get_running_loop()
        duration_s = (request.opts.duration_ms or request.duration_ms) / 1e3
        stop = asyncio.Event()
        with tempfile.TemporaryDirectory() as directory:
            session = _pywrap_profiler.ProfilerSession()
            try:
                session.start(directory, {})
                self._stops[request.session_id] = stop
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stop.wait(), duration_s)
                await loop.run_in_executor(None, session.export_to_tb)
            except errors_impl.OpError as error:  # one is under way
                raise StatusError(Code.INTERNAL, error.message) from error
            finally:
                del session  # ends a recording that nobody waits for any more
                if self._stops.get(request.session_id) is stop:
                    del self._stops[request.session_id]
            record = b"".join(file.read_bytes() for file in Path(directory).rglob("*.xplane.pb"))
        # Megabytes to parse: other requests don't wait for that.
        return await loop.run_in_executor(None, _answer, request, record)

    async def _terminate(self, request: Any, _: Any) -> Any:
        if request.session_id in self._stops:
            self._stops[request.session_id].set()
        return _message("TerminateResponse")()

    async def _monitor(self, request: Any, _: Any) -> Any:
        raise StatusError(Code.UNIMPLEMENTED, "unimplemented.")


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_DESCRIPTOR.message_types_by_name[name])


def _answer(request: Any, record: bytes) -> Any:
    response = _message("ProfileResponse")()
    space = xplane_pb2.XSpace.FromString(record)
    response.empty_trace = not any(line.events for plane in space.planes for line in plane.lines)
    if request.emit_xspace or not request.repository_root:
        response.xspace.ParseFromString(record)
    if request.repository_root:
        host = request.host_name.replace(":", "_")  # which some file systems don't take
        file = Path(request.repository_root) / request.session_id / f"{host}.xplane.pb"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(record)
        except OSError as error:
            text = f"can't write the profile to {file}: {error.strerror}"
            raise StatusError(Code.INTERNAL, text) from error
    return response
