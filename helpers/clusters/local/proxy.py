"""A TCP proxy that treats connections as a ClusterIP does.

kube-proxy picks a backend for a connection, at random among the ready ones, and keeps it for as
long as the connection lives, whatever becomes of the backend's readiness. It knows nothing of
requests: that a gRPC client with one channel stays with one replica is exactly this.

What differs: kube-proxy has the kernel rewrite addresses, this one copies bytes, about 60 us of
CPU for a 53 kB photo and its answer. So it lives in the supervisor's process, where that takes no
time from a notebook's kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Sequence

_CONNECT_TIMEOUT_S = 5.0
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with 0 s: close() sends RST


class Proxy:
    """Forwards the connections that a listening socket accepts to one of its backends.

    Args:
        listener: bound; the proxy closes it.
        seed: of the choice of backends; different at each start when left out.
    """

    def __init__(self, listener: socket.socket, *, seed: int | None = None) -> None:
        self.backends: Sequence[tuple[str, int]] = ()
        self._listener = listener
        self._choice = random.Random(seed)  # noqa: S311 - to spread load, not to keep a secret
        self._server: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self._transports: set[asyncio.Transport] = set()

    async def start(self) -> None:
        """Accepts connections from now on; without a backend they are reset."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Side(self), sock=self._listener, backlog=1024
        )

    def stop(self) -> None:
        """Closes the port and all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._connecting:
            task.cancel()
        for transport in tuple(self._transports):
            transport.abort()

    def accepted(self, client: _Side) -> None:
        """Chooses a backend for a new connection and joins the two."""
        if not self.backends:
            # kube-proxy would refuse the connection; a port that is ours can only reset it.
            client.reset()
            return
        host, port = self._choice.choice(self.backends)
        task = asyncio.ensure_future(self._join(client, host, port))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _join(self, client: _Side, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, backend = await asyncio.wait_for(
                loop.create_connection(lambda: _Side(self, other=client), host, port),
                _CONNECT_TIMEOUT_S,
            )
        except (OSError, asyncio.TimeoutError):
            client.reset()
            return
        client.join(backend)

    def opened(self, transport: asyncio.Transport) -> None:
        """Notes a connection, so that `stop` can end it."""
        self._transports.add(transport)

    def closed(self, transport: asyncio.Transport) -> None:
        """Forgets a connection."""
        self._transports.discard(transport)


class _Side(asyncio.Protocol):
    """One of the two connections of a pair: what it receives, it writes to the other.

    Backpressure goes across: when the other's buffer is full, this one stops reading.
    """

    def __init__(self, proxy: Proxy, *, other: _Side | None = None) -> None:
        self._proxy = proxy
        self._other = other
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a proxy's connections are streams")
        self.transport = transport
        # asyncio reads 256 KiB at a time; a buffer below that would stop the other side at each
        # large photo.
        transport.set_write_buffer_limits(high=1 << 20)
        self._proxy.opened(transport)
        if self._other is None:
            transport.pause_reading()  # until there is somebody to write to
            self._proxy.accepted(self)

    def join(self, other: _Side) -> None:
        """Starts forwarding to the other side, which is connected."""
        self._other = other
        if self.transport is None or self.transport.is_closing():
            other.reset()
        else:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._other is not None and self._other.transport is not None:
            self._other.transport.write(data)

    def eof_received(self) -> bool:
        other = self._other.transport if self._other else None
        if other is not None and not other.is_closing():
            with contextlib.suppress(OSError):
                other.write_eof()
        return True  # the other direction stays open until it ends too

    def pause_writing(self) -> None:
        if self._other is not None and self._other.transport is not None:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None and self._other.transport is not None:
            with contextlib.suppress(RuntimeError):  # it is closing
                self._other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.transport is not None:
            self._proxy.closed(self.transport)
        other = self._other
        if other is None or other.transport is None or other.transport.is_closing():
            return
        if error is not None:
            other.reset()
        else:
            other.transport.close()

    def reset(self) -> None:
        """Ends the connection with RST, so that the peer sees a failure and not an end."""
        if self.transport is None:
            return
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()
