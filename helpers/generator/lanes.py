"""By which connection a request goes, and what becomes of one that has to wait or was refused.

A server may say how many requests it takes at a time (RFC 9113, 5.1.2), refuse one, or go away
(6.8), as gRPC servers do whose connections are given a greatest age. None of this loses a request:
it waits here, its time running, or is sent again where the server says that it hasn't looked at it.
"""

from __future__ import annotations

import select
import time
from collections import deque
from typing import Any, NamedTuple

from helpers.generator.frames import DEADLINE_EXCEEDED, LAST_STREAM, UNAVAILABLE
from helpers.generator.http2 import Answer, Connection

_FIRST_BACKOFF_S, _LAST_BACKOFF_S = 0.1, 1.0  # from one attempt to connect to the next


class Request(NamedTuple):
    """A request: when it was due, when it was taken up, its body, how often it was refused."""

    due: float
    sent: float
    body: memoryview
    refused: int = 0


class _Lane:
    """A connection, and its successors when it breaks or the server goes away."""

    def __init__(self, address: list[Any], connection: Any, **options: Any) -> None:
        self._address = str(address[0]), int(address[1])
        self._class, self._options = connection, options
        self._backoff_s = _FIRST_BACKOFF_S
        self.leaving: list[Connection] = []  # take no new requests, and owe answers
        self._connect()

    def _connect(self) -> None:
        self._connected_at = time.monotonic()
        self.connection: Connection = self._class(self._address, **self._options)

    def renew(self) -> None:
        """Connects again if the connection is of no more use; after failures ever less often."""
        self.leaving = [c for c in self.leaving if not c.closed]
        if self.connection.greeted:
            self._backoff_s = _FIRST_BACKOFF_S
        if self.connection.closed or self.connection.going_away:
            if time.monotonic() - self._connected_at < self._backoff_s:
                return
            if not self.connection.closed:
                self.leaving.append(self.connection)
            self._backoff_s = min(2 * self._backoff_s, _LAST_BACKOFF_S)
            self._connect()


class Lanes:
    """The connections of one generator.

    Args:
        plan: the generator's plan.
        connection: the class of its connections.

    Attributes:
        waited: how many requests found no room on any connection when they were taken up.
        resent: how many times a request was sent again that the server hadn't processed.
    """

    def __init__(self, plan: dict[str, Any], connection: Any) -> None:
        self.waited = self.resent = 0
        self._answers: list[Answer] = []
        self._unprocessed: list[Request] = []
        self._refused: list[Request] = []  # more than once: they wait for an answer, or a look
        self._waiting: deque[Request] = deque()
        self._lanes = [
            _Lane(
                address,
                connection,
                method=plan["method"],
                authority=plan["authority"],
                timeout_s=plan["timeout_s"],
                answers=self._answers,
                unprocessed=self._unprocessed,
            )
            for address in plan["connections"]
        ]
        self._turn = 0
        self._watched: dict[Any, Connection] = {}
        self._renew()

    @property
    def usable(self) -> bool:
        """Whether a connection takes requests."""
        return any(lane.connection.usable for lane in self._lanes)

    @property
    def unreachable(self) -> str:
        """Why the first connection couldn't be made, if none could; otherwise empty."""
        # One that the server has ended, however soon, is made again.
        if any(c.greeted or not c.closed for c in (lane.connection for lane in self._lanes)):
            return ""
        return self._lanes[0].connection.closed

    @property
    def streams(self) -> int | None:
        """The fewest requests at a time that a server takes on a connection; None: no limit."""
        fewest = min(lane.connection.streams for lane in self._lanes)
        return fewest if fewest < LAST_STREAM else None

    def send(self, request: Request) -> None:
        """Sends a request, or lets it wait for room behind those that wait already."""
        if self._waiting or not self._put(request):
            self._waiting.append(request)
            self.waited += 1

    def _put(self, request: Request) -> bool:
        for _ in self._lanes:
            self._turn = (self._turn + 1) % len(self._lanes)
            connection = self._lanes[self._turn].connection
            if connection.room > 0:
                connection.call(request, request.body)
                return True
        return False

    def wait(self, seconds: float) -> list[Answer]:
        """Moves bytes until something happens or the time is up. Returns what was answered."""
        watched = self._watched
        writers = [s for s, connection in watched.items() if connection.outgoing]
        try:
            ready, writable, _ = select.select(watched, writers, (), seconds if seconds > 0 else 0)
        except ValueError:  # one of the sockets was closed by its connection
            ready, writable = [], []
            self._renew()
        renew = False
        for socket in ready:
            connection = watched[socket]
            connection.on_readable()
            renew = renew or not connection.usable
        for socket in writable:
            watched[socket].on_writable()
        if renew:
            self._renew()
        self._send_again()
        answers = self._answers.copy()
        self._answers.clear()
        return answers

    def _send_again(self) -> None:
        """Sends what the server hasn't processed, and then what waits, as far as there is room."""
        for request in reversed(self._unprocessed):
            self.resent += 1
            again = request._replace(refused=request.refused + 1)
            # It may just have no room yet: once it has answered another. A server that refuses
            # everything is asked again at every look, not without a pause.
            if request.refused:
                self._refused.append(again)
            else:
                self._waiting.appendleft(again)
        self._unprocessed.clear()
        waiting = self._waiting
        if self._answers:
            waiting.extendleft(self._refused)
            self._refused.clear()
        while waiting and self._put(waiting[0]):
            waiting.popleft()

    def _renew(self) -> None:
        for lane in self._lanes:
            lane.renew()
        every = [c for lane in self._lanes for c in (lane.connection, *lane.leaving)]
        self._watched = {c.socket: c for c in every if not c.closed}

    def look(self, too_long: float) -> None:
        """Looks at what isn't urgent: broken connections, and deadlines that have passed.

        Args:
            too_long: requests that were taken up before are given up.
        """
        self._renew()
        for connection in self._watched.values():
            # In the order of their sending, which is that of their deadlines but for those that
            # were sent again, which are hardly older than their neighbours.
            while (request := connection.oldest()) and request.sent <= too_long:
                connection.give_up_oldest(_told(request, "the deadline passed without an answer"))
        self._waiting.extendleft(self._refused)
        self._refused.clear()
        code, why = DEADLINE_EXCEEDED, "the deadline passed before the server took the request"
        if self.unreachable:
            code, why, too_long = UNAVAILABLE, self.unreachable, float("inf")
        while self._waiting and self._waiting[0].sent <= too_long:
            request = self._waiting.popleft()
            self._answers.append(Answer(request, code, 0, _told(request, why)))
        self._send_again()


def _told(request: Request, why: str) -> str:
    return f"{why} (refused {request.refused} times)" if request.refused else why
