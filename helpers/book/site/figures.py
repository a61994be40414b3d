"""The pictures of executed notebooks that stand on the front page: covers, and those to share."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bs4 import BeautifulSoup

from helpers.book.lessons import step_of, tags
from helpers.lab.claims import CLAIM


@dataclass(frozen=True)
class Figure:
    """A picture that a cell showed.

    Args:
        content: its bytes.
        ending: of its file's name.
        alt: the words that stand for it.
        caption: what it tells, as Markdown: the cell's own caption, or the claim that follows it.
        step: the heading that it belongs to.
        kind: the function that drew it; its words, if it wasn't drawn but is a photograph.
    """

    content: bytes
    ending: str
    alt: str
    caption: str = ""
    step: str = ""
    kind: str = ""
    drawn: bool = False


def covers(nodes: Sequence[Any]) -> list[Figure | None]:
    """A picture for each notebook: of the cell tagged `cover`, otherwise one that tells it apart.

    That is the last of the figures whose kind the fewest notebooks have. None of a kind that an
    earlier one has already: three cards with one picture would look like one notebook.

    Args:
        nodes: executed notebooks; None for one that wasn't run.
    """
    found = [_all_figures(node) if node is not None else [] for node in nodes]
    common = Counter(kind for figures in found for kind in {figure.kind for _, figure in figures})
    taken: set[str] = set()
    chosen: list[Figure | None] = []
    for figures in found:
        own = [found for found in reversed(figures) if found[1].kind not in taken]
        own.sort(key=lambda found: ("cover" not in tags(found[0]), common[found[1].kind]))
        cover = own[0][1] if own else None
        chosen.append(cover)
        taken |= {cover.kind} if cover else set()
    return chosen


def _all_figures(node: Any) -> list[tuple[Any, Figure]]:
    return [(cell, figure) for cell in node.cells for figure in _figures_of(node, cell)]


def to_share(node: Any) -> list[Figure]:
    """The pictures of the cells tagged `share`."""
    tagged = [cell for cell in node.cells if "share" in tags(cell)]
    return [figure for cell in tagged for figure in list(_figures_of(node, cell))[:1]]


def _figures_of(node: Any, cell: Any) -> Iterator[Figure]:
    """A cell's pictures, also those within its HTML."""
    drawn = re.search(r"\bplots\.(\w+)\(", cell.get("source", ""))
    for kind, data, alt in _pictures(cell):
        yield Figure(
            base64.b64decode(data),
            {"jpeg": "jpg"}.get(kind, kind),
            alt,
            caption=cell.metadata.get("caption") or _next_claim(node, cell),
            step=step_of(node, node.cells.index(cell)),
            kind=drawn[1] if drawn else alt or data[-64:],
            drawn=bool(drawn),
        )


def _pictures(cell: Any) -> Iterator[tuple[str, str, str]]:
    """Type, base64 and alternative text."""
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        for kind in ("png", "jpeg"):
            if (mime := f"image/{kind}") in data:
                words = output.metadata.get(mime, {}).get("alt") or cell.metadata.get("alt", "")
                yield kind, data[mime], words
        for image in BeautifulSoup(data.get("text/html", ""), "html.parser").find_all("img"):
            if inline := re.match(r"data:image/(png|jpeg);base64,", str(image.get("src"))):
                yield inline[1], str(image["src"])[inline.end() :], str(image.get("alt", ""))


def _next_claim(node: Any, cell: Any) -> str:
    """The first claim of the same step behind a cell: what is true of its picture in this run."""
    start = node.cells.index(cell)
    for later in node.cells[start + 1 :]:
        if later.cell_type == "markdown" and re.search(r"^## ", later.source, re.MULTILINE):
            return ""
        for output in later.get("outputs", []):
            if (claim := output.get("data", {}).get(CLAIM)) is not None:
                return str(claim["sentence"])
    return ""
