"""Does a notebook's exercises as their solutions say, after the steps that they build upon."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from helpers.book import lessons
from helpers.lab import recordings

_STEP = re.compile(r"^## (\d+)\. ", re.MULTILINE)
_FENCE = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


class Solved:
    """The values of a notebook's solutions; leaving it closes the notebook's cluster.

    Args:
        number: the notebook's.
        steps: those whose cells come first; its parameters always do.
        parameters: that differ from the notebook's own.
    """

    def __init__(
        self, number: str, *, steps: Sequence[int] = (), parameters: Mapping[str, Any] = {}
    ) -> None:
        (lesson,) = lessons.choose(lessons.find(), number)
        self._names: dict[str, Any] = {}
        step, own = 0, ""
        for cell in lessons.read(lesson.path).cells:
            if cell.cell_type == "markdown":
                step = int(([str(step), *_STEP.findall(cell.source)])[-1])
                own = cell.source if cell.source.startswith("## On your own") else own
            elif "parameters" in lessons.tags(cell):
                self._run(cell.source)
                assert self._names.keys() >= parameters.keys()
                self._names |= parameters
            elif not own and step in steps and recordings.need(cell.source) is None:
                self._run(cell.source)
        self._solutions = [textwrap.dedent(code) for _, code in _FENCE.findall(own)]

    def values(self) -> list[Any]:
        """What the last line of each solution gives, in order."""
        return [self._run(code) for code in self._solutions]

    def __enter__(self) -> Solved:
        return self

    def __exit__(self, *_: object) -> None:
        if (cluster := self._names.get("cluster")) is not None:
            cluster.delete()
            cluster.close()

    def _run(self, source: str) -> Any:
        *body, last = ast.parse(source).body
        whole = [*body, *([] if isinstance(last, ast.Expr) else [last])]
        exec(compile(ast.Module(whole, []), "a cell", "exec"), self._names)
        if isinstance(last, ast.Expr):
            return eval(compile(ast.Expression(last.value), "a cell", "eval"), self._names)
        return None
