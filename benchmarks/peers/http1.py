"""The load generator's process over HTTP/1.1 instead of gRPC: `helpers.generator` does the rest.

HTTP/1.1 answers one request at a time on a connection, so a closed loop has a connection for each
request on its way.
"""

from __future__ import annotations

import os
import re
import select
import socket
import sys
from typing import Any

from helpers.generator.__main__ import main
from helpers.generator.frames import DEADLINE_EXCEEDED, OK, UNAVAILABLE, UNKNOWN
from helpers.generator.http2 import Answer
from helpers.generator.transport import Transport

_CONNECT_S = 5.0
_FROM_HTTP = {200: OK, 429: UNAVAILABLE, 503: UNAVAILABLE, 504: DEADLINE_EXCEEDED}
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


class Connection(Transport):
    """One connection, with at most one request on its way; see `http2.Connection`."""

    framed = memoryview  # a request is sent as it is
    streams = 1
    going_away = False

    def __init__(self, address: tuple[str, int], *, answers: list[Answer], **_: Any) -> None:
        self._answers, self._token, self._answer = answers, None, bytearray()
        self.greeted = self.usable = False
        super().__init__(address)
        if not self.closed:
            select.select([], [self.socket], [], _CONNECT_S)
            if error := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.fail(os.strerror(error))
            else:
                self.greeted = self.usable = True

    @property
    def room(self) -> int:
        """How many more requests it takes now."""
        return int(self.usable and self._token is None)

    def call(self, token: Any, body: memoryview) -> None:
        """Sends a request. Its answer will carry `token`."""
        self._token = token
        self._answer.clear()
        self.outgoing.append(body)
        self.on_writable()

    def oldest(self) -> Any:
        """The token of the request that is on its way, or None."""
        return self._token

    def give_up_oldest(self, why: str) -> None:
        """Ends it with DEADLINE_EXCEEDED, and the connection with it."""
        self._end(DEADLINE_EXCEEDED, why)
        self.fail(why)

    def fail(self, why: str) -> None:
        """Closes the connection. A request on its way ends with UNAVAILABLE."""
        self.usable = False
        super().fail(why)
        if self._token is not None:
            self._end(UNAVAILABLE, why)

    def _read(self, data: memoryview) -> int:
        self._answer += data
        try:
            if not whole(self._answer):
                return len(data)
            code = _FROM_HTTP.get(int(self._answer[9:12]), UNKNOWN)
        except ValueError as error:
            self._end(UNKNOWN, f"what answers there doesn't speak HTTP/1.1: {error}")
            self.fail("it doesn't speak HTTP/1.1")
            return len(data)
        self._end(code, self._answer[:500].decode("latin1") if code else "")
        if _CLOSES.search(self._answer):
            self.fail("the server closed the connection")
        return len(data)

    def _end(self, code: int, details: str) -> None:
        self._answers.append(Answer(self._token, code, len(self._answer), details))
        self._token = None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Connection))
