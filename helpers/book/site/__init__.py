"""The executed notebooks as pages that read as a tutorial, offline and from a file.

Everything a page needs lies beside it: no script, style, font or picture comes from the net.
"""

from __future__ import annotations

import base64
import contextlib
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nbconvert.filters import markdown2html

from helpers import settings
from helpers.book.lessons import Lesson, read
from helpers.book.site import cells, figures, search, sources
from helpers.errors import NotebookError
from helpers.lab.publishing import displayed, in_words
from helpers.lab.recordings import RECORDED

_HERE = Path(__file__).parent
_PROCESSORS = {
    "amx": "AMX",
    "avx512_bf16": "AVX-512 with bfloat16",
    "avx512": "AVX-512",
    "avx2": "AVX2",
    "arm64": "ARM",
}
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
        recorded: in words, which of its outputs are recordings, and of what.
        source: leads to the notebook as it stands in the repository.
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
    recorded: tuple[str, ...] = ()
    source: str = ""


def build(output: Path, *, results: Mapping[str, Any], lessons: Sequence[Lesson]) -> None:
    """Writes index.html, the glossary, and a page for each notebook that was run.

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
            source=sources.link(lesson.path, folder=output),
        )
        for chapter, lesson in zip(chapters, lessons, strict=True)
    ]
    chapters = _with_covers(chapters, output)
    shown = [chapter for chapter in chapters if chapter.node is not None]
    for old in output.glob("[0-9][0-9]_*.html"):
        if old.name not in pages.values():
            old.unlink()
    glossary = _glossary(pages, output)
    environment = _environment()
    environment.globals |= {
        "machine": _in_words(results["machine"]),
        "repository": _repository(output),
        "glossary": glossary is not None,
    }
    page = environment.get_template("page.html.j2")
    for before, chapter, after in zip([None, *shown[:-1]], shown, [*shown[1:], None], strict=True):
        html = page.render(chapter=chapter, chapters=chapters, before=before, after=after)
        (output / chapter.page).write_text(html, encoding="utf-8")
    texts = [one for c in shown if c.body for one in search.sections(c.page, c.title, c.body.html)]
    if glossary is not None:
        texts += search.sections("glossary.html", "Glossary", glossary.html)
        html = environment.get_template("glossary.html.j2").render(chapters=chapters, body=glossary)
        (output / "glossary.html").write_text(html, encoding="utf-8")
    (output / "search.js").write_text(search.script(texts), encoding="utf-8")
    _write_assets(output)
    html = environment.get_template("front.html.j2").render(
        chapters=chapters,
        results=results,
        hero=next((c.picture for c in reversed(shown) if c.picture), None),
        shared=_write_shared(shown, output),
        recorded=any(chapter.recorded for chapter in shown),
        minutes=sum(chapter.body.minutes for chapter in chapters if chapter.body),
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
        recorded=_recorded(node) if node is not None else (),
    )


def _recorded(node: Any) -> tuple[str, ...]:
    """Which outputs are recordings, and of what; which cells had nothing to show instead."""
    places = [found["where"] for found in displayed(node, RECORDED)]
    words = [
        f"{count} {'step' if count == 1 else 'steps'} recorded on {place}"
        for place, count in Counter(filter(None, places)).items()
    ]
    if absent := places.count(None):
        words.append(f"{absent} {'step' if absent == 1 else 'steps'} not run or recorded")
    return tuple(words)


def _body(
    chapter: Chapter, lesson: Lesson, *, pages: Mapping[str, str], folder: Path
) -> cells.Body | None:
    try:
        node = chapter.node if chapter.node is not None else read(lesson.path)
    except NotebookError:
        return None
    return cells.render(node, pages=pages, folder=folder)


def _glossary(pages: Mapping[str, str], folder: Path) -> cells.Body | None:
    """The glossary as a page; links to it from notebooks lead there."""
    if not cells.GLOSSARY.exists():
        return None
    text = cells.GLOSSARY.read_text(encoding="utf-8")
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    return cells.render(node, pages=pages, folder=folder)


def _with_covers(chapters: Sequence[Chapter], output: Path) -> list[Chapter]:
    """Gives each chapter that was run and has a picture of its own a cover."""
    covered = []
    found = figures.covers([chapter.node for chapter in chapters])
    for chapter, cover in zip(chapters, found, strict=True):
        if cover is not None:
            name = f"pictures/{chapter.number}.{cover.ending}"
            (output / name).write_bytes(cover.content)
            alt = cover.alt or f"A figure of “{chapter.title}”"
            kind = "chart" if cover.drawn or cover.ending == "png" else "photograph"
            chapter = replace(chapter, picture={"src": name, "alt": alt, "kind": kind})
        covered.append(chapter)
    return covered


def _write_shared(shown: Sequence[Chapter], output: Path) -> list[dict[str, str]]:
    """The pictures of cells tagged `share`, each with what it tells and where it comes from."""
    shared: list[dict[str, str]] = []
    for chapter in shown:
        for found in figures.to_share(chapter.node):
            name = f"pictures/share-{len(shared) + 1}.{found.ending}"
            (output / name).write_bytes(found.content)
            anchor = f"#{cells.slug(found.step)}" if found.step else ""
            caption = markdown2html(found.caption or found.alt or chapter.title).strip()
            caption = caption.removeprefix("<p>").removesuffix("</p>")
            shared.append(
                {"src": name, "alt": found.alt or chapter.title, "caption": caption}
                | {"href": chapter.page + anchor}
            )
    return shared


def _repository(output: Path) -> dict[str, Any]:
    address = sources.repository()
    link = address or sources.link(settings.ROOT / "README.md", folder=output)
    words = "The repository" if address else "The folder on this machine"
    return {"link": link, "words": words, "on_the_web": bool(address)}


def _in_words(machine: Mapping[str, Any]) -> str:
    """`2 cores (AVX-512 with bfloat16), 24 GiB, Linux x86_64`."""
    kind = _PROCESSORS.get(machine["processor_class"], machine["processor_class"])
    system = f"{machine['system']} {machine['architecture']}"
    return f"{machine['cores']} cores ({kind}), {machine['memory_gib']:.0f} GiB, {system}"


def _telling(chapters: Sequence[Chapter], *, most: int = 4) -> list[tuple[str, str]]:
    """The headline numbers on top of the index.

    Those of notebooks whose pictures stand beside them come first, and one of each notebook before
    a second of any.
    """
    ranked = sorted(
        (not (chapter.node and figures.to_share(chapter.node)), rank, position, pair)
        for position, chapter in enumerate(chapters)
        for rank, pair in enumerate(chapter.headlines)
        if pair[0].lstrip("-")[:1].isdigit()  # words don't stand large
    )
    return [pair for *_, pair in sorted(ranked[:most], key=lambda one: (one[2], one[1]))]


def _environment() -> Environment:
    loader = FileSystemLoader(cells.TEMPLATES)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters["duration"] = _duration
    environment.filters["hours"] = _hours
    environment.filters["date"] = lambda text: f"{datetime.fromisoformat(text):%-d %B %Y}"
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


def _hours(minutes: int) -> str:
    """`40 minutes`, `an hour`, `2½ hours`: to the half hour."""
    halves = round(minutes / 30)
    if halves < 2:
        return f"{minutes} minutes"
    whole, half = divmod(halves, 2)
    return "an hour" if halves == 2 else f"{whole}{'½' if half else ''} hours"


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
