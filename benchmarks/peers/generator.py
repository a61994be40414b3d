"""The load generator's process for HTTP/1.1: what `helpers.generator` is for gRPC.

The same single thread that never blocks, the same closed loop, the same records with times taken at
the same moments: a request counts from when there was room for it until its last byte is here.
HTTP/1.1 answers one request at a time on a connection, so there is a connection for each request
on its way. It says `ready`, waits for `start TIME`, and ends with one line of JSON.
"""

from __future__ import annotations

import gc
import json
import re
import resource
import selectors
import socket
import sys
import time
from pathlib import Path
from struct import Struct
from typing import Any

_RECORD = Struct("<dddihH")  # stats.RECORD: due, sent, done, bytes, code, process
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
_TICK_S = 0.05
_RECEIVE_BYTES = 1 << 16
_OK, _UNKNOWN, _DEADLINE_EXCEEDED, _UNAVAILABLE = 0, 2, 4, 14
_FROM_HTTP = {429: _UNAVAILABLE, 503: _UNAVAILABLE, 504: _DEADLINE_EXCEEDED}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


def whole(answer: bytes | bytearray) -> bool:
    """Whether an answer has arrived to its end.

    Raises:
        ValueError: it doesn't say where it ends.
    """
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    length = _LENGTH.search(answer, 0, head)
    if length:
        return len(answer) >= head + 4 + int(length[1])
    if _CHUNKED.search(answer, 0, head):
        return answer.endswith(b"0\r\n\r\n")
    raise ValueError("an answer with neither a length nor chunks")


class Connection:
    """One connection, with at most one request on its way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.sent_at = 0.0
        self.waiting = False
        self.outgoing = memoryview(b"")
        self.answer = bytearray()
        self.socket = self._connect()

    def _connect(self) -> socket.socket:
        connected = socket.create_connection(self.address, timeout=5)
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def reconnect(self) -> None:
        """A new connection in the place of one that has ended."""
        self.socket.close()
        self.socket = self._connect()

    def send(self) -> bool:
        """Sends what the socket takes. Returns whether that was all."""
        try:
            while self.outgoing:
                self.outgoing = self.outgoing[self.socket.send(self.outgoing) :]
        except BlockingIOError:
            return False
        return True

    def receive(self) -> tuple[int, str, bool] | None:
        """Takes what has come: at the end of an answer its code, details, and if it closes."""
        try:
            data = self.socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            return _UNAVAILABLE, error.strerror or str(error), True
        if not data:
            return _UNAVAILABLE, "the server closed the connection", True
        self.answer += data
        try:
            if not whole(self.answer):
                return None
            status = int(self.answer[9:12])
        except ValueError as error:
            return _UNKNOWN, f"what answers there doesn't speak HTTP/1.1: {error}", True
        closes = bool(_CLOSES.search(self.answer))
        if status == 200:
            return _OK, "", closes
        return _FROM_HTTP.get(status, _UNKNOWN), bytes(self.answer[:500]).decode("latin1"), closes


class Generator:
    """Keeps `concurrency` requests on their way. Times are seconds since measuring began."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self._requests = [Path(path).read_bytes() for path in plan["requests"]]
        self._selector = selectors.DefaultSelector()
        address = str(plan["address"][0]), int(plan["address"][1])
        self._connections = [Connection(address) for _ in range(plan["concurrency"])]
        self._records = bytearray()
        self._details: dict[int, str] = {}
        self._sent = self._open = 0
        self._stopped = False
        self._zero = 0.0

    def run(self, zero: float) -> dict[str, Any]:
        """Sends until the plan ends. Returns the same as `helpers.generator` does."""
        self._zero = zero
        marks: list[tuple[float, float, int]] = []
        paused_s, last, tick = 0.0, self._now(), -float("inf")
        for connection in self._connections:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            self._send(connection, last)
        while self._open:
            now = self._now()
            # It never waits for longer than a tick: what is more was taken from it.
            paused_s, last = max(paused_s, now - last - _TICK_S), now
            if not marks and now >= 0:
                marks.append(_mark(now))
            if not self._stopped and now >= self.plan["duration_s"]:
                self._stopped = True
                marks.append(_mark(now))
            if now >= tick:
                tick = now + _TICK_S
                self._give_up(now)
            for key, events in self._selector.select(_TICK_S):
                self._serve(key.data, events)
        while len(marks) < 2:  # the last answers came in together, after the end
            marks.append(_mark(self._now()))
        (started, cpu_before, memory_before), (ended, cpu_after, memory_after) = marks
        with Path(self.plan["records"]).open("wb") as file:
            file.write(self._records)
        return {
            "window_s": ended - started,
            "cpu_s": cpu_after - cpu_before,
            "paused_s": paused_s,
            "grown_bytes": memory_after - memory_before,
            "sent": self._sent,
            "details": self._details,
        }

    def _now(self) -> float:
        return time.monotonic() - self._zero

    def _send(self, connection: Connection, now: float) -> None:
        connection.outgoing = memoryview(self._requests[self._sent % len(self._requests)])
        connection.answer.clear()
        connection.sent_at, connection.waiting = now, True
        self._sent += 1
        self._open += 1
        self._write(connection)

    def _write(self, connection: Connection) -> None:
        try:
            done = connection.send()
        except OSError as error:
            self._end(connection, _UNAVAILABLE, error.strerror or str(error), closed=True)
            return
        events = selectors.EVENT_READ if done else selectors.EVENT_READ | selectors.EVENT_WRITE
        if self._selector.get_key(connection.socket).events != events:
            self._selector.modify(connection.socket, events, connection)

    def _serve(self, connection: Connection, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._write(connection)
        if events & selectors.EVENT_READ:
            ended = connection.receive()
            if ended:
                code, details, closed = ended
                self._end(connection, code, details, closed=closed)

    def _end(self, connection: Connection, code: int, details: str, *, closed: bool) -> None:
        now = self._now()
        if connection.waiting:
            connection.waiting = False
            sent, size = connection.sent_at, len(connection.answer)
            self._records += _RECORD.pack(sent, sent, now, size, code, 0)
            self._open -= 1
            if code:
                self._details.setdefault(code, details)
        if closed:
            self._selector.unregister(connection.socket)
            connection.reconnect()
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        if not self._stopped and now < self.plan["duration_s"]:
            self._send(connection, now)

    def _give_up(self, now: float) -> None:
        for connection in self._connections:
            if connection.waiting and now - connection.sent_at > self.plan["timeout_s"]:
                details = "the deadline passed without an answer"
                self._end(connection, _DEADLINE_EXCEEDED, details, closed=True)


def _mark(now: float) -> tuple[float, float, int]:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_BYTES
    return now, time.process_time(), memory


def main(path: str) -> int:
    """Runs the plan in a JSON file."""
    try:
        generator = Generator(json.loads(Path(path).read_text()))
    except OSError as error:
        print(json.dumps({"error": error.strerror or str(error)}), flush=True)
        return 1
    print("ready", flush=True)
    word, _, zero = sys.stdin.readline().partition(" ")
    if word != "start":
        return 1
    gc.freeze()
    gc.disable()
    time.sleep(max(0.0, float(zero) - float(generator.plan["warmup_s"]) - time.monotonic()))
    print(json.dumps(generator.run(float(zero))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
