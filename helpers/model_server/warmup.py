"""Requests recorded with a model, run before it serves: `assets.extra/tf_serving_warmup_requests`.

A TFRecord file of PredictionLog. A request that fails fails the load, as in the original.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorflow.python.framework import errors_impl
from tensorflow.python.lib.io import _pywrap_record_io
from tensorflow_serving.apis import prediction_log_pb2

from helpers.model_server import metrics
from helpers.model_server.loading import Model
from helpers.model_server.status import Code, StatusError, from_exception, invalid

log = logging.getLogger("model_server")
FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MOST_RECORDS = 1000

Answer = Callable[[Model, prediction_log_pb2.PredictionLog], Awaitable[object]]


async def run(model: Model, answer: Answer, *, iterations: int) -> None:
    """Run a version's recorded requests.

    Args:
        answer: runs one record, through the batches as a client's request would.
        iterations: how often each is run.

    Raises:
        StatusError: the file is damaged, too long, or a request in it failed.
    """
    path = model.path / FILE
    if not path.exists():
        log.info("No warmup data file found at %s", path)
        return
    begun, count, status = time.monotonic(), 0, "OK"
    try:
        for count, record in enumerate(_pywrap_record_io.RecordIterator(str(path), ""), 1):
            if count > MOST_RECORDS:
                raise invalid(
                    f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {path}"
                )
            for _ in range(iterations):
                await answer(model, prediction_log_pb2.PredictionLog.FromString(record))
    except Exception as error:
        failure = from_exception(error)
        if isinstance(error, DecodeError):
            failure = invalid(f"Failed to parse warmup record: {record[:80]!r} from {path}")
        elif isinstance(error, errors_impl.DataLossError):
            hint = "Please verify your warmup data is in TFRecord format."
            failure = StatusError(Code.DATA_LOSS, f"{error.message} ({path}). {hint}")
        status = str(failure)
        raise failure from error
    finally:
        elapsed_us = (time.monotonic() - begun) * 1e6
        metrics.warmup_latency.observe(elapsed_us, str(model.path), status)
        metrics.warmup_records.add(str(model.path), status, by=count)
    log.info(
        "Finished reading warmup data for model at %s. Number of warmup records read: %d. "
        "Elapsed time (microseconds): %.0f.", path, count, elapsed_us,
    )  # fmt: skip
