"""The cells of an executed notebook as clean HTML: headings with anchors, tables, pictures."""

from __future__ import annotations

import ast
import base64
import copy
import functools
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter

from helpers import settings
from helpers.book.lessons import tags
from helpers.lab.claims import CLAIM
from helpers.lab.recordings import RECORDED

TEMPLATES = Path(__file__).parent / "templates"
FRAME = {"What you'll do": "do", "What you'll learn": "learn", "What you'll need": "need"}
_NUMBER = re.compile(r"^[+\-−]?[\d.,]+(e[+-]?\d+)?\s*(%|×|m?s|µs|[kMG]i?B|img/s|images/s)?$")  # noqa: RUF001 - as printed
_LONG = 40  # lines of a text output that are shown without scrolling


@dataclass(frozen=True)
class Body:
    """A notebook's content.

    Args:
        html: the cells, without the title.
        steps: anchor and text of each step, for the table of contents.
        do: what the reader does, in HTML; `learn`: what the reader learns, an item each.
    """

    html: str
    steps: tuple[tuple[str, str], ...]
    do: str
    learn: tuple[str, ...]


def render(node: Any, *, pages: Mapping[str, str], folder: Path) -> Body:
    """The cells of a notebook.

    Args:
        node: the executed notebook.
        pages: file name of each notebook that has a page to the page's.
        folder: where the page goes, from where its links lead.
    """
    node = _with_words_for_figures(_with_quiet_streams(_without_plumbing(node)))
    exporter = HTMLExporter(template_name="cells", extra_template_basedirs=[str(TEMPLATES)])
    exporter.exclude_anchor_links = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of missing alternative texts: they are added below
        html, _ = exporter.from_notebook_node(
            node,
            resources={
                "claim": CLAIM,
                "recorded": RECORDED,
                "overridden": any("injected-parameters" in tags(cell) for cell in node.cells),
            },
        )
    soup = BeautifulSoup(html, "html.parser")
    if (title := soup.h1) is not None:
        title.decompose()
    for style in soup.select("style, script"):
        style.decompose()
    _apostrophes(soup)
    do, learn = _frame(soup)
    _pictures(soup)
    steps = _headings(soup)
    _tables(soup)
    _long_texts(soup)
    _links(soup, pages=pages, folder=folder)
    return Body(str(soup), steps, do, learn)


def _without_plumbing(node: Any) -> Any:
    """A copy without the cell that publishes: the page has a table of its values at its end."""
    node = copy.deepcopy(node)
    node.cells = [cell for cell in node.cells if "published" not in tags(cell)]
    return node


def _with_quiet_streams(node: Any) -> Any:
    """Has one block of printed lines and one of log lines a cell, however they came.

    TensorFlow's log arrives in pieces between what the cell prints, and would tear it apart.
    """
    for cell in node.cells:
        seen: dict[str, Any] = {}
        outputs = []
        for output in cell.get("outputs", []):
            if output.output_type != "stream":
                outputs.append(output)
            elif output.name in seen:
                seen[output.name].text += output.text
            else:
                seen[output.name] = output
                outputs.append(output)
        if outputs:
            cell.outputs = sorted(outputs, key=lambda output: output.get("name") == "stderr")
    return node


def _with_words_for_figures(node: Any) -> Any:
    """A figure of `lab.plots` is described by the first line of its function's docstring."""
    for cell in node.cells:
        drawn = re.findall(r"\bplots\.(\w+)\(", cell.source) if cell.cell_type == "code" else []
        words = [_descriptions()[name] for name in drawn if name in _descriptions()]
        if words:
            cell.metadata.setdefault("alt", " ".join(words))
    return node


@functools.cache
def _descriptions() -> dict[str, str]:
    """What each function of `helpers/lab/plots` draws; read, since importing it takes a second."""
    paths = (settings.ROOT / "helpers" / "lab" / "plots").glob("*.py")
    return {
        one.name: (ast.get_docstring(one) or "").split("\n")[0]
        for path in paths
        for one in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(one, ast.FunctionDef)
    }


def _frame(soup: BeautifulSoup) -> tuple[str, tuple[str, ...]]:
    """Puts the notebook's frame (do, learn, need) into sections of their own."""
    do = ""
    learn: tuple[str, ...] = ()
    for heading in soup.find_all("h2"):
        kind = FRAME.get(heading.get_text().strip().replace("’", "'"))  # noqa: RUF001
        if kind is None:
            continue
        section = soup.new_tag("section", attrs={"class": f"frame {kind}"})
        following = []
        for sibling in heading.next_siblings:
            if isinstance(sibling, Tag) and sibling.name in ("h1", "h2"):
                break
            following.append(sibling)
        heading.insert_before(section)
        section.extend([heading, *following])
        if kind == "do" and section.p is not None:
            do = section.p.decode_contents()
        if kind == "learn":
            learn = tuple(item.decode_contents() for item in section.find_all("li"))
    for first in soup.select("section.frame.do"):
        if first.parent is not None:
            first.parent["class"] = "prose framed"
    return do, learn


def _apostrophes(soup: BeautifulSoup) -> None:
    """Sets the apostrophes of the prose, which are typed straight, as a printer would."""
    for text in soup.find_all(string=re.compile(r"\w'\w")):
        if text.find_parent(class_="prose") and not text.find_parent(["code", "pre"]):
            text.replace_with(re.sub(r"(?<=\w)'(?=\w)", "’", text))  # noqa: RUF001


def _headings(soup: BeautifulSoup) -> tuple[tuple[str, str], ...]:
    """Gives each heading an anchor; returns the second-level ones outside the frame."""
    used: set[str] = set()
    steps = []
    for heading in soup.find_all(["h1", "h2", "h3", "h4"]):
        if heading.name == "h1":
            heading.name = "h2"  # the page's title is the only one of the first level
        text = heading.get_text().strip()
        slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section"
        anchor = slug
        while anchor in used:
            anchor = f"{slug}-{len(used)}"
        used.add(anchor)
        heading["id"] = anchor
        if heading.name == "h2" and heading.find_parent(class_="frame") is None:
            steps.append((anchor, text))
            numbered = re.match(r"(\d+)\.\s+", text)
            first = heading.contents[0] if heading.contents else None
            if numbered and isinstance(first, str):
                first.replace_with(first.lstrip()[numbered.end() :])
                mark = soup.new_tag("span", attrs={"class": "step"})
                mark.string = numbered[1]
                heading.insert(0, mark)
                heading.insert(1, " ")
    return tuple(steps)


def _tables(soup: BeautifulSoup) -> None:
    """Wraps tables, so that a wide one scrolls by itself, and aligns numbers right."""
    for table in soup.find_all("table"):
        for attribute in ("border", "style"):
            table.attrs.pop(attribute, None)
        box = soup.new_tag("div", attrs={"class": "table", "tabindex": "0"})
        table.wrap(box)
        rows = [row.find_all(["td", "th"]) for row in table.find_all("tr")]
        for column in range(max(map(len, rows), default=0)):
            cells = [row[column] for row in rows if column < len(row)]
            body = [cell for cell in cells if cell.name == "td"]
            if body and all(_is_number(cell.get_text()) for cell in body):
                for cell in cells:
                    classes = filter(None, cell.get_attribute_list("class"))
                    cell["class"] = " ".join([*classes, "number"])


def _is_number(text: str) -> bool:
    text = text.strip()
    return text in ("", "–", "—", "NaN") or _NUMBER.match(text) is not None


def _pictures(soup: BeautifulSoup) -> None:
    """Every picture gets words: its own, or those of the step that it belongs to."""
    for image in soup.find_all("img"):
        alt = str(image.get("alt", "")).strip()
        if not alt or "No description" in alt:  # nbconvert's words for none
            heading = image.find_previous(["h2", "h3"])
            step = heading.get_text().strip() if heading else "this page"
            image["alt"] = f"Figure of the step “{step}”"
        image["loading"] = "lazy"


def _long_texts(soup: BeautifulSoup) -> None:
    for text in soup.select("pre.text"):
        if text.get_text().count("\n") > _LONG:
            text["class"] = "text long"
            text["tabindex"] = "0"  # so that the keyboard can scroll it
    for code in soup.select(".highlight pre"):
        code["tabindex"] = "0"


def _links(soup: BeautifulSoup, *, pages: Mapping[str, str], folder: Path) -> None:
    """Leads links to notebooks to their pages, and others to the files of this clone."""
    for link in soup.find_all("a", href=True):
        url = urlsplit(str(link["href"]))
        if url.scheme or url.netloc:
            link["rel"] = "noreferrer"
            continue
        if not url.path:
            continue
        anchor = f"#{url.fragment}" if url.fragment else ""
        target = (settings.NOTEBOOKS / unquote(url.path)).resolve()
        if target.name in pages:
            link["href"] = pages[target.name] + anchor
        else:
            link["href"] = Path(os.path.relpath(target, folder)).as_posix() + anchor


def cover(node: Any, *, tag: str = "cover") -> tuple[bytes, str, str] | None:
    """The notebook's picture: of the cell tagged so, otherwise its last figure.

    Returns:
        Its bytes, file name ending and alternative text; None when there is no picture.
    """
    pictures = [(cell, found) for cell in node.cells for found in _pictures_of(cell)]
    tagged = [found for cell, found in pictures if tag in tags(cell)]
    chosen = tagged[:1] or [found for _, found in pictures][-1:]
    if not chosen:
        return None
    data, ending, alt = chosen[0]
    return base64.b64decode(data), {"jpeg": "jpg"}.get(ending, ending), alt


def _pictures_of(cell: Any) -> Iterator[tuple[str, str, str]]:
    """Base64, type and alternative text of a cell's pictures, also of those in its HTML."""
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        for kind in ("png", "jpeg"):
            if (mime := f"image/{kind}") in data:
                words = output.metadata.get(mime, {}).get("alt") or cell.metadata.get("alt", "")
                yield data[mime], kind, words
        for image in BeautifulSoup(data.get("text/html", ""), "html.parser").find_all("img"):
            if inline := re.match(r"data:image/(png|jpeg);base64,", str(image.get("src"))):
                yield str(image["src"])[inline.end() :], inline[1], str(image.get("alt", ""))
