"""A gRPC connection that costs little: the least of HTTP/2 that unary calls over plain TCP need.

Why not grpcio: a call costs two to four times as much CPU in a Python client of it, since it passes
through several threads (`python -m benchmarks load-generator` measures both). On a machine that
also runs the server under test, that is CPU taken from what is measured. Why not the library `h2`:
it needs 185 µs for the protocol of one request, this module 10. Here one thread fills and empties a
socket. Left out since a load generator has no use for it: TLS, compression, server push,
priorities, and the contents of answers (their sizes are kept).
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from helpers.generator import frames, hpack
from helpers.generator.frames import LARGEST_WINDOW, LAST_STREAM
from helpers.generator.transport import Transport

_WINDOW_REFILL = 2**30


class Answer(NamedTuple):
    """How a call ended: the token it was made with, its gRPC status and message, its bytes."""

    token: Any
    code: int
    size: int
    details: str


class _Call:
    __slots__ = ("body", "sent", "size", "token", "window")

    def __init__(self, token: Any, body: memoryview, window: int) -> None:
        self.token = token
        self.body = body
        self.window = window  # bytes of the body that the server is willing to take now
        self.sent = 0
        self.size = 0


class Connection(Transport):
    """One HTTP/2 connection that never blocks. Its owner waits for the socket and calls back.

    Args:
        address: IP address and port.
        method: the full name of the gRPC method, `/package.Service/Method`.
        authority: what the server is called in requests, `host:port`.
        timeout_s: the deadline that the server is told, in seconds.
        answers: where calls that ended are put.
        unprocessed: where the tokens of calls are put that the server says it hasn't looked at, so
            that they can be sent again (RFC 9113, 6.8 and 8.7).

    Attributes:
        greeted: the server has sent its settings: it is there, and speaks HTTP/2.
        usable: it has greeted and isn't going away.
        going_away: it takes no new calls, and still answers those that it has.
        streams: how many calls the server takes at a time on this connection.
    """

    framed = staticmethod(frames.message)  # a request as it is sent

    def __init__(
        self,
        address: tuple[str, int],
        *,
        method: str,
        authority: str,
        timeout_s: float,
        answers: list[Answer],
        unprocessed: list[Any],
    ) -> None:
        self.greeted = self.usable = self.going_away = False
        self.streams = LAST_STREAM  # as many as there are numbers, until the server says otherwise
        self._answers = answers
        self._unprocessed = unprocessed
        self._headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", method.encode()),
            (b":authority", authority.encode()),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"user-agent", b"inception-serving-tutorial-load"),
            (b"grpc-timeout", b"%dm" % max(1, round(timeout_s * 1000))),
        ]
        self._block = b""
        self._calls: dict[int, _Call] = {}  # by stream: in the order of their sending
        self._unsent: deque[int] = deque()  # streams with bytes of their body left to send
        self._stream = -1
        self._window = self._stream_window = frames.DEFAULT_WINDOW
        self._frame_limit = frames.DEFAULT_FRAME
        self._table_size = frames.DEFAULT_TABLE_SIZE
        self._answers_window = LARGEST_WINDOW
        self._blocks: tuple[int, bool, bytes] = (0, False, b"")  # a header block in parts
        super().__init__(address)
        greeting = frames.settings(
            [
                (frames.TABLE_SIZE, 0),
                (frames.ENABLE_PUSH, 0),
                (frames.INITIAL_WINDOW, LARGEST_WINDOW),
            ]
        )
        window = frames.WORD.pack(LARGEST_WINDOW - frames.DEFAULT_WINDOW)
        self.outgoing.append(
            frames.PREFACE + greeting + frames.frame(frames.WINDOW_UPDATE, 0, 0, window)
        )

    @property
    def room(self) -> int:
        """How many more calls the server takes now (RFC 9113, 5.1.2); below 1: none."""
        return self.streams - len(self._calls) if self.usable else 0

    def call(self, token: Any, body: memoryview) -> None:
        """Sends a request, made by `frames.message`. Its answer will carry `token`."""
        self._stream = stream = self._stream + 2
        if stream >= LAST_STREAM - 2:
            self._go_away()  # HTTP/2 has no more numbers: answers only, then a new connection
        self.outgoing.append(
            frames.frame(frames.HEADERS, frames.END_HEADERS, stream, self._next_block())
        )
        self._calls[stream] = _Call(token, body, self._stream_window)
        self._unsent.append(stream)
        self._send_bodies()
        self.on_writable()

    def oldest(self) -> Any:
        """The token of the call that waits longest, or None."""
        return next(iter(self._calls.values())).token if self._calls else None

    def give_up_oldest(self, why: str) -> None:
        """Ends the call that waits longest with DEADLINE_EXCEEDED, and tells the server."""
        stream = next(iter(self._calls))
        self._end(stream, frames.DEADLINE_EXCEEDED, why)
        self._reset(stream)

    def fail(self, why: str) -> None:
        """Closes the connection. Every open call ends with UNAVAILABLE."""
        self.usable = False
        super().fail(why)
        for stream in list(self._calls):
            self._end(stream, frames.UNAVAILABLE, why)

    def _next_block(self) -> bytes:
        if self._block:
            return self._block
        if self._table_size < frames.DEFAULT_TABLE_SIZE:
            # What was remembered may be gone: our headers are in full from here on.
            self._block = hpack.encode(self._headers, indexed=False)
            return hpack.EMPTY_TABLE + self._block
        # From the second call on a header is one byte, as with any gRPC client: it's remembered.
        self._block = hpack.encode_indexed(len(self._headers))
        return hpack.encode(self._headers, indexed=True)

    def _send_bodies(self) -> None:
        """Puts as much of the requests on their way as the server's windows allow."""
        unsent = self._unsent
        for _ in range(len(unsent)):
            stream = unsent[0]
            call = self._calls.get(stream)
            if call is not None and not self._send_body(stream, call):
                if self._window <= 0:
                    return
                unsent.rotate(-1)  # only this one's window is used up: let others go first
            else:
                unsent.popleft()

    def _send_body(self, stream: int, call: _Call) -> bool:
        total = len(call.body)
        while call.sent < total:
            size = min(total - call.sent, self._window, call.window, self._frame_limit)
            if size <= 0:
                return False
            end = call.sent + size
            flags = frames.END_STREAM if end == total else 0
            self.outgoing.append(
                frames.HEADER.pack(size >> 8, size & 0xFF, frames.DATA, flags, stream)
            )
            self.outgoing.append(call.body[call.sent : end])
            call.sent = end
            call.window -= size
            self._window -= size
        return True

    def _read(self, data: memoryview) -> int:
        at, end = 0, len(data)
        while end - at >= frames.HEADER_BYTES:
            high, low, kind, flags, stream = frames.HEADER.unpack_from(data, at)
            size = high << 8 | low
            stream &= LAST_STREAM  # the bit above is reserved
            if size > frames.DEFAULT_FRAME:
                raise ValueError("its bytes are no HTTP/2 frames")
            start = at + frames.HEADER_BYTES
            if end - start < size:
                break
            at = start + size
            if kind == frames.DATA:
                self._on_data(flags, stream, size, frames.padding(flags, data[start:at]))
            elif kind == frames.HEADERS:
                # The headers before an answer say nothing that those after it don't.
                if flags & (frames.END_STREAM | frames.END_HEADERS) != frames.END_HEADERS:
                    self._on_headers(flags, stream, data[start:at])
            else:
                self._on_rare(kind, flags, stream, data[start:at])
        if self.going_away and not self._calls:
            self.fail("the server went away")
        return at

    def _on_data(self, flags: int, stream: int, size: int, padding: int) -> None:
        call = self._calls.get(stream)
        if call is not None:
            call.size += size - padding
        self._answers_window -= size
        if self._answers_window < LARGEST_WINDOW - _WINDOW_REFILL:
            refill = frames.WORD.pack(_WINDOW_REFILL)
            self.outgoing.append(frames.frame(frames.WINDOW_UPDATE, 0, 0, refill))
            self._answers_window += _WINDOW_REFILL
        if flags & frames.END_STREAM:
            self._answered(stream, frames.UNKNOWN, "the answer ended without a gRPC status")

    def _on_headers(self, flags: int, stream: int, payload: memoryview) -> None:
        block = frames.header_block(flags, payload)
        if not flags & frames.END_HEADERS:
            self._blocks = stream, bool(flags & frames.END_STREAM), block
        else:
            self._answered(stream, *frames.ending(block))

    def _on_rare(self, kind: int, flags: int, stream: int, payload: memoryview) -> None:
        if kind == frames.WINDOW_UPDATE:
            more = frames.WORD.unpack(payload)[0] & LAST_STREAM
            if stream == 0:
                self._window += more
            elif stream in self._calls:
                self._calls[stream].window += more
            self._send_bodies()
        elif kind == frames.PING and not flags & frames.ACK:
            self.outgoing.append(frames.frame(frames.PING, frames.ACK, 0, bytes(payload)))
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            self._on_settings(payload)
        elif kind == frames.RST_STREAM:
            error = frames.WORD.unpack(payload)[0]
            if error == frames.REFUSED_STREAM:
                self._not_processed(stream)
            else:
                self._end(stream, *frames.reset(error))
        elif kind == frames.GOAWAY:
            last = frames.WORD.unpack_from(payload)[0] & LAST_STREAM
            self._go_away()
            for unseen in [s for s in self._calls if s > last]:
                self._not_processed(unseen)
        elif kind == frames.CONTINUATION:
            stream, ends, block = self._blocks
            self._blocks = stream, ends, block + bytes(payload)
            if flags & frames.END_HEADERS and ends:
                self._answered(stream, *frames.ending(self._blocks[2]))

    def _on_settings(self, payload: memoryview) -> None:
        for key, value in frames.SETTING.iter_unpack(payload):
            if key == frames.INITIAL_WINDOW:
                for call in self._calls.values():
                    call.window += value - self._stream_window
                self._stream_window = value
            elif key == frames.MAX_FRAME:
                self._frame_limit = value
            elif key == frames.MAX_STREAMS:
                self.streams = value
            elif key == frames.TABLE_SIZE and value < self._table_size:
                self._table_size, self._block = value, b""
        self.outgoing.append(frames.frame(frames.SETTINGS, frames.ACK, 0, b""))
        self.greeted, self.usable = True, not self.going_away
        self._send_bodies()

    def _go_away(self) -> None:
        """No new calls from here on; those on their way are still answered."""
        self.going_away, self.usable = True, False

    def _answered(self, stream: int, code: int, details: str) -> None:
        call = self._calls.get(stream)
        if call is not None and call.sent < len(call.body):
            self._reset(stream)  # for the server the stream is open until our side ends, too
        self._end(stream, code, details)

    def _reset(self, stream: int) -> None:
        cancel = frames.WORD.pack(frames.CANCEL)
        self.outgoing.append(frames.frame(frames.RST_STREAM, 0, stream, cancel))

    def _not_processed(self, stream: int) -> None:
        call = self._calls.pop(stream, None)
        if call is not None:
            self._unprocessed.append(call.token)

    def _end(self, stream: int, code: int, details: str) -> None:
        call = self._calls.pop(stream, None)
        if call is not None:
            self._answers.append(Answer(call.token, code, call.size, details))
