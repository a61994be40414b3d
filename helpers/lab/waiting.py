"""Waiting for a condition, with a line that says for how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from helpers import settings
from helpers.errors import NotReadyError
from helpers.progress import Line

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], *, what: str, timeout_s: float, poll_s: float = 0.1
) -> T:
    """Waits until a condition holds, showing for how long, and returns what it returned.

    Args:
        condition: called again and again; anything true ends the wait. Its exceptions pass.
        what: what is waited for, to follow "waiting for": `replica 2 to be ready`.
        timeout_s: the longest wait in seconds.
        poll_s: seconds between two calls.

    Raises:
        NotReadyError: the condition did not hold in time.
    """
    line, start = Line(), time.monotonic()
    while not (answer := condition()):
        waited_s = time.monotonic() - start
        if waited_s >= timeout_s:
            line.end(f"timed out waiting for {what} after {waited_s:.0f} s")
            raise NotReadyError(
                f"waited {timeout_s:g} s for {what}",
                next_step=f"Look at the logs in {settings.LOGS}, or allow more time (timeout_s).",
            )
        if waited_s >= 1:  # a shorter wait needs no words
            line.show(f"waiting for {what} … {waited_s:.0f} s")
        time.sleep(min(poll_s, timeout_s - waited_s))
    waited_s = time.monotonic() - start
    if waited_s >= 1:
        line.end(f"waited {waited_s:.1f} s for {what}")
    return answer
