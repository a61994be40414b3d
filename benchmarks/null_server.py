"""A gRPC server that does nothing, so that a load generator is what limits a run.

    with null_server() as address: …

It answers every call with the same bytes as soon as the call's request is whole, on one thread,
without looking into it: some 10 µs a request, where a server made with grpcio needs hundreds.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from selectors import EVENT_READ, DefaultSelector

from helpers.child import Child
from helpers.errors import LoadError
from helpers.generator import frames, hpack

_BEFORE = hpack.encode(
    [(b":status", b"200"), (b"content-type", b"application/grpc")], indexed=False
)
_AFTER = hpack.encode([(b"grpc-status", b"0")], indexed=False)
_BODY = bytes(frames.message(b"\0" * 64))
_WINDOW = frames.WORD.pack(2**30)
_REFILL_AT = 2**28


class _Caller:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.buffer = b""
        self.greeted = False
        self.taken = 0  # bytes of requests since the window was last refilled

    def serve(self) -> bool:
        """Answers what has come in. False when the caller has gone."""
        data = self.socket.recv(1 << 20)
        if not data:
            return False
        data = self.buffer + data
        at = 0
        if not self.greeted:
            if len(data) < len(frames.PREFACE):
                self.buffer = data
                return True
            at, self.greeted = len(frames.PREFACE), True
        answers, end = bytearray(), len(data)
        while end - at >= frames.HEADER_BYTES:
            high, low, kind, flags, stream = frames.HEADER.unpack_from(data, at)
            size = high << 8 | low
            if end - at - frames.HEADER_BYTES < size:
                break
            at += frames.HEADER_BYTES + size
            if kind == frames.DATA:
                self.taken += size
                if flags & frames.END_STREAM:
                    answers += _answer(stream)
            elif kind == frames.SETTINGS and not flags & frames.ACK:
                answers += frames.settings([(frames.INITIAL_WINDOW, frames.LARGEST_WINDOW)])
                answers += frames.frame(frames.SETTINGS, frames.ACK, 0, b"")
                answers += frames.frame(frames.WINDOW_UPDATE, 0, 0, _WINDOW)
        if self.taken > _REFILL_AT:
            refill = frames.WORD.pack(self.taken)
            answers += frames.frame(frames.WINDOW_UPDATE, 0, 0, refill)
            self.taken = 0
        self.buffer = data[at:]
        if answers:
            self.socket.sendall(answers)
        return True


def _answer(stream: int) -> bytes:
    return (
        frames.frame(frames.HEADERS, frames.END_HEADERS, stream, _BEFORE)
        + frames.frame(frames.DATA, 0, stream, _BODY)
        + frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, _AFTER)
    )


@contextmanager
def null_server() -> Iterator[str]:
    """Runs one in a process of its own; gives its address."""
    with Child("benchmarks.null_server", failed=_failed) as child:
        yield f"127.0.0.1:{child.next()}"


def _failed(why: str) -> LoadError:
    return LoadError("The server didn't start", cause=why, next_step="Run it again.")


def main() -> None:
    """Serves until its standard input closes: then whoever started it has ended."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    with DefaultSelector() as selector:
        selector.register(listener, EVENT_READ)
        selector.register(sys.stdin, EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(connection, EVENT_READ, _Caller(connection))
                elif not _served(key.data):
                    selector.unregister(key.data.socket)
                    key.data.socket.close()


def _served(caller: _Caller) -> bool:
    try:
        return caller.serve()
    except OSError:
        return False


if __name__ == "__main__":
    main()
