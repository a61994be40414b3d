"""The cells of an executed notebook as clean HTML: headings with anchors, tables, pictures."""

from __future__ import annotations

import ast
import copy
import functools
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter

from helpers import settings
from helpers.book.lessons import step_of, tags
from helpers.book.site import sources, tables
from helpers.lab.claims import CLAIM
from helpers.lab.recordings import RECORDED, body, need

GLOSSARY = settings.ROOT / "docs" / "glossary.md"
TEMPLATES = Path(__file__).parent / "templates"
FRAME = {"What you'll do": "do", "What you'll learn": "learn", "What you'll need": "need"}
_LONG = 40  # lines of a text output that are shown without scrolling
_WIDE = 180  # characters in a line: a sentence, which is easier to read when it is wrapped
_COLUMNS = re.compile(r"\S {2,}\S+.* {2,}\S")


@dataclass(frozen=True)
class Body:
    """A notebook's content.

    Args:
        html: the cells, without the title.
        steps: anchor and text of each step, for the table of contents.
        do: what the reader does, in HTML; `learn`: what the reader learns, one item each.
        minutes: how long reading and running take, as the notebook states; 0 when it doesn't.
    """

    html: str
    steps: tuple[tuple[str, str], ...]
    do: str
    learn: tuple[str, ...]
    minutes: int = 0


def render(node: Any, *, pages: Mapping[str, str], folder: Path) -> Body:
    """The cells of a notebook.

    Args:
        node: the executed notebook.
        pages: file name of each notebook that has a page to the page's.
        folder: where the page goes, from where its links lead.
    """
    seconds = _seconds_by_step(node)
    node = _with_words_for_figures(_with_quiet_streams(_without_plumbing(node)))
    _with_what_cells_need(node)
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
    _first_lines(soup)
    _pictures(soup)
    steps = _headings(soup, seconds)
    tables.tidy(soup)
    _long_texts(soup)
    _links(soup, pages=pages, folder=folder)
    return Body(str(soup), steps, do, learn, _minutes(soup))


def _without_plumbing(node: Any) -> Any:
    """A copy without the cell that publishes: the page has a table of its values at its end."""
    node = copy.deepcopy(node)
    node.cells = [cell for cell in node.cells if "published" not in tags(cell)]
    return node


def _seconds_by_step(node: Any) -> dict[str, float]:
    """How long the cells below each second-level heading took, as papermill measured it."""
    found: dict[str, float] = {}
    for index, cell in enumerate(node.cells):
        took = cell.metadata.get("papermill", {}).get("duration")
        if cell.cell_type == "code" and took:
            step = step_of(node, index)
            found[step] = found.get(step, 0) + took
    return found


def _with_what_cells_need(node: Any) -> None:
    """Marks in a copy which cells need a cluster, and the files of `helpers/` that each imports."""
    for cell in (one for one in node.cells if one.cell_type == "code"):
        if need(cell.source):
            cell.metadata["first_line"] = cell.source.partition("\n")[0].strip()
            cell.source = body(cell.source)
        cell.metadata["files"] = [
            {
                "name": path.relative_to(settings.ROOT).as_posix(),
                # From where the notebook is: `_links` leads it on, with all others.
                "link": Path(os.path.relpath(path, settings.NOTEBOOKS)).as_posix(),
            }
            for path in sources.imported(cell.source)
        ]


def _first_lines(soup: BeautifulSoup) -> None:
    """Puts `%%cluster` back over its cell: the highlighter would take all of it for one magic."""
    for cell in soup.select("[data-first-line]"):
        code = cell.select_one(".highlight pre")
        if code is not None:
            line = soup.new_tag("span", attrs={"class": "first-line"})
            line.string = f"{cell['data-first-line']}\n"
            code.insert(0, line)


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


def slug(text: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section"


def _headings(soup: BeautifulSoup, seconds: Mapping[str, float]) -> tuple[tuple[str, str], ...]:
    """Gives each heading an anchor, and a step the time that it took; returns the steps."""
    used: set[str] = set()
    steps = []
    for heading in soup.find_all(["h1", "h2", "h3", "h4"]):
        if heading.name == "h1":
            heading.name = "h2"  # the page's title is the only one of the first level
        text = heading.get_text().strip()
        anchor = slug(text)
        while anchor in used:
            anchor = f"{slug(text)}-{len(used)}"
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
            if (took := seconds.get(text, 0)) >= 1:
                time = soup.new_tag("span", attrs={"class": "took", "title": "in this run"})
                time.string = f"{took:.0f} s"
                heading.append(" ")
                heading.append(time)
    return tuple(steps)


def _pictures(soup: BeautifulSoup) -> None:
    """Every picture gets words: its own, or those of the step that it belongs to."""
    for image in soup.find_all("img"):
        alt = str(image.get("alt", "")).strip()
        if not alt or "No description" in alt:  # nbconvert's words for none
            heading = image.find_previous(["h2", "h3"])
            step = heading.get_text().strip() if heading else "this page"
            image["alt"] = f"Figure of the step “{step}”"
        image["loading"] = "lazy"


def _minutes(soup: BeautifulSoup) -> int:
    need = soup.select_one(".frame.need")
    found = re.search(r"(\d+) minutes?\b", need.get_text()) if need is not None else None
    return int(found[1]) if found else 0


def _long_texts(soup: BeautifulSoup) -> None:
    for text in soup.select("pre.text"):
        lines = text.get_text().split("\n")
        if len(lines) > _LONG + 1:
            text["class"] = "text long"
        elif max(map(len, lines)) <= _WIDE and sum(bool(_COLUMNS.search(li)) for li in lines) > 1:
            text["class"] = "text wide"
        if text["class"] != ["text"]:
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
        if target == GLOSSARY and GLOSSARY.exists():
            link["href"] = f"glossary.html{anchor}"
        elif target.name in pages:
            link["href"] = pages[target.name] + anchor
        else:
            link["href"] = sources.link(target, folder=folder) + anchor
