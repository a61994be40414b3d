"""The process that `wire.Wire` starts: `python -m helpers.faults.network ADDRESS…`."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from helpers import settings

_RETRANSMIT_S = 0.2  # TCP_RTO_MIN of Linux
_CHUNK = 1 << 16
_Join = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Network:
    """How bad it is at the moment, and the connections through it."""

    def __init__(self) -> None:
        self.delay_s, self.loss = 0.0, 0.0
        self.open = asyncio.Event()
        self.open.set()
        self._random = random.Random(settings.SEED)  # noqa: S311 - to lose segments, not secrets

    def set(self, *, delay_s: float, loss: float, cut: bool) -> None:
        self.delay_s, self.loss = delay_s, loss
        if cut:
            self.open.clear()
        else:
            self.open.set()

    def late_s(self) -> float:
        lost = self._random.random() < self.loss
        return self.delay_s + (_RETRANSMIT_S if lost else 0.0)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One way of a connection: in order, each piece when it is due."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        async def deliver() -> None:
            while True:
                due, data = await waiting.get()
                if (wait_s := due - loop.time()) > 0:
                    await asyncio.sleep(wait_s)
                await self.open.wait()
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            writer.close()

        delivering = asyncio.ensure_future(deliver())
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                waiting.put_nowait((loop.time() + self.late_s(), data))
        waiting.put_nowait((loop.time() + self.delay_s, b""))
        with suppress(OSError):
            await delivering


async def _serve(addresses: Sequence[str]) -> None:
    network = _Network()

    def joins(host: str, port: int) -> _Join:
        async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await network.open.wait()
            try:
                there = await asyncio.open_connection(host, port)
            except OSError:
                writer.close()
                return
            await asyncio.gather(
                network.forward(reader, there[1]), network.forward(there[0], writer)
            )

        return join

    listening = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        server = await asyncio.start_server(joins(host, int(port)), "127.0.0.1", 0)
        listening.append(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    print(json.dumps(listening), flush=True)
    words = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    while line := await words.readline():  # its end: whoever started it is gone
        network.set(**json.loads(line))
        print("so it is", flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
