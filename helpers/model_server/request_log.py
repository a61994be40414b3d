"""What is kept of a finished request: metrics, and with `--request_log` a line of JSON."""

from __future__ import annotations

import json
import sys
import time

from helpers.model_server import metrics
from helpers.model_server.inference import Call
from helpers.model_server.status import StatusError

enabled = False  # set by `server.run`


def finished(
    call: Call,
    failure: StatusError | None,
    begun: float,
    *,
    entrypoint: str,
    api: str,
    counted: bool,
) -> None:
    """Note a request's end.

    Args:
        begun: of `time.monotonic()`.
        entrypoint: `GRPC` or `REST`.
        api: as the original labels it: `Predict` over gRPC, `predict` over REST.
        counted: whether the original counts this API in its metrics.
    """
    took_us = (time.monotonic() - begun) * 1e6
    code = "OK" if failure is None else failure.code.name
    if counted:
        metrics.request_count.add(call.name, code)
        if failure is None:
            metrics.request_latency.observe(took_us, call.name, api, entrypoint)
    if not enabled:
        return
    line: dict[str, object] = {
        "time": round(time.time(), 3), "api": call.api, "entrypoint": entrypoint,
        "model": call.name, "version": call.version, "signature": call.signature,
        "code": code, "total_ms": round(took_us / 1e3, 3),
    }  # fmt: skip
    if call.answer is not None:
        line["batch_size"] = call.answer.batch_rows
        line["queue_ms"] = round(call.answer.queue_us / 1e3, 3)
        line["run_ms"] = round(call.answer.run_us / 1e3, 3)
    if failure is not None:
        line["message"] = failure.grpc_message
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
