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
from bisect import bisect_left
from pathlib import Path
from struct import Struct
from typing import Any

from helpers.generator.http2 import Answer, Connection
from helpers.generator.lanes import Lanes, Request

RECORD = Struct("<dddihH")  # stats.RECORD: due, sent, done, bytes, code, process
_TICK_S = 0.05  # how often it looks at what isn't urgent: deadlines, broken connections, its file
_CONNECT_S = 5.0
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024  # what getrusage counts memory in


class Generator:
    """Sends requests when they are due (open loop) or when there is room (closed loop).

    Times are seconds since the start of measuring: what comes before 0 is the warm-up.
    """

    def __init__(self, plan: dict[str, Any], connection: Any = Connection) -> None:
        self.plan = plan
        self.details: dict[int, str] = {}  # a gRPC status and the first message it came with
        self.sent = 0
        self._bodies = [connection.framed(Path(path).read_bytes()) for path in plan["requests"]]
        self._due = array("d")
        if plan["due"] is not None:
            self._due.frombytes(Path(plan["due"]).read_bytes())
        self._lanes = Lanes(plan, connection)
        self._open = 0  # requests without an answer
        self._measured = self._ended = 0  # requests sent, and ended, since measuring began
        self._least_s = float(plan["duration_s"])
        self._extended = False
        self._end_s: float | None = None  # when measuring ended
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
        while not self._lanes.usable and not self._lanes.unreachable:
            if time.monotonic() > deadline:
                return f"what listens there sent no HTTP/2 greeting in {_CONNECT_S:g} s"
            self._wait(_TICK_S)
            self._lanes.look(-float("inf"))
        return self._lanes.unreachable

    def run(self, zero: float) -> dict[str, Any]:
        """Sends until the plan ends.

        Args:
            zero: the monotonic time, in seconds, at which measuring starts.

        Returns:
            When measuring ended, on its own clock; the generator's own CPU time meanwhile, and of
            how long; the longest pause in which it wasn't run, all in seconds; how much memory it
            took; how many requests were sent, waited for room on a connection, and were sent again;
            how many a connection takes at a time; the first message of each failure's code.
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
            sent_all = self.plan["due"] is not None and self.sent == len(self._due)
            if not self._open and (self._stopped or sent_all):
                break
            self._wait(wake - (time.monotonic() - zero))
        self._mark(now)
        self._flush()
        (started, cpu_before, memory_before) = self._marks[0]
        (ended, cpu_after, memory_after) = self._marks[-1]
        if self._end_s is None:  # all was sent and answered before the window's end
            self._end_s = now if self._extended else self._least_s
        return {
            "end_s": self._end_s,
            "window_s": ended - started,
            "cpu_s": cpu_after - cpu_before,
            "paused_s": self._paused_s,
            "grown_bytes": memory_after - memory_before,
            "sent": self.sent,
            "waited": self._lanes.waited,
            "resent": self._lanes.resent,
            "streams": self._lanes.streams,
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
        self._lanes.send(Request(due, now, self._bodies[self.sent % len(self._bodies)]))
        self.sent += 1
        if now >= 0:
            self._measured += 1
            if self._measured == self.plan["count"]:
                self._stop()

    def _wait(self, seconds: float) -> None:
        """Moves bytes until something happens or the time is up, and books the answers."""
        answers = self._lanes.wait(seconds)
        if answers:
            now = time.monotonic() - self._zero
            for answer in answers:
                self._book(answer, now)

    def _listen(self) -> None:
        if not select.select([sys.stdin], [], [], 0)[0]:
            return
        word = sys.stdin.readline()
        if not word:
            sys.exit(1)
        if word.strip() == "stop":
            self._end(time.monotonic() - self._zero)

    def _stop(self) -> None:
        """No new requests; those on their way are waited for."""
        if not self._stopped:
            self._stopped = True
            del self._due[self.sent :]
            self._close(time.monotonic() - self._zero)

    def _end(self, end_s: float) -> None:
        """Nothing that is due from `end_s` on is sent."""
        self._close(end_s)
        if self.plan["due"] is None:
            self._stop()
        else:
            # What was due in time is sent, however late: leaving it out would flatter the server.
            del self._due[max(self.sent, bisect_left(self._due, end_s)) :]

    def _close(self, end_s: float) -> None:
        """The measured window ends, if it hasn't already."""
        if self._end_s is None:
            self._end_s = end_s
            self._mark(time.monotonic() - self._zero)

    def _mark(self, now: float) -> None:
        if len(self._marks) < 2:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_BYTES
            self._marks.append((now, time.process_time(), memory))

    def _tick(self, now: float) -> float:
        """Looks at what isn't urgent. Returns when to look again."""
        if now >= 0 and not self._marks:
            self._mark(now)
        if self._end_s is None and now >= self._least_s:
            self._close_if_answered(now)
        if self._end_s is not None and now >= self._end_s + self.plan["timeout_s"]:
            self._stop()
        self._lanes.look(now - self.plan["timeout_s"])
        self._listen()
        self._flush()
        return min(at for at in (now + _TICK_S, 0.0, self._least_s) if at > now)

    def _close_if_answered(self, now: float) -> None:
        """The window lasts as long as was asked for, and then until it has its answers."""
        enough = self._ended >= self.plan["answers"]
        if not enough and now < self._least_s + self.plan["timeout_s"]:
            self._extended = True
            return
        self._end(now if self._extended else self._least_s)

    def _book(self, answer: Answer, now: float) -> None:
        request = answer.token
        if answer.code and answer.code not in self.details:
            self.details[answer.code] = answer.details
        self._records += RECORD.pack(
            request.due, request.sent, now, answer.size, answer.code, self.plan["process"]
        )
        self._open -= 1
        self._room += 1
        self._ended += now >= 0

    def _flush(self) -> None:
        if self._records:
            self._file.write(self._records)
            self._records.clear()


def main(path: str, connection: Any = Connection) -> int:
    """Runs the plan in a JSON file, by gRPC or by what else a class of connections speaks."""
    generator = Generator(json.loads(Path(path).read_text()), connection)
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
