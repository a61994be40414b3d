"""The executed notebooks as pages that read as a tutorial, offline and from a file.

Everything a page needs lies beside it: no script, style, font or picture comes from the net.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from helpers.errors import NotebookError
from helpers.lessons import Lesson, read, tags
from helpers.notebook import in_words
from helpers.site import cells

_HERE = Path(__file__).parent
# Family, style, the weights that the variable font has, file. Latin subsets; licence: OFL.txt.
_FONTS = (
    ("Source Serif 4", "normal", "200 900", "source-serif-4-latin-wght-normal.woff2"),
    ("Source Sans 3", "normal", "200 900", "source-sans-3-latin-wght-normal.woff2"),
    ("Source Sans 3", "italic", "200 900", "source-sans-3-latin-wght-italic.woff2"),
    ("Source Code Pro", "normal", "200 900", "source-code-pro-latin-wght-normal.woff2"),
)


def build(output: Path, *, results: Mapping[str, Any], lessons: Sequence[Lesson]) -> None:
    """Writes index.html and a page for each notebook that was run.

    Args:
        output: the folder; the executed notebooks are in its folder `notebooks`.
        results: what results.json holds.
        lessons: all notebooks there are, run or not, in order.
    """
    entries = {entry["number"]: dict(entry) for entry in results["notebooks"]}
    chapters = [_chapter(lesson, entries.get(lesson.number), output) for lesson in lessons]
    shown = [chapter for chapter in chapters if chapter["node"] is not None]
    pages = {chapter["file"]: chapter["page"] for chapter in shown}
    (output / "pictures").mkdir(parents=True, exist_ok=True)
    for chapter in shown:
        body = cells.render(chapter["node"], pages=pages, folder=output)
        chapter.update(body=body, do=body.do, learn=body.learn)
        chapter["picture"] = _write_picture(chapter, output)
    for old in output.glob("[0-9][0-9]_*.html"):
        if old.name not in pages.values():
            old.unlink()
    environment = _environment()
    for position, chapter in enumerate(shown):
        neighbours = {
            "before": shown[position - 1] if position else None,
            "after": shown[position + 1] if position + 1 < len(shown) else None,
        }
        page = environment.get_template("page.html.j2")
        html = page.render(chapter=chapter, chapters=chapters, results=results, **neighbours)
        (output / chapter["page"]).write_text(html, encoding="utf-8")
    hero = _hero(shown, output)
    index = environment.get_template("front.html.j2")
    html = index.render(chapters=chapters, results=results, hero=hero, telling=_telling(chapters))
    _write_assets(output)
    (output / "index.html").write_text(html, encoding="utf-8")


def _chapter(lesson: Lesson, entry: dict[str, Any] | None, output: Path) -> dict[str, Any]:
    """What the templates know of a notebook."""
    chapter: dict[str, Any] = {
        "number": lesson.number,
        "title": lesson.title,
        "file": lesson.path.name,
        "page": f"{lesson.path.stem}.html",
        "node": None,
        "status": "not run",
        "learn": (),
        "do": "",
        "picture": None,
        "headlines": [],
        "values": [],
    }
    if entry is None:
        return chapter
    values = [(name, in_words(value)) for name, value in entry["published"].items()]
    headlines = [(in_words(entry["published"][n]), label) for n, label in entry["labels"].items()]
    chapter |= {
        "status": entry["status"],
        "seconds": entry["seconds"],
        "finished": entry["finished"],
        "error": entry["error"],
        "earlier": entry.get("earlier", False),
        "values": values,
        "headlines": headlines,
        "meaningless": entry["published"].get("weights") == "random",
    }
    executed = output / "notebooks" / lesson.path.name
    if entry["status"] != "skipped" and executed.exists():
        try:
            chapter["node"] = read(executed)
        except NotebookError:  # cut off by Ctrl-C in the middle of a write
            chapter["node"] = None
    return chapter


def _write_picture(chapter: Mapping[str, Any], output: Path) -> dict[str, str] | None:
    found = cells.cover(chapter["node"])
    if found is None:
        return None
    data, ending, alt = found
    name = f"pictures/{chapter['number']}.{ending}"
    (output / name).write_bytes(data)
    return {"src": name, "alt": alt or f"The last figure of “{chapter['title']}”"}


def _hero(shown: Sequence[Mapping[str, Any]], output: Path) -> dict[str, str] | None:
    """The picture on top of the index: of a cell tagged `hero`, else the last notebook's."""
    for chapter in shown:
        if any("hero" in tags(cell) for cell in chapter["node"].cells):
            found = cells.cover(chapter["node"], tag="hero")
            if found is not None:
                data, ending, alt = found
                (output / f"pictures/hero.{ending}").write_bytes(data)
                return {"src": f"pictures/hero.{ending}", "alt": alt or chapter["title"]}
    pictures = [chapter["picture"] for chapter in shown if chapter["picture"]]
    return pictures[-1] if pictures else None


def _telling(chapters: Sequence[Mapping[str, Any]], *, most: int = 4) -> list[tuple[str, str]]:
    """The headline numbers on top of the index: one of each notebook before a second of any."""
    ranked = sorted(
        (rank, position, pair)
        for position, chapter in enumerate(chapters)
        for rank, pair in enumerate(chapter["headlines"])
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
