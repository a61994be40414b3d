"""A TCP proxy that treats connections as a ClusterIP does.

kube-proxy picks a backend for a connection, at random among the ready ones, and keeps it for as
long as the connection lives, whatever becomes of the backend's readiness. It knows nothing of
requests: that a gRPC client with one channel stays with one replica is exactly this.

What differs: kube-proxy has the kernel rewrite addresses, this one copies bytes, about 80 us of
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
_BUFFER = 1 << 20  # of each direction: one below a large photo would stop its sender at each


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
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Accepts connections from now on; without a backend they are reset."""
        self._server = await asyncio.start_server(
            self._accepted, sock=self._listener, backlog=1024, limit=_BUFFER
        )

    def stop(self) -> None:
        """Closes the port and all connections."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Chooses a backend for a new connection, joins the two, and ends both together."""
        ends = [writer]
        self._open.add(writer)
        try:
            if not self.backends:
                # kube-proxy would refuse the connection; a port that is ours can only reset it.
                raise ConnectionRefusedError
            host, port = self._choice.choice(self.backends)
            connecting = asyncio.open_connection(host, port, limit=_BUFFER)
            answers, backend = await asyncio.wait_for(connecting, _CONNECT_TIMEOUT_S)
            ends.append(backend)
            self._open.add(backend)
            await asyncio.gather(_copy(reader, backend), _copy(answers, writer))
        except (OSError, asyncio.TimeoutError):
            for end in ends:
                _reset(end)
        finally:
            for end in ends:
                end.close()
                self._open.discard(end)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, to its end; the other stays open until it ends too."""
    writer.transport.set_write_buffer_limits(high=_BUFFER)
    while data := await reader.read(_BUFFER):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection with RST, so that the peer sees a failure and not an end."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
