"""One load generator: it sends what a plan asks for.

It is a process of its own so that neither a notebook's kernel nor the garbage that it makes stands
between a request's due time and its sending. It says `ready` on its standard output once it is
connected, waits for `start TIME` on its standard input, stops early on `stop`, and ends with one
line of JSON. If its standard input closes, whoever started it is gone, and so it goes too.
Records go to a file as they come: memory doesn't grow with the number of requests.
"""

from __future__ import annotations

import gc
import json
import resource
import select
import sys
import time
from array import array
from collections import deque
from pathlib import Path
from struct import Struct
from typing import Any

from helpers.generator.frames import UNAVAILABLE, message
from helpers.generator.http2 import Answer, Connection

RECORD = Struct("<dddihH")  # stats.RECORD: due, sent, done, bytes, code, process
_TICK_S = 0.05  # how often it looks at what isn't urgent: deadlines, broken connections, its file
_CONNECT_S = 5.0
_FIRST_BACKOFF_S, _LAST_BACKOFF_S = 0.1, 1.0  # before a broken connection is tried again
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024  # what getrusage counts memory in


class _Lane:
    """A connection, and its successors when it breaks."""

    def __init__(self, address: list[Any], plan: dict[str, Any], answers: list[Answer]) -> None:
        self._address = str(address[0]), int(address[1])
        self._plan = plan
        self._answers = answers
        self._backoff_s = _FIRST_BACKOFF_S
        self._retry_at: float | None = None
        self.connection = self._connect()

    def _connect(self) -> Connection:
        return Connection(
            self._address,
            method=self._plan["method"],
            authority=self._plan["authority"],
            timeout_s=self._plan["timeout_s"],
            answers=self._answers,
        )

    def mend(self, now: float) -> None:
        """Connects again, ever less often, if the connection is broken."""
        if self.connection.usable:
            self._backoff_s = _FIRST_BACKOFF_S
        elif self.connection.closed and self._retry_at is None:
            self._retry_at = now + self._backoff_s
            self._backoff_s = min(2 * self._backoff_s, _LAST_BACKOFF_S)
        elif self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self.connection = self._connect()


class Generator:
    """Sends requests when they are due (open loop) or when there is room (closed loop).

    Times are seconds since the start of measuring: what comes before 0 is the warm-up.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.details: dict[int, str] = {}  # a gRPC status and the first message it came with
        self.sent = 0
        self._bodies = [message(Path(path).read_bytes()) for path in plan["requests"]]
        self._due = array("d")
        if plan["due"] is not None:
            self._due.frombytes(Path(plan["due"]).read_bytes())
        self._answers: list[Answer] = []
        self._lanes = [_Lane(address, plan, self._answers) for address in plan["connections"]]
        self._watched: dict[Any, Connection] = {}
        self._watch()
        self._turn = 0
        self._parked: deque[tuple[float, float]] = deque()  # (due, sent): no connection yet
        self._open = 0  # requests without an answer
        self._measured = 0  # requests sent since measuring began
        self._room = 0 if plan["due"] is not None else plan["concurrency"]
        self._stopped = False
        self._records = bytearray()
        self._file = Path(plan["records"]).open("wb", buffering=0)  # noqa: SIM115
        self._zero = 0.0
        # (time, CPU, most memory so far) at the start and the end
        self._marks: list[tuple[float, float, int]] = []
        self._paused_s = 0.0  # the longest time in which it didn't get to run

    def connect(self) -> str:
        """Waits for the first greetings. Returns why there is none, or nothing."""
        deadline = time.monotonic() + _CONNECT_S
        connections = [lane.connection for lane in self._lanes]
        while any(not (c.usable or c.closed) for c in connections):
            if time.monotonic() > deadline:
                return f"what listens there sent no HTTP/2 greeting in {_CONNECT_S:g} s"
            self._wait(_TICK_S)
        return "" if any(c.usable for c in connections) else connections[0].closed

    def run(self, zero: float) -> dict[str, Any]:
        """Sends until the plan ends.

        Args:
            zero: the monotonic time, in seconds, at which measuring starts.

        Returns:
            The generator's own CPU time in the measured window, the window's length, the longest
            pause in which it wasn't run, all in seconds, how much memory it took in the window,
            how many requests were sent, and the first message of each failure's code.
        """
        self._zero = zero
        tick = -float("inf")
        last = time.monotonic() - zero
        while True:
            now = time.monotonic() - zero
            # It never waits for longer than a tick: what is more was taken from it, by a machine
            # that is too busy or was suspended, or by a clock that jumped.
            if now - last > self._paused_s + _TICK_S:
                self._paused_s = now - last - _TICK_S
            last = now
            if now >= tick:
                tick = self._tick(now)
            wake = min(tick, self._submit(now))
            if not self._open and (self._stopped or self.sent == len(self._due) > 0):
                break
            self._wait(wake - (time.monotonic() - zero))
        self._mark(now)
        self._flush()
        (started, cpu_before, memory_before) = self._marks[0]
        (ended, cpu_after, memory_after) = self._marks[-1]
        return {
            "window_s": ended - started,
            "cpu_s": cpu_after - cpu_before,
            "paused_s": self._paused_s,
            "grown_bytes": memory_after - memory_before,
            "sent": self.sent,
            "details": self.details,
        }

    def _submit(self, now: float) -> float:
        """Sends what is due. Returns when the next request is, as far as that is known."""
        if self.plan["due"] is None:
            if now < -self.plan["warmup_s"]:
                return -float(self.plan["warmup_s"])
            while self._room and not self._stopped:
                self._send(now, now)
            return float("inf")
        due, count = self._due, len(self._due)
        while self.sent < count and due[self.sent] <= now:
            self._send(due[self.sent], now)
        return due[self.sent] if self.sent < count else float("inf")

    def _send(self, due: float, now: float) -> None:
        self._open += 1
        self._room -= 1
        if not self._call((due, now)):
            self._parked.append((due, now))
        self.sent += 1
        if now >= 0:
            self._measured += 1
            if self._measured == self.plan["count"]:
                self._stop()

    def _call(self, token: tuple[float, float]) -> bool:
        for _ in self._lanes:
            self._turn = (self._turn + 1) % len(self._lanes)
            connection = self._lanes[self._turn].connection
            if connection.usable:
                connection.call(token, self._bodies[self.sent % len(self._bodies)])
                return True
        return False

    def _wait(self, seconds: float) -> None:
        """Moves bytes until something happens or the time is up, and books the answers."""
        watched = self._watched
        writers = [s for s, connection in watched.items() if connection.outgoing]
        try:
            ready, writable, _ = select.select(watched, writers, (), seconds if seconds > 0 else 0)
        except ValueError:  # one of the sockets was closed by its connection
            self._watch()
            return
        for socket in ready:
            watched[socket].on_readable()
        for socket in writable:
            watched[socket].on_writable()
        if self._answers:
            now = time.monotonic() - self._zero
            for answer in self._answers:
                self._book(answer, now)
            self._answers.clear()

    def _watch(self) -> None:
        connections = [lane.connection for lane in self._lanes]
        self._watched = {c.socket: c for c in connections if not c.closed}

    def _listen(self) -> None:
        if not select.select([sys.stdin], [], [], 0)[0]:
            return
        word = sys.stdin.readline()
        if not word:
            sys.exit(1)
        if word.strip() == "stop":
            self._stop()

    def _stop(self) -> None:
        """No new requests; those on their way are waited for."""
        if self._stopped:
            return
        self._stopped = True
        del self._due[self.sent :]
        self._mark(time.monotonic() - self._zero)

    def _mark(self, now: float) -> None:
        if len(self._marks) < 2:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_BYTES
            self._marks.append((now, time.process_time(), memory))

    def _tick(self, now: float) -> float:
        """Looks at what isn't urgent. Returns when to look again."""
        if now >= 0 and not self._marks:
            self._mark(now)
        end = self.plan["duration_s"]
        if now >= end:
            self._mark(now)
            # What was due in time is sent, however late: leaving it out would flatter the server.
            if self.plan["due"] is None or now >= end + self.plan["timeout_s"]:
                self._stop()
        too_long = now - self.plan["timeout_s"]
        for lane in self._lanes:
            lane.mend(now)
            while (token := lane.connection.oldest()) and token[1] <= too_long:
                lane.connection.give_up_oldest()
        while self._parked and self._call(self._parked[0]):  # a connection is usable again
            self._parked.popleft()
        if self._parked and all(lane.connection.closed for lane in self._lanes):
            why = self._lanes[0].connection.closed
            self._answers += [Answer(token, UNAVAILABLE, 0, why) for token in self._parked]
            self._parked.clear()
        self._watch()
        self._listen()
        self._flush()
        return min(at for at in (now + _TICK_S, 0.0, end) if at > now)

    def _book(self, answer: Answer, now: float) -> None:
        due, sent = answer.token
        if answer.code and answer.code not in self.details:
            self.details[answer.code] = answer.details
        self._records += RECORD.pack(due, sent, now, answer.size, answer.code, self.plan["process"])
        self._open -= 1
        self._room += 1

    def _flush(self) -> None:
        if self._records:
            self._file.write(self._records)
            self._records.clear()


def main(path: str) -> int:
    """Runs the plan in a JSON file."""
    generator = Generator(json.loads(Path(path).read_text()))
    refusal = generator.connect()
    if refusal:
        print(json.dumps({"error": refusal}), flush=True)
        return 1
    print("ready", flush=True)
    word, _, zero = sys.stdin.readline().partition(" ")
    if word != "start":
        return 1
    # Nothing here makes cycles; a collection would only be a pause in the middle of a run.
    gc.freeze()
    gc.disable()
    print(json.dumps(generator.run(float(zero))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
