"""One line that is rewritten while something is waited for: in a terminal, a notebook or a log."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

_REWRITE_EVERY_S = 0.25
_NO_WORDS_S = 1.0  # a shorter wait needs none


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


class Repeated:
    """A line that all waits of one kind in a notebook's cell share, such as a search's 20 loads.

    Elsewhere it shows nothing: a command says by itself what it is doing.

    Args:
        what: one of them, in a word: `load`.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._cell: int | None = None
        self._line, self._count, self._spent_s = Line(), 0, 0.0

    @contextmanager
    def once(self) -> Iterator[Callable[[str], None]]:
        """One such wait; call what it gives with how far that is, again and again."""
        start, cell = time.monotonic(), _cell()
        if cell != self._cell:
            self._cell, self._line, self._count, self._spent_s = cell, Line(), 0, 0.0
        self._count += 1

        def show(text: str) -> None:
            if cell is not None and self._spent_s + time.monotonic() - start >= _NO_WORDS_S:
                self._line.show(f"{self._what} {self._count}: {text}")

        try:
            yield show
        finally:
            self._spent_s += time.monotonic() - start
            if cell is not None and self._spent_s >= _NO_WORDS_S:
                words = f"{self._count} {self._what}{'s' * (self._count > 1)}"
                self._line.end(f"{words} in {self._spent_s:.0f} s")


class _Text(str):
    """Text that a notebook shows without quotes, in grey."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f'<div class="progress" style="opacity: .7">{escape(self)}</div>'


def _in_a_kernel() -> bool:
    return _cell() is not None


def _cell() -> int | None:
    """The number of the cell that a Jupyter kernel runs; None where this process isn't one.

    IPython isn't imported to find that out.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return int(shell.execution_count)
