"""The closed loop of `helpers.load` over HTTP/1.1: the same run comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from helpers.load import Run
from helpers.load.plans import plan
from helpers.load.runner import execute


def request(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """A POST as it goes over the wire."""
    fields = {"Host": "127.0.0.1", **headers, "Content-Length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def closed_loop(
    address: tuple[str, int], requests: Sequence[bytes], *, concurrency: int, **options: Any
) -> Run:
    """`load.closed_loop` with whole requests, as `request` makes them, in the place of photos.

    Args:
        address: IP address and port.
        requests: one photo in each; sent in turns.
        concurrency: requests without an answer at any time; each has a connection.
        **options: `duration_s`, `warmup_s` and `timeout_s`.
    """
    options = {"warmup_s": 0.0, "scenario": "closed_loop", "channels": concurrency, **options}
    asked = plan("{}:{}".format(*address), requests, concurrency=concurrency, **options)
    module = "benchmarks.peers.http1"
    return execute(replace(asked, requests=list(requests), module=module))
