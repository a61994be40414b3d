"""One line that is rewritten while something is waited for."""

from __future__ import annotations

import sys
from typing import Any


class Line:
    """A line of progress: updated in place on a screen, otherwise written once, at the end."""

    def __init__(self) -> None:
        self._text = ""
        self._display: Any = None
        self._rewrites = sys.stdout.isatty()
        self._notebook = _in_a_kernel()

    def show(self, text: str) -> None:
        """Replaces the line."""
        if text == self._text:
            return
        before, self._text = self._text, text
        if self._notebook:
            from IPython.display import display

            if self._display is None:
                self._display = display(_Text(text), display_id=True)
            else:
                self._display.update(_Text(text))
        elif self._rewrites:
            print("\r" + text.ljust(len(before)), end="", flush=True)

    def end(self) -> None:
        """Leaves the line as it is; what follows starts on the next one."""
        if self._text and not self._notebook:
            print("" if self._rewrites else self._text, flush=True)


class _Text(str):
    """Text that a notebook shows without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _in_a_kernel() -> bool:
    """Whether this process is a Jupyter kernel, without importing IPython to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")
