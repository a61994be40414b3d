"""Small servers for tests, in threads of this process: of pages, of predictions."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: the tests' output is for what fails."""


@contextmanager
def served(handler: Callable[..., Any], pair: Path | None = None) -> Iterator[str]:
    """Its `host:port`. With a file that holds a key and a certificate, it speaks TLS."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def predicting(
    predict: Callable[[bytes, grpc.ServicerContext], bytes], *, threads: int, **options: int
) -> Iterator[str]:
    """The address of a server of gRPC's core that answers Predict, with gRPC's options."""
    handler = grpc.method_handlers_generic_handler(
        "tensorflow.serving.PredictionService",
        {"Predict": grpc.unary_unary_rpc_method_handler(predict)},
    )
    server = grpc.server(
        futures.ThreadPoolExecutor(threads),
        options=[(f"grpc.{name}", value) for name, value in options.items()],
    )
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
