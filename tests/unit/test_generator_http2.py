"""The load generator's own HTTP/2, and odd servers."""

import select
import socket
from collections.abc import Iterator

import pytest

from helpers.generator import frames, hpack
from helpers.generator.http2 import Answer, Connection

METHOD = "/tensorflow.serving.PredictionService/Predict"


def literal(name: bytes, value: bytes) -> bytes:
    return hpack.encode([(name, value)], indexed=False)


def test_the_end_of_a_call_says_its_status_and_message() -> None:
    block = literal(b"grpc-status", b"3") + literal(b"grpc-message", b"50%25 of it")
    assert frames.ending(block) == (3, "50% of it")


def test_a_proxys_refusal_is_read_as_grpc_means_it() -> None:
    assert frames.ending(literal(b":status", b"503"))[0] == frames.UNAVAILABLE


class Server:
    """The other end of a connection, played by hand."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.answers: list[Answer] = []
        self.unprocessed: list[str] = []
        self.connection = Connection(
            self.listener.getsockname(),
            method=METHOD,
            authority="test",
            timeout_s=10,
            answers=self.answers,
            unprocessed=self.unprocessed,
        )
        self.peer, _ = self.listener.accept()
        self.peer.settimeout(10)

    def says(self, *data: bytes) -> None:
        self.peer.sendall(b"".join(data))
        select.select([self.connection.socket], [], [], 10)
        self.connection.on_readable()

    def greets(self, **settings: int) -> None:
        self.connection.on_writable()
        numbers = {"table": frames.TABLE_SIZE, "window": frames.INITIAL_WINDOW}
        self.says(frames.settings([(numbers[k], v) for k, v in settings.items()]))

    def hears(self) -> list[tuple[int, int, int, bytes]]:
        """The frames that have come since: type, flags, stream, payload."""
        self.connection.on_writable()
        self.peer.setblocking(False)
        data = self.peer.recv(1 << 20).removeprefix(frames.PREFACE)
        self.peer.setblocking(True)
        found, at = [], 0
        while at < len(data):
            high, low, kind, flags, stream = frames.HEADER.unpack_from(data, at)
            start, size = at + frames.HEADER_BYTES, high << 8 | low
            found.append((kind, flags, stream, data[start : start + size]))
            at = start + size
        return found

    def heard(self, kind: int) -> list[tuple[int, bytes]]:
        return [(stream, payload) for k, _, stream, payload in self.hears() if k == kind]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.connection.fail("the test is over")
    server.peer.close()
    server.listener.close()


def trailers(stream: int, status: bytes) -> bytes:
    flags = frames.END_HEADERS | frames.END_STREAM
    return frames.frame(frames.HEADERS, flags, stream, literal(b"grpc-status", status))


BODY = frames.message(b"photo")


def test_a_connection_is_usable_once_the_server_greets(server: Server) -> None:
    before = server.connection.usable
    server.greets()
    assert (before, server.connection.usable) == (False, True)


def test_an_answer_carries_its_calls_token_and_size(server: Server) -> None:
    server.greets()
    server.connection.call("first", BODY)
    server.connection.call("second", BODY)
    data = frames.frame(frames.DATA, 0, 3, b"answer")
    server.says(data, trailers(3, b"0"))
    assert server.answers == [Answer("second", 0, 6, "")]


def test_the_second_calls_headers_are_a_byte_each(server: Server) -> None:
    server.greets()
    server.connection.call(1, BODY)
    server.connection.call(2, BODY)
    first, second = (payload for _, payload in server.heard(frames.HEADERS))
    assert len(second) == 8
    assert METHOD.encode() in first


def test_a_request_that_waits_does_not_hold_up_others(server: Server) -> None:
    server.greets(window=4)
    server.connection.call(1, BODY)
    server.says(frames.settings([(frames.INITIAL_WINDOW, 0)]))
    server.connection.call(2, BODY)
    server.says(frames.frame(frames.WINDOW_UPDATE, 0, 3, frames.WORD.pack(100)))
    assert (3, bytes(BODY)) in server.heard(frames.DATA)


def test_a_call_given_up_is_cancelled_at_the_server(server: Server) -> None:
    server.greets()
    server.connection.call("late", BODY)
    server.connection.give_up_oldest("the deadline passed")
    assert server.answers[0].code == frames.DEADLINE_EXCEEDED
    assert server.heard(frames.RST_STREAM) == [(1, frames.WORD.pack(frames.CANCEL))]


def test_a_web_server_is_told_from_a_grpc_server(server: Server) -> None:
    server.says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    assert "doesn't speak gRPC" in server.connection.closed
