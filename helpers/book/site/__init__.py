"""The executed notebooks as pages that read as a tutorial, offline and from a file.

Everything a page needs lies beside it: no script, style, font or picture comes from the net.
"""

from __future__ import annotations

import base64
import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from helpers.book.lessons import Lesson, read, tags
from helpers.book.site import cells
from helpers.errors import NotebookError
from helpers.lab.publishing import in_words

_HERE = Path(__file__).parent
# Family, style, the weights that the variable font has, file. Latin subsets; licence: OFL.txt.
_FONTS = (
    ("Source Serif 4", "normal", "200 900", "source-serif-4-latin-wght-normal.woff2"),
    ("Source Serif 4", "italic", "200 900", "source-serif-4-latin-wght-italic.woff2"),
    ("Source Sans 3", "normal", "200 900", "source-sans-3-latin-wght-normal.woff2"),
    ("Source Sans 3", "italic", "200 900", "source-sans-3-latin-wght-italic.woff2"),
    ("Source Code Pro", "normal", "200 900", "source-code-pro-latin-wght-normal.woff2"),
)


@dataclass(frozen=True)
class Chapter:
    """What the templates know of a notebook; `results.json` describes the values.

    Args:
        node: the executed notebook; None when there is none to show.
        body: its content, or that of the notebook as committed when it wasn't run.
        picture: `src` and `alt` of its picture; None when it has none.
        headlines: value and label of the numbers that a reader looks for first.
        values: name and value of all that it published.
        meaningless: whether its labels come from random weights.
        labels_by: the network that its labels come from, where that isn't the one it is about.
        earlier: whether it was run by an earlier call than the last.
    """

    number: str
    title: str
    file: str
    page: str
    status: str = "not run"
    seconds: float = 0.0
    finished: str = ""
    error: Mapping[str, Any] | None = None
    earlier: bool = False
    node: Any = None
    body: cells.Body | None = None
    picture: Mapping[str, str] | None = None
    headlines: tuple[tuple[str, str], ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    meaningless: bool = False
    labels_by: str = ""


def build(output: Path, *, results: Mapping[str, Any], lessons: Sequence[Lesson]) -> None:
    """Writes index.html and a page for each notebook that was run.

    Args:
        output: the folder; the executed notebooks are in its folder `notebooks`.
        results: what results.json holds.
        lessons: all notebooks there are, run or not, in order.
    """
    entries = {entry["number"]: entry for entry in results["notebooks"]}
    chapters = [_chapter(lesson, entries.get(lesson.number), output) for lesson in lessons]
    pages = {chapter.file: chapter.page for chapter in chapters if chapter.node is not None}
    shutil.rmtree(output / "pictures", ignore_errors=True)
    (output / "pictures").mkdir(parents=True)
    chapters = [
        replace(
            chapter,
            body=_body(chapter, lesson, pages=pages, folder=output),
            picture=_write_picture(chapter, output) if chapter.node is not None else None,
        )
        for chapter, lesson in zip(chapters, lessons, strict=True)
    ]
    shown = [chapter for chapter in chapters if chapter.node is not None]
    for old in output.glob("[0-9][0-9]_*.html"):
        if old.name not in pages.values():
            old.unlink()
    environment = _environment()
    page = environment.get_template("page.html.j2")
    for before, chapter, after in zip([None, *shown[:-1]], shown, [*shown[1:], None], strict=True):
        html = page.render(chapter=chapter, chapters=chapters, before=before, after=after)
        (output / chapter.page).write_text(html, encoding="utf-8")
    _write_assets(output)
    html = environment.get_template("front.html.j2").render(
        chapters=chapters,
        results=results,
        hero=_hero(shown, output),
        telling=_telling(chapters),
    )
    (output / "index.html").write_text(html, encoding="utf-8")


def _chapter(lesson: Lesson, entry: Mapping[str, Any] | None, output: Path) -> Chapter:
    name = lesson.path.name
    chapter = Chapter(lesson.number, lesson.title, name, f"{lesson.path.stem}.html")
    if entry is None:
        return chapter
    published = {key: in_words(value) for key, value in entry["published"].items()}
    random = entry["published"].get("weights") == "random"
    labels_by = published.get("labels_by", "") if random else ""
    node, executed = None, output / "notebooks" / name
    if entry["status"] != "skipped" and executed.exists():
        with contextlib.suppress(NotebookError):  # cut off in the middle of a write
            node = read(executed)
    return replace(
        chapter,
        status=entry["status"],
        seconds=entry["seconds"],
        finished=entry["finished"],
        error=entry["error"],
        earlier=entry.get("earlier", False),
        node=node,
        headlines=tuple((published[key], label) for key, label in entry["labels"].items()),
        values=tuple(published.items()),
        meaningless=random and not labels_by,
        labels_by=labels_by,
    )


def _body(
    chapter: Chapter, lesson: Lesson, *, pages: Mapping[str, str], folder: Path
) -> cells.Body | None:
    try:
        node = chapter.node if chapter.node is not None else read(lesson.path)
    except NotebookError:
        return None
    return cells.render(node, pages=pages, folder=folder)


def _write_picture(chapter: Chapter, output: Path) -> dict[str, str] | None:
    found = cells.cover(chapter.node)
    if found is None:
        return None
    data, ending, alt = found
    name = f"pictures/{chapter.number}.{ending}"
    (output / name).write_bytes(data)
    return {"src": name, "alt": alt or f"The last figure of “{chapter.title}”"}


def _hero(shown: Sequence[Chapter], output: Path) -> Mapping[str, str] | None:
    """The picture on top of the index: of a cell tagged `hero`, else the last notebook's."""
    for chapter in shown:
        if any("hero" in tags(cell) for cell in chapter.node.cells):
            found = cells.cover(chapter.node, tag="hero")
            if found is not None:
                data, ending, alt = found
                (output / f"pictures/hero.{ending}").write_bytes(data)
                return {"src": f"pictures/hero.{ending}", "alt": alt or chapter.title}
    pictures = [chapter.picture for chapter in shown if chapter.picture]
    return pictures[-1] if pictures else None


def _telling(chapters: Sequence[Chapter], *, most: int = 4) -> list[tuple[str, str]]:
    """The headline numbers on top of the index: one of each notebook before a second of any."""
    ranked = sorted(
        (rank, position, pair)
        for position, chapter in enumerate(chapters)
        for rank, pair in enumerate(chapter.headlines)
        if pair[0].lstrip("-")[:1].isdigit()  # words don't stand large
    )
    return [pair for _, _, pair in sorted(ranked[:most], key=lambda one: (one[1], one[0]))]


def _environment() -> Environment:
    loader = FileSystemLoader(cells.TEMPLATES)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters["duration"] = _duration
    environment.filters["day"] = lambda text: f"{datetime.fromisoformat(text):%-d %B %Y, %H:%M} UTC"
    environment.globals["script"] = (_HERE / "script.js").read_text(encoding="utf-8")
    return environment


def _duration(seconds: float) -> str:
    """`8 s`, `1 min 20 s`."""
    whole = max(1, round(seconds))
    minutes, rest = divmod(whole, 60)
    return (
        f"{minutes} min {rest} s"
        if minutes and rest
        else f"{minutes} min"
        if minutes
        else (f"{rest} s")
    )


def _write_assets(output: Path) -> None:
    """The style sheet with the fonts in it: browsers refuse a font file to a page of file://."""
    faces = []
    for family, style, weight, name in _FONTS:
        data = base64.b64encode((_HERE / "fonts" / name).read_bytes()).decode()
        faces.append(
            f'@font-face {{ font-family: "{family}"; font-style: {style}; font-weight: {weight}; '
            f'font-display: swap; src: url("data:font/woff2;base64,{data}") format("woff2"); }}'
        )
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    (output / "style.css").write_text("\n".join([style, *faces]) + "\n", encoding="utf-8")
