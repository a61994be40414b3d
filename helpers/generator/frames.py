"""HTTP/2 frames (RFC 9113, sections 4 and 6), and what the end of a gRPC call says.

Sources: RFC 9113; gRPC's PROTOCOL-HTTP2.md, http-grpc-status-mapping.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote

from helpers.generator import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
WINDOW_UPDATE, CONTINUATION = 8, 9

END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITY = 0x4, 0x8, 0x20

# Settings, with the values that hold until a peer says otherwise.
TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME = 1, 2, 3, 4, 5
DEFAULT_TABLE_SIZE = 4096
DEFAULT_WINDOW = 65535
DEFAULT_FRAME = 16384
LARGEST_WINDOW = LAST_STREAM = 2**31 - 1

REFUSED_STREAM, CANCEL = 7, 8

OK, CANCELLED, UNKNOWN, DEADLINE_EXCEEDED = 0, 1, 2, 4
PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 7, 8, 12, 13
UNAVAILABLE, UNAUTHENTICATED = 14, 16

_FROM_HTTP = {
    400: INTERNAL,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}
_ENHANCE_YOUR_CALM, _INADEQUATE_SECURITY = 11, 12
_FROM_RESET = {
    CANCEL: CANCELLED,
    _ENHANCE_YOUR_CALM: RESOURCE_EXHAUSTED,
    _INADEQUATE_SECURITY: PERMISSION_DENIED,
}

HEADER = struct.Struct(">HBBBL")  # length (its upper 16 and lower 8 bits), type, flags, stream
HEADER_BYTES = HEADER.size
WORD = struct.Struct(">L")
SETTING = struct.Struct(">HL")


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A whole frame."""
    length = len(payload)
    return HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def settings(pairs: Iterable[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(key, value) for key, value in pairs))


def message(payload: bytes) -> memoryview:
    """A serialized message as gRPC puts it into DATA: not compressed, its length, its bytes."""
    return memoryview(struct.pack(">BL", 0, len(payload)) + payload)


@lru_cache(maxsize=256)
def ending(block: bytes) -> tuple[int, str]:
    """The gRPC status and message in the last header block of a call."""
    headers = hpack.decode(block)
    status = headers.get(b"grpc-status")
    if status is None:
        http = int(headers.get(b":status", b"0"))
        return _FROM_HTTP.get(http, UNKNOWN), f"HTTP status {http} without a gRPC status"
    return int(status), unquote(headers.get(b"grpc-message", b"").decode("ascii", "replace"))


def reset(code: int) -> tuple[int, str]:
    """The gRPC status and a message for a stream that ended with RST_STREAM."""
    return _FROM_RESET.get(code, INTERNAL), f"the server reset the stream (error {code})"


def padding(flags: int, payload: memoryview) -> int:
    """How many bytes of a DATA frame's payload only fill it up."""
    return 1 + payload[0] if flags & PADDED else 0


def header_block(flags: int, payload: memoryview) -> bytes:
    """The header block (or its first part) in a HEADERS frame's payload."""
    start, end = 0, len(payload)
    if flags & PADDED:
        start, end = 1, end - payload[0]
    if flags & PRIORITY:
        start += 5
    return bytes(payload[start:end])
