"""What the commands that run notebooks have in common: how they end, and what they keep quiet."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable

from rich.console import Console

from helpers.errors import TutorialError

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)  # handled as Ctrl-C is: a closed terminal, a stopped CI


def call(run: Callable[[], int]) -> int:
    """Runs a command; returns its exit status: 2 for an error of ours, 130 after Ctrl-C."""
    for talkative in ("papermill", "asyncio"):  # errors are told by us, once
        logging.getLogger(talkative).setLevel(logging.CRITICAL)
    # The kernel of this environment, not one of the same name that the user installed.
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    before = {number: signal.signal(number, _interrupt) for number in _ENDINGS}
    try:
        return run()
    except TutorialError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def console() -> Console:
    """Where a command prints; a log has no width of its own."""
    found = Console()
    return found if found.is_terminal else Console(width=120)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
