"""The TCP proxy treats connections as a ClusterIP does."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from helpers.clusters.local.proxy import Proxy

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def backend(handler: Handler) -> AsyncIterator[tuple[str, int]]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


@asynccontextmanager
async def proxied(*backends: tuple[str, int], seed: int = 1) -> AsyncIterator[tuple[Proxy, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy(listener, seed=seed)
    proxy.backends = backends
    await proxy.start()
    try:
        yield proxy, listener.getsockname()[1]
    finally:
        proxy.stop()


def names(name: bytes) -> Handler:
    """A backend that says its name and closes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name)
        writer.close()

    return handler


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A backend that answers only when the request has ended, and then with all of it."""
    writer.write(await reader.read())
    writer.close()


async def answer(port: int, request: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


def run(test: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(test, 60))


def test_what_is_sent_comes_back_whole() -> None:
    photo = bytes(range(256)) * 40_000  # 10 MB: far more than any buffer on the way

    async def test() -> bytes:
        async with backend(echo) as at, proxied(at) as (_, port):
            return await answer(port, photo)

    assert run(test()) == photo


def test_one_connection_stays_with_one_backend() -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(10):
            await reader.readexactly(1)
            writer.write(b"%d" % number)

    async def test() -> bytes:
        async with (
            backend(count) as first,
            backend(count) as second,
            proxied(first, second) as (_, port),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            said = b""
            for _ in range(10):
                writer.write(b"x")
                said += await reader.readexactly(1)
            writer.close()
            return said

    assert run(test()) == b"0123456789"  # a single count: one backend saw all requests


def test_connections_are_spread_at_random() -> None:
    async def test() -> list[bytes]:
        async with (
            backend(names(b"a")) as a,
            backend(names(b"b")) as b,
            proxied(a, b, seed=2016) as (_, port),
        ):
            return [await answer(port) for _ in range(100)]

    said = run(test())
    # 100 fair choices lie within 50 ± 4 standard deviations (5 each); the seed makes it one draw.
    assert 30 <= said.count(b"a") <= 70
    assert said.count(b"a") + said.count(b"b") == 100
    assert said != sorted(said)


def test_a_backend_that_is_taken_out_gets_no_new_connections() -> None:
    async def test() -> set[bytes]:
        async with (
            backend(names(b"a")) as a,
            backend(names(b"b")) as b,
            proxied(a, b) as (proxy, port),
        ):
            proxy.backends = [b]
            return {await answer(port) for _ in range(20)}

    assert run(test()) == {b"b"}


def test_an_open_connection_outlives_its_backends_readiness() -> None:
    async def test() -> bytes:
        async with backend(echo) as at, proxied(at) as (proxy, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"before ")
            await writer.drain()
            proxy.backends = []
            writer.write(b"after")
            writer.write_eof()
            said = await reader.read()
            writer.close()
            return said

    assert run(test()) == b"before after"


def test_without_a_ready_backend_a_connection_is_reset() -> None:
    async def test() -> None:
        async with proxied() as (_, port):
            await answer(port, b"anybody?")

    with pytest.raises(ConnectionError):
        run(test())


def test_a_backend_that_is_gone_resets_the_connection() -> None:
    async def test() -> None:
        async with backend(echo) as gone:
            pass
        async with proxied(gone) as (_, port):
            await answer(port, b"anybody?")

    with pytest.raises(ConnectionError):
        run(test())


def test_a_backend_that_dies_resets_its_connections() -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
        )
        writer.transport.abort()

    async def test() -> None:
        async with backend(die) as at, proxied(at) as (_, port):
            await answer(port, b"x")

    with pytest.raises(ConnectionError):
        run(test())


def test_a_client_that_leaves_ends_the_backends_connection() -> None:
    async def test() -> bool:
        left = asyncio.Event()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            left.set()
            writer.close()

        async with backend(wait) as at, proxied(at) as (_, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x")
            await writer.drain()
            writer.close()
            return await asyncio.wait_for(left.wait(), 30)

    assert run(test()) is True


def test_a_slow_reader_stops_the_sender() -> None:
    async def test() -> int:
        sent = 0

        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            chunk = bytes(1 << 20)
            while sent < 256:
                writer.write(chunk)
                await writer.drain()
                sent += 1

        async with backend(flood) as at, proxied(at) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
            await reader.readexactly(1)
            before = -1
            while sent > before:  # until nothing has moved for a while
                before = sent
                await asyncio.sleep(0.2)
            writer.transport.abort()
            return sent

    # The proxy holds a megabyte and a read; the rest is what the kernel buffers on four sockets.
    assert run(test()) < 64


def test_stopping_closes_the_port_and_the_connections() -> None:
    async def test() -> bytes:
        async with backend(echo) as at, proxied(at) as (proxy, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x")
            await asyncio.sleep(0.05)
            proxy.stop()
            try:
                await reader.read()
            finally:
                writer.close()
            return await answer(port)

    with pytest.raises(ConnectionError):
        run(test())
