"""An error that becomes a gRPC status or an HTTP status, with the original's text."""

from __future__ import annotations

import grpc

Code = grpc.StatusCode

# Source: model_servers/http_rest_api_util.cc (ToHTTPStatusCode). Anything else is a 500.
HTTP_STATUS = {
    Code.OK: 200, Code.INVALID_ARGUMENT: 400, Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400, Code.UNAUTHENTICATED: 401, Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404, Code.ALREADY_EXISTS: 409, Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429, Code.CANCELLED: 499, Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503, Code.DEADLINE_EXCEEDED: 504,
}  # fmt: skip
_BY_NUMBER = {code.value[0]: code for code in Code}
_LONGEST = 1024  # characters of a message, as in the original's grpc_status_util.cc
_CUT = "...TRUNCATED"


class StatusError(Exception):
    """A request, or a load, that failed with a gRPC code and the original's message."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def short(self) -> str:
        """The message as gRPC sends it, cut to 1,024 characters; REST sends it whole."""
        whole = len(self.message) <= _LONGEST
        return self.message if whole else self.message[: _LONGEST - len(_CUT)] + _CUT

    def bare(self) -> StatusError:
        """The same without its traceback and its cause."""
        return StatusError(self.code, self.message)

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def invalid(message: str) -> StatusError:
    """The most common one: INVALID_ARGUMENT."""
    return StatusError(Code.INVALID_ARGUMENT, message)


def failed_precondition(message: str) -> StatusError:
    """The request is well-formed, but not for this model or this moment."""
    return StatusError(Code.FAILED_PRECONDITION, message)


def not_found(message: str) -> StatusError:
    """There is no such model, version or file."""
    return StatusError(Code.NOT_FOUND, message)


def from_exception(error: BaseException) -> StatusError:
    """What a client sees of an error: TensorFlow's own errors keep their code and text."""
    if isinstance(error, StatusError):
        return error
    number = getattr(error, "error_code", None)  # tensorflow.errors.OpError
    if number is not None:
        text = str(getattr(error, "message", error))
        return StatusError(_BY_NUMBER.get(number, Code.UNKNOWN), text)
    if isinstance(error, MemoryError):
        return StatusError(Code.RESOURCE_EXHAUSTED, f"out of memory: {error}")
    return StatusError(Code.INTERNAL, f"{type(error).__name__}: {error}")
