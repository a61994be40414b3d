"""What both clients have in common: their settings, their requests, how long they wait."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from helpers.client import addresses, protos, rpc
from helpers.client.answers import ModelVersion
from helpers.client.resilience import Resilience
from helpers.errors import (
    BadRequestError,
    DeadlineError,
    ModelNotFoundError,
    ServerUnavailableError,
    ServingError,
)

POLL_S = 0.2  # between two questions whether the model is ready
_STATUS_TIMEOUT_S = 2.0


class HasBytes(Protocol):
    """What `helpers.photos.Photo` is to a client: an object with JPEG bytes in `data`."""

    @property
    def data(self) -> bytes:
        """The photo's file, as it is."""


@dataclass(frozen=True)
class Settings:
    """What both clients are made from, checked once. The fields are `Classifier`'s arguments."""

    address: str | Sequence[str]
    model: str
    version: int | str | None
    timeout_s: float
    channels: int
    balancing: str
    max_attempts: int
    resilience: Resilience | None = None

    def __post_init__(self) -> None:
        if self.balancing not in rpc.BALANCING:
            raise ValueError(f"balancing is one of {rpc.BALANCING}, not {self.balancing!r}")
        if self.channels < 1:
            raise ValueError(f"channels is at least 1, not {self.channels}")
        if not 1 <= self.max_attempts <= rpc.MAX_ATTEMPTS:
            raise ValueError(f"max_attempts is 1 to {rpc.MAX_ATTEMPTS}, not {self.max_attempts}")
        if self.timeout_s <= 0:
            raise ValueError(f"timeout_s is more than 0, not {self.timeout_s}")

    @property
    def shown_address(self) -> str:
        """The address as it stands in errors."""
        return self.address if isinstance(self.address, str) else ", ".join(self.address)

    @property
    def target(self) -> str:
        """The address as gRPC wants it."""
        return addresses.target(self.address)

    @property
    def options(self) -> list[tuple[str, Any]]:
        """The channels' options."""
        if self.resilience is not None:
            return self.resilience.channel_options(self.target)
        return rpc.channel_options(
            self.target, balancing=self.balancing, max_attempts=self.max_attempts
        )

    def predict_request(self, photos: Sequence[bytes | HasBytes]) -> bytes:
        """A serialized PredictRequest; BadRequestError if there is nothing to send."""
        if isinstance(photos, bytes | str) or not isinstance(photos, Sequence):
            photos = [photos]  # a single photo: what else could classify(photo) mean?
        data = [_bytes_of(photo) for photo in photos]
        if not data:
            raise BadRequestError(
                "There is no photo to classify",
                next_step="Pass at least one: classify([photo]).",
            )
        request = protos.predict_request(data, model=self.model, version=self.version)
        return bytes(request.SerializeToString())

    def status_request(self) -> bytes:
        """A serialized GetModelStatusRequest."""
        spec = protos.model_spec(self.model, version=self.version)
        request = protos.get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return bytes(request.SerializeToString())

    def explain(self, error: Any, timeout_s: float) -> ServingError:
        """The project's error for a `grpc.RpcError`."""
        return rpc.explain(error, address=self.shown_address, model=self.model, timeout_s=timeout_s)

    def ready(self, versions: list[ModelVersion]) -> bool:
        """Whether a version serves; raises ModelNotFoundError if none ever will."""
        if any(v.state == "AVAILABLE" for v in versions):
            return True
        failed = [v for v in versions if v.state == "END" and v.error]
        if failed and len(failed) == len(versions):
            raise ModelNotFoundError(
                f"{self.model} on {self.shown_address} can't be loaded",
                cause=failed[0].error,
                next_step="Read the server's log, then export the model anew.",
            )
        return False


class Waiting:
    """How long `wait_until_ready` goes on, and what it says when it gives up."""

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._error: ServingError | None = None

    def next_timeout_s(self) -> float:
        """The deadline of the next question, in seconds from now."""
        return min(_STATUS_TIMEOUT_S, max(self._deadline - time.monotonic(), 0.1))

    def go_on(self, error: ServingError | None) -> None:
        """Returns while there is time left; then raises ServerUnavailableError."""
        # What the last question's own deadline cut short says less than the answer before it.
        if self._error is None or not isinstance(error, DeadlineError):
            self._error = error
        if time.monotonic() + POLL_S < self._deadline:
            return
        error = self._error
        raise ServerUnavailableError(
            f"{self._settings.model} on {self._settings.shown_address} was not ready in "
            f"{self._timeout_s:g} s",
            cause=error.what if error else "the server is still loading the model",
            next_step="Read the server's log: it says what it is waiting for.",
            code=error.code if error else "",
            details=error.details if error else "",
        ) from error


def _bytes_of(photo: bytes | HasBytes) -> bytes:
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    data = getattr(photo, "data", None)
    if not isinstance(data, bytes):
        raise BadRequestError(
            f"A {type(photo).__name__} is not a photo",
            cause="the client sends JPEG or PNG bytes",
            next_step="Read the file first: photos.read(path).",
        )
    return data
