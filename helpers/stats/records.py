"""What is written down of each request: no more than was seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# One request. Times are seconds on a clock that only goes forward; 0 is the start of measuring, so
# that the warm-up is what was due before it.
RECORD = np.dtype(
    [
        ("due_s", "<f8"),  # when it was to be sent
        ("sent_s", "<f8"),  # when it was
        ("done_s", "<f8"),  # when its answer, or its failure, was there
        ("bytes", "<i4"),  # the answer's size
        ("code", "<i2"),  # its gRPC status
        ("process", "<u2"),  # which generator sent it
    ]
)

Records = npt.NDArray[Any]

# https://grpc.io/docs/guides/status-codes: the numbers are the positions.
CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)


def within(records: Records, moment: str, duration_s: float) -> Records:
    """The requests of which a moment (`due_s`, `sent_s`, `done_s`) lies in the measured window."""
    return records[(records[moment] >= 0) & (records[moment] < duration_s)]


def code_name(code: int) -> str:
    """The name of a gRPC status."""
    return CODES[code] if 0 <= code < len(CODES) else f"CODE_{code}"
