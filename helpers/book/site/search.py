"""What the pages say, by section, for the search that each page has: by MiniSearch, without a net.

Pagefind would fetch parts of its index, which browsers refuse to a page that is opened from a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString

LIBRARY = Path(__file__).parent / "search_library" / "minisearch.js"
_APART = ("p", "li", "td", "th", "tr", "pre", "div", "section", "figure", "summary", "details")
_LONGEST = 4000  # characters of a section: a longer one is an output that nobody searches


def sections(page: str, title: str, html: str) -> Iterator[dict[str, Any]]:
    """The sections of a page: where each is, and its text.

    Args:
        page: the page's file name.
        title: the page's title.
        html: its content, whose second- and third-level headings have anchors.
    """
    here = {"url": page, "page": title, "title": title, "text": ""}
    for element in BeautifulSoup(html, "html.parser").descendants:
        if isinstance(element, Tag) and element.name in ("h2", "h3") and element.get("id"):
            yield from _full(here)
            anchor = f"{page}#{element['id']}"
            own = [text for text in element.strings if not _beside(text)]
            title_here = " ".join("".join(own).split())
            here = {"url": anchor, "page": title, "title": title_here, "text": ""}
        elif isinstance(element, Tag) and element.name in _APART:
            here["text"] += " "
        elif isinstance(element, str) and not element.find_parent(["h2", "h3"]):
            here["text"] += element
    yield from _full(here)


def _beside(text: NavigableString) -> bool:
    """Whether it is no word of a heading but its number, or how long its step took."""
    return text.find_parent(class_=["step", "took"]) is not None


def _full(section: dict[str, Any]) -> Iterator[dict[str, Any]]:
    text = " ".join(section["text"].split())
    if text or section["title"] != section["page"]:
        yield section | {"text": text[:_LONGEST].strip()}


def script(found: list[dict[str, Any]]) -> str:
    """`search.js`: the library, and what there is to find."""
    data = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    return f"{LIBRARY.read_text(encoding='utf-8')}\nconst SECTIONS = {data};\n"
