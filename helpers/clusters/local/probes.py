"""The four kinds of probes, asked as the kubelet asks them: anew each time, with a time-out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tornado.httpclient import AsyncHTTPClient, HTTPError

from helpers.clusters.arguments import on_this_machine
from helpers.clusters.manifest import Probe

_CHANNEL = (
    ("grpc.enable_http_proxy", 0),  # the replica is on this machine, whatever http_proxy says
    ("grpc.use_local_subchannel_pool", 1),  # no connection is shared with an earlier probe
    # The kubelet keeps trying to connect until its time-out; so does this, every 100 ms.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
)


async def ask(
    probe: Probe, *, ports: Mapping[int, int], env: Mapping[str, str], models: Path
) -> str:
    """Asks once, within the probe's time-out.

    Args:
        probe: what to ask.
        ports: this machine's port for each of the container's.
        env: the replica's environment, for `exec`.
        models: what the container sees as `/models`, for `exec`.

    Returns:
        Nothing when the replica is well, otherwise why not.
    """
    port = ports.get(probe.port, probe.port)
    if probe.action == "exec":
        asking = _exec(probe, ports, env, models)
    elif probe.action == "grpc":
        asking = _grpc(probe, port)
    elif probe.action == "httpGet":
        asking = _http_get(probe, port)
    else:
        asking = _tcp_socket(port)
    try:
        # gRPC has this deadline itself, and then says what it was waiting for.
        spare_s = 1 if probe.action == "grpc" else 0
        return await asyncio.wait_for(asking, probe.timeout_s + spare_s)
    except asyncio.TimeoutError:
        return f"no answer in {probe.timeout_s} s"
    except (OSError, ValueError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)


async def _grpc(probe: Probe, port: int) -> str:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_CHANNEL) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=probe.service),
                timeout=probe.timeout_s,
                wait_for_ready=True,
            )
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                connected = channel.get_state() == grpc.ChannelConnectivity.READY
                return f"no {'answer' if connected else 'connection'} in {probe.timeout_s} s"
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                return "the server has no health service (--enable_grpc_healthcheck_service)"
            return f"{error.code().name} {error.details()}"
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return "" if status == "SERVING" else status


async def _http_get(probe: Probe, port: int) -> str:
    url = f"{probe.scheme.lower()}://127.0.0.1:{port}/{probe.path.lstrip('/')}"
    try:
        # Like the kubelet: any code from 200 to 399 will do, and no certificate is checked.
        await AsyncHTTPClient().fetch(
            url,
            headers=dict(probe.headers),
            request_timeout=probe.timeout_s,
            follow_redirects=False,
            validate_cert=False,
        )
    except HTTPError as error:
        return "" if 200 <= error.code < 400 else f"HTTP {error.code} {error.message}"
    return ""


async def _tcp_socket(port: int) -> str:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""


async def _exec(
    probe: Probe, ports: Mapping[int, int], env: Mapping[str, str], models: Path
) -> str:
    process = await asyncio.create_subprocess_exec(
        *(localize_command(word, ports=ports, models=models) for word in probe.command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=dict(env),
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode == 0:
        return ""
    words = output.decode(errors="replace").strip().splitlines()
    return f"exit status {process.returncode}" + (f", {words[-1]}" if words else "")


def localize_command(word: str, *, ports: Mapping[int, int], models: Path) -> str:
    """A word of a container's command with this machine's paths, and ports after a colon."""
    moved = on_this_machine(word, models=models)
    return re.sub(r":(\d+)\b", lambda m: f":{ports.get(int(m[1]), m[1])}", moved)
