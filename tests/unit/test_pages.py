"""Why a page of metrics didn't come: each reason, brought about, has words of its own."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from helpers.client import addresses, pages
from helpers.errors import ClusterError, ServerUnavailableError


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Takes connections and says nothing by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def at(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


def why(address: str) -> str:
    with pytest.raises(ClusterError) as raised:
        pages.read(address, "/metrics", whose="inception-0", timeout_s=1)
    return str(raised.value)


def test_a_server_without_the_page() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=server.handle_request, daemon=True).start()
        said = why(f"127.0.0.1:{server.server_port}")
    assert "it answers HTTP 501" in said
    assert "--monitoring_config_file" in said


def test_nobody_listens(listener: socket.socket) -> None:
    address = at(listener)
    listener.close()
    assert "nothing listens there. See whether it still runs" in why(address)


def test_a_server_that_hangs(listener: socket.socket) -> None:
    assert "no answer in 1 s. See whether it hangs" in why(at(listener))


@pytest.mark.parametrize("said", [b"\x00\x00\x06\x04\x00\x00\x00\x00\x00", b""])
def test_another_protocols_port(listener: socket.socket, said: bytes) -> None:
    def speak() -> None:
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(said)
        connection.close()

    threading.Thread(target=speak, daemon=True).start()
    assert "doesn't answer in HTTP" in why(at(listener))


@pytest.mark.parametrize("address", ["", "127.0.0.1:grpc", "a b:1"])
def test_no_address(address: str) -> None:
    said = why(address)
    assert "isn't an address" in said or "Check the address" in said


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(ServerUnavailableError, match=r"nowhere\.invalid"):
        addresses.resolve_all("nowhere.invalid:8500")


def test_a_name_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", away)
    with pytest.raises(ServerUnavailableError, match=r"no name server answers.*a VPN"):
        addresses.resolve_all("models.example:8500")


def test_a_name_that_none_can_be() -> None:
    with pytest.raises(ServerUnavailableError, match="can't be the name of a host"):
        addresses.resolve_all(f"{'a' * 70}.example:8500")
