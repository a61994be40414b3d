"""An HTTP/2 server that counts streams and sends each frame at the worst moment it is told to.

It shares nothing with the load generator but the standard: frames are taken apart and put together
here once more, and headers are read by `hpack`.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import hpack

DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
MOST = 2**31 - 1
REFUSED = 7
TABLE_SIZE, MAX_STREAMS, INITIAL_WINDOW = 1, 3, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass
class Seen:
    """What the server saw, over all connections.

    Attributes:
        connections: how many there were.
        most_open: the most streams that were open on one at a time.
        over: streams that were opened above the limit that the client had acknowledged.
        answered: streams that were answered in full.
        not_processed: streams that were refused, or were above the last of a GOAWAY.
        left_open: streams that are open.
        pongs: the payloads of PINGs that were answered.
        resets: streams that the client reset.
        paths: the paths asked for.
        wrong: what broke the standard.
    """

    connections: int = 0
    most_open: int = 0
    over: int = 0
    answered: int = 0
    not_processed: int = 0
    left_open: int = 0
    pongs: list[bytes] = field(default_factory=list)
    resets: int = 0
    paths: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


class Peer:
    """One connection."""

    def __init__(
        self, server: FrameServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server, self.seen = server, server.seen
        self.reader, self.writer = reader, writer
        self.seen.connections += 1
        self.number = self.seen.connections
        self.decoder = hpack.Decoder()
        self.limit = MOST  # of streams, as far as the client has acknowledged
        self.limits: list[int | None] = []  # of the SETTINGS that it hasn't acknowledged yet
        self.open: dict[int, asyncio.Event] = {}  # set when the request is whole
        self.bodies: dict[int, int] = {}
        self.received = self.highest = 0
        self.last = MOST  # streams above were told to be not processed
        self.tasks: set[asyncio.Task[None]] = set()

    def frame(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        head = struct.pack(">L", len(payload))[1:] + struct.pack(">BBL", kind, flags, stream)
        data = head + payload
        for i in range(0, len(data), self.server.piece):
            self.writer.write(data[i : i + self.server.piece])

    def settings(self, values: dict[int, int]) -> None:
        self.limits.append(values.get(MAX_STREAMS))
        self.frame(SETTINGS, payload=b"".join(struct.pack(">HL", *pair) for pair in values.items()))

    def goaway(self, last: int) -> None:
        self.last = last
        self.frame(GOAWAY, payload=struct.pack(">LL", last, 0))

    def window(self, stream: int, more: int) -> None:
        self.frame(WINDOW, stream=stream, payload=struct.pack(">L", more))

    def reset(self, stream: int, code: int) -> None:
        self.frame(RST, stream=stream, payload=struct.pack(">L", code))
        self.seen.not_processed += code == REFUSED
        self.closed(stream)

    def answer(self, stream: int, *, padded: bool = False, parts: int = 1) -> None:
        """Headers, a message, trailers, in as many frames as asked for."""
        pad = (lambda payload: b"\x07" + payload + bytes(7)) if padded else bytes
        flag = PADDED if padded else 0
        first = b"\x88\x40\x0ccontent-type\x10application/grpc"
        last = b"\x00\x0bgrpc-status\x010\x10\x05large" + b"\x7f\x81\x02" + b"x" * 384
        for block, ends in ((first, 0), (last, END_STREAM)):
            step = -(-len(block) // parts)
            cut = [block[i : i + step] for i in range(0, len(block), step)]
            for i, part in enumerate(cut):
                done = END_HEADERS if i == len(cut) - 1 else 0
                if i == 0:
                    self.frame(HEADERS, ends | flag | done, stream, pad(part))
                else:
                    self.frame(CONTINUATION, done, stream, part)
            if not ends:
                self.frame(DATA, flag, stream, pad(b"\0\0\0\0\x06answer"))
        self.seen.answered += 1
        self.closed(stream)

    def closed(self, stream: int) -> None:
        self.open.pop(stream, None)
        self.seen.left_open = len(self.open)

    async def serve(self) -> None:
        try:
            assert await self.reader.readexactly(len(PREFACE)) == PREFACE
            await self.server.greet(self)
            while True:
                head = await self.reader.readexactly(9)
                stream = int.from_bytes(head[5:], "big")
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                self.take(head[3], head[4], stream, payload)
                await self.writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        except Exception as error:
            self.seen.wrong.append(repr(error))
            raise
        finally:
            for task in self.tasks:
                task.cancel()
            self.writer.close()

    def take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS:
            headers = dict(self.decoder.decode(payload))
            self.seen.paths.add(headers[":path"])
            if stream <= self.highest or stream % 2 == 0:
                self.seen.wrong.append(f"stream {stream} after {self.highest}")
            self.highest = stream
            if stream > self.last:
                self.seen.not_processed += 1
                return
            self.seen.over += len(self.open) >= self.limit
            self.open[stream] = asyncio.Event()
            self.bodies[stream] = 0
            self.seen.most_open = max(self.seen.most_open, len(self.open))
            self.seen.left_open = len(self.open)
            task = asyncio.ensure_future(self.server.handle(self, stream))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif kind == DATA:
            self.received += len(payload)
            if stream in self.open:
                self.bodies[stream] += len(payload)
                if flags & END_STREAM:
                    self.open[stream].set()
            if self.server.refill:
                self.window(0, max(1, len(payload)))
        elif kind == SETTINGS and flags & 1:
            limit = self.limits.pop(0) if self.limits else None
            self.limit = self.limit if limit is None else limit
        elif kind == PING:
            (self.seen.pongs.append(payload) if flags & 1 else self.frame(PING, 1, 0, payload))
        elif kind == RST:
            self.seen.resets += 1
            self.closed(stream)


Handler = Callable[[Peer, int], Awaitable[None]]


async def whole(peer: Peer, stream: int) -> None:
    """Waits for the whole request, and answers it."""
    await peer.open[stream].wait()
    peer.answer(stream)


@dataclass
class FrameServer:
    """What the server does.

    Attributes:
        handle: what becomes of each stream.
        settings: what it greets with.
        greeting: what else it does when a connection begins.
        piece: bytes that are written at a time.
        refill: whether the connection's window is given back as it is used.
    """

    handle: Handler = whole
    settings: dict[int, int] = field(default_factory=dict)
    greeting: Callable[[Peer], None] = lambda _: None
    piece: int = 1 << 20
    refill: bool = True
    seen: Seen = field(default_factory=Seen)

    async def greet(self, peer: Peer) -> None:
        peer.settings(self.settings)
        self.greeting(peer)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Runs it in a thread; gives its address."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        async def start() -> asyncio.Server:
            return await asyncio.start_server(lambda r, w: Peer(self, r, w).serve(), "127.0.0.1", 0)

        async def stop(server: asyncio.Server) -> None:
            server.close()
            rest = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        try:
            yield "{}:{}".format(*server.sockets[0].getsockname())
        finally:
            asyncio.run_coroutine_threadsafe(stop(server), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
