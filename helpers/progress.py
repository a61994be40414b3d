"""One line that is rewritten while something is waited for: in a terminal, a notebook or a log."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

_REWRITE_EVERY_S = 0.25
_COUNT_EVERY_S = 1.0
_NO_WORDS_S = 1.0  # a shorter wait needs none


class Line:
    """A line of progress: updated in place on a screen, otherwise written once, at the end.

    To a text that ends in `…` the seconds are added that it has been there, so that whoever looks
    sees that something goes on.
    """

    def __init__(self) -> None:
        self._text = self._pending = ""
        self._since = self._changed = -math.inf
        self._display: Any = None
        self._rewrites = sys.stdout.isatty()
        self._cell = _cell()
        self._lock, self._counting = threading.Lock(), False

    def show(self, text: str, *, now: bool = False) -> None:
        """Replaces the line; at most four times a second, unless it has to be `now`."""
        with self._lock:
            if text != self._pending:
                self._pending, self._since = text, time.monotonic()
            if now or time.monotonic() - self._changed >= _REWRITE_EVERY_S:
                self._write(text)
            if text.endswith("…") and not self._counting and (self._cell or self._rewrites):
                self._counting = True
                threading.Thread(target=self._count, daemon=True).start()

    def end(self, text: str = "") -> None:
        """Leaves the line, with these last words, as it is; what follows starts on the next one."""
        self.show((text or self._pending).removesuffix("…").rstrip(), now=True)
        if self._text and self._cell is None:
            print("" if self._rewrites else self._text, flush=True)

    def _count(self) -> None:
        while True:
            time.sleep(_COUNT_EVERY_S)
            with self._lock:
                # The cell may have ended by an error, and the line with it.
                if not self._pending.endswith("…") or self._cell != _cell():
                    self._counting = False
                    return
                waited_s = time.monotonic() - self._since
                if waited_s >= _COUNT_EVERY_S:
                    self._write(f"{self._pending} {waited_s:.0f} s")

    def _write(self, text: str) -> None:
        if text == self._text:
            return
        before, self._text, self._changed = self._text, text, time.monotonic()
        if self._cell is not None:
            from IPython.display import display

            if self._display is None:
                self._display = display(_Text(text), display_id=True)
            else:
                self._display.update(_Text(text))
        elif self._rewrites:
            print("\r" + text.ljust(len(before)), end="", flush=True)


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


def _cell() -> int | None:
    """The number of the cell that a Jupyter kernel runs; None where this process isn't one.

    IPython isn't imported to find that out.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return int(shell.execution_count)
