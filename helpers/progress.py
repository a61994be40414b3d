"""One line that is rewritten while something is waited for: in a terminal, a notebook or a log."""

from __future__ import annotations

import math
import sys
import time
from html import escape
from typing import Any

_REWRITE_EVERY_S = 0.25


class Line:
    """A line of progress: updated in place on a screen, otherwise written once, at the end."""

    def __init__(self) -> None:
        self._text = self._pending = ""
        self._changed = -math.inf
        self._display: Any = None
        self._rewrites = sys.stdout.isatty()
        self._notebook = _in_a_kernel()

    def show(self, text: str, *, now: bool = False) -> None:
        """Replaces the line; at most four times a second, unless it has to be `now`."""
        self._pending, moment = text, time.monotonic()
        if text == self._text or not (now or moment - self._changed >= _REWRITE_EVERY_S):
            return
        before, self._text, self._changed = self._text, text, moment
        if self._notebook:
            from IPython.display import display

            if self._display is None:
                self._display = display(_Text(text), display_id=True)
            else:
                self._display.update(_Text(text))
        elif self._rewrites:
            print("\r" + text.ljust(len(before)), end="", flush=True)

    def end(self, text: str = "") -> None:
        """Leaves the line, with these last words, as it is; what follows starts on the next one."""
        self.show(text or self._pending, now=True)
        if self._text and not self._notebook:
            print("" if self._rewrites else self._text, flush=True)


class _Text(str):
    """Text that a notebook shows without quotes, in grey."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f'<div class="progress" style="opacity: .7">{escape(self)}</div>'


def _in_a_kernel() -> bool:
    """Whether this process is a Jupyter kernel, without importing IPython to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")
