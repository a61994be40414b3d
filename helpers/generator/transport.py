"""A TCP connection that never blocks: bytes out as the socket takes them, bytes in as they come."""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque

_RECEIVE_BYTES = 1 << 18
_BUFFERS_A_WRITE = 64  # of the 1024 that POSIX systems take at once


class Transport:
    """One connection. Its owner waits for the socket and calls back.

    Args:
        address: IP address and port.

    Attributes:
        closed: why the connection has ended; empty while it lasts.
        outgoing: what the socket hasn't taken yet.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self.closed = ""
        self.outgoing: deque[bytes | memoryview] = deque()
        self._incoming = memoryview(bytearray(_RECEIVE_BYTES))
        self._filled = 0
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        status = self.socket.connect_ex(address)
        if status not in (0, errno.EINPROGRESS, errno.EAGAIN):
            self.fail(errno.errorcode.get(status, str(status)))

    def _read(self, data: memoryview) -> int:
        """Takes the whole frames at the beginning of what has come. Returns their length in bytes.

        Raises:
            ValueError: it makes no sense (as do IndexError and struct.error).
        """
        raise NotImplementedError

    def fail(self, why: str) -> None:
        """Closes the connection."""
        if not self.closed:
            self.closed = why
            self.socket.close()
            self.outgoing.clear()

    def on_writable(self) -> None:
        """Sends what the socket takes; call it again when it takes more."""
        outgoing = self.outgoing
        try:
            while outgoing:
                if len(outgoing) <= _BUFFERS_A_WRITE:
                    batch = list(outgoing)
                else:
                    batch = [outgoing[i] for i in range(_BUFFERS_A_WRITE)]
                sent = self.socket.sendmsg(batch)
                if sent == sum(map(len, batch)) and len(batch) == len(outgoing):
                    outgoing.clear()
                    return
                while sent and sent >= len(outgoing[0]):
                    sent -= len(outgoing.popleft())
                if sent:
                    outgoing[0] = memoryview(outgoing[0])[sent:]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # macOS says so while it is still connecting
                while self.on_readable():  # answers, or a goodbye, that came before
                    pass
                self.fail(error.strerror or str(error))

    def on_readable(self) -> bool:
        """Takes what the socket has. Returns whether there may be more."""
        try:
            count = self.socket.recv_into(self._incoming[self._filled :])
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self.fail(error.strerror or str(error))
            return False
        if not count:
            self.fail("the server closed the connection")
            return False
        end = self._filled + count
        try:
            used = self._read(self._incoming[:end])
        except (ValueError, IndexError, struct.error) as error:
            self.fail(f"what answers there doesn't speak gRPC: {error}")
            return False
        self._filled = end - used
        if self._filled:
            self._incoming[: self._filled] = bytes(self._incoming[used:end])
        return not self.closed
