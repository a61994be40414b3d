"""One version of one model, and the states that it goes through."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
from pathlib import Path

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
    in_flight: int = 0
    wanted: bool = True
    task: asyncio.Task[None] | None = None
    idle: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    def __str__(self) -> str:
        return f"{{name: {self.name} version: {self.number}}}"
