"""One client that sends requests at a constant rate, in a process of its own.

It says `ready` on standard output, waits for `start TIME` (on the monotonic clock) on standard
input, goes to other addresses on `addresses A,B,…`, stops on `stop`, and ends with a line of JSON.
If its standard input closes, whoever started it is gone, and so it goes too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Any

from helpers.client import AsyncClassifier, Resilience
from helpers.errors import ServingError
from helpers.stats import CODES

_RECORD = Struct("<dddihH")  # stats.RECORD: due, sent, done, bytes, code, process
_CONNECT_S = 2.0  # for the connections to new addresses, while the old ones are still used
_NUMBERS = {name: number for number, name in enumerate(CODES)}


class Client:
    """Sends requests when they are due, and writes down what became of each."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._requests = [Path(path).read_bytes() for path in plan["requests"]]
        self._records = Path(plan["records"]).open("ab", buffering=0)  # noqa: SIM115
        self._details: dict[str, str] = {}
        self._zero = 0.0
        self._stopped = asyncio.Event()
        self._moving: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._hedges: list[tuple[int, int]] = []
        self._classifier = self._connect(plan["addresses"])

    def _connect(self, addresses: list[str]) -> AsyncClassifier:
        return AsyncClassifier(
            addresses[0] if len(addresses) == 1 else addresses,
            channels=self._plan["channels"],
            resilience=Resilience(**self._plan["resilience"]),
        )

    async def run(self, zero: float) -> dict[str, Any]:
        """Sends until it is told to stop; waits for the answers."""
        self._zero = zero
        sending: set[asyncio.Task[None]] = set()
        for number, due in enumerate(self._due()):
            if self._stopped.is_set():
                break
            wait_s = due - self._now()
            if wait_s > 0:
                try:
                    await asyncio.wait_for(self._stopped.wait(), wait_s)
                    break
                except asyncio.TimeoutError:
                    pass
            task = asyncio.ensure_future(self._send(number, due))
            sending.add(task)
            task.add_done_callback(sending.discard)
        if sending:
            await asyncio.wait(sending)
        await self._end()
        extra, won = (sum(column) for column in zip(*self._hedges, strict=True))
        return {"details": self._details, "hedges": extra, "hedges_won": won}

    def _due(self) -> Iterator[float]:
        """When each request is due, in seconds."""
        rate, number, due = self._plan["rate_per_s"], 0, 0.0
        draw = random.Random(self._plan["seed"])  # noqa: S311 (no secret)
        while True:
            yield due
            number += 1
            due = number / rate if self._plan["seed"] is None else due + draw.expovariate(rate)

    async def _send(self, number: int, due: float) -> None:
        sent, code, size = self._now(), 0, 0
        try:
            request = self._requests[number % len(self._requests)]
            size = len(await self._classifier.predict(request))
        except ServingError as error:
            code = _NUMBERS.get(error.code, 2)
            self._details.setdefault(error.code, error.details)
        self._records.write(_RECORD.pack(due, sent, self._now(), size, code, 0))

    def _now(self) -> float:
        return time.monotonic() - self._zero

    def obey(self, word: str, rest: str) -> None:
        """Carries out a line of standard input."""
        if word == "stop":
            self._stopped.set()
        elif word == "addresses":
            if self._moving is not None:
                self._moving.cancel()
            self._moving = asyncio.ensure_future(self._move(rest.split(",")))

    async def _move(self, addresses: list[str]) -> None:
        """What a resolver does: new addresses for the requests from now on."""
        after = self._connect(addresses)
        try:
            await asyncio.wait_for(after.connected(), _CONNECT_S)
        except asyncio.TimeoutError:
            pass  # nobody there is any better
        except asyncio.CancelledError:
            await after.close()
            raise
        before, self._classifier = self._classifier, after
        # By itself: news of other addresses, which end this task, mustn't cut off its requests.
        retiring = asyncio.ensure_future(self._retire(before))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    async def _retire(self, classifier: AsyncClassifier) -> None:
        """Closes what gets no more requests, once those on their way have ended."""
        try:
            await asyncio.sleep(self._plan["resilience"]["deadline_s"])
        finally:
            self._note_hedges(classifier)
            await classifier.close()

    async def _end(self) -> None:
        """After the last answer: nothing is on its way any more."""
        left = [task for task in (self._moving, *self._retiring) if task is not None]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._note_hedges(self._classifier)
        await self._classifier.close()

    def _note_hedges(self, classifier: AsyncClassifier) -> None:
        hedge = classifier.hedge
        self._hedges.append((hedge.extra, hedge.won) if hedge else (0, 0))


async def main(path: str) -> None:
    """Runs the plan in a JSON file."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    client = Client(json.loads(Path(path).read_text()))
    print("ready", flush=True)
    word, _, zero = (await reader.readline()).decode().strip().partition(" ")
    if word != "start":
        return
    gc.freeze()

    async def listen() -> None:
        while line := await reader.readline():
            word, _, rest = line.decode().strip().partition(" ")
            client.obey(word, rest)

    running, listening = (
        asyncio.ensure_future(client.run(float(zero))),
        asyncio.create_task(listen()),
    )
    await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        print(json.dumps(running.result()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
