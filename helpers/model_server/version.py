"""One version of one model, and the states that it goes through."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import threading
from pathlib import Path

from helpers.model_server import outcomes
from helpers.model_server.loading import Model
from helpers.model_server.status import StatusError

LARGEST = 2**63 - 1  # a version is an int64 in every message


def number_of(text: str) -> int | None:
    """The version that digits name; None where they aren't digits or don't fit an int64."""
    digits = text.isascii() and text.isdigit()
    # The length first: Python refuses to parse more than some thousand digits.
    number = int(text) if digits and len(text.lstrip("0")) <= len(str(LARGEST)) else LARGEST + 1
    return number if number <= LARGEST else None


class State(enum.IntEnum):
    """ModelVersionStatus.State of get_model_status.proto."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(eq=False)
class Version:
    """One version of a model, from the day it is found. Its last state is kept, as the error is."""

    name: str
    number: int
    path: Path
    state: State = State.START
    error: StatusError | None = None
    model: Model | None = None
    wanted: bool = True
    task: asyncio.Task[None] | None = None
    _in_flight: int = 0
    _idle: outcomes.Awaited | None = None
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def take(self) -> Model | None:
        """The model, for a request that will `let_go` of it; None when it isn't available."""
        with self._lock:
            if self.state != State.AVAILABLE:
                return None
            self._in_flight += 1
            return self.model

    def let_go(self) -> None:
        """A request is done with the model."""
        with self._lock:
            self._in_flight -= 1
            idle = None if self._in_flight else self._idle
        if idle is not None:
            outcomes.settle([(idle, None)])

    async def until_idle(self) -> None:
        """Wait for the requests that took the model. Its state says that there will be no more."""
        with self._lock:
            if not self._in_flight:
                return
            self._idle = outcomes.outcome()
        await self._idle

    def __str__(self) -> str:
        return f"{{name: {self.name} version: {self.number}}}"
