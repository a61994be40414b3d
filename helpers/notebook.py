"""What a notebook's cells need beside the subject: numbers that go out, waiting, files.

`publish` puts a number into the executed notebook where tests, the runner and the site find it;
`published` reads them back. `wait_until` and `track` replace every `sleep`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Protocol, TypeVar

from IPython.display import Markdown, display

from helpers import settings
from helpers.errors import NotebookError, NotReadyError

PUBLISHED = "application/vnd.inception-tutorial.published+json"
_LANGUAGES = {
    ".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".sh": "bash",
    ".Dockerfile": "dockerfile",
}  # fmt: skip
_LANGUAGES_BY_NAME = {"Dockerfile": "dockerfile", "Makefile": "makefile"}

T = TypeVar("T")


@dataclass(frozen=True)
class Published:
    """One value that a notebook published.

    Args:
        name: with the unit in it, such as `images_per_second`.
        value: anything that JSON can hold.
        label: what the value is in words, when it is one of the numbers a reader looks for first.
    """

    name: str
    value: Any
    label: str = ""

    @property
    def text(self) -> str:
        """The value as a person reads it: `23,851,784`, `6.21`, `random`."""
        return in_words(self.value)


def in_words(value: Any) -> str:
    """A published value as a person reads it: thousands grouped, three significant digits.

    Dictionaries and lists are strung together: `1: 3.1, 2: 5.8`. An empty one is `none`.
    """
    if isinstance(value, (dict, list, tuple)) and not value:
        return "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if 100 <= abs(value) < 1e15 else f"{value:.3g}"
    if isinstance(value, dict):
        nested = any(isinstance(inner, dict) for inner in value.values())
        pairs = (f"{key}: {in_words(inner)}" for key, inner in value.items())
        return ("; " if nested else ", ").join(pairs)
    return ", ".join(map(in_words, value)) if isinstance(value, (list, tuple)) else str(value)


def publish(name: str, value: Any, *, label: str = "") -> None:
    """Puts a value into the executed notebook, where tests and the site read it.

    The cell shows it as one quiet line. Publishing a name again replaces its value.

    Args:
        name: an identifier with its unit: `images_per_second`, `p99_ms`.
        value: a string, number, boolean, None, or lists and dictionaries of them. NumPy scalars
            become the Python numbers that they hold.
        label: a few words, such as "images a second", that make the value one of the notebook's
            headline numbers in the terminal and on the site.

    Raises:
        NotebookError: the name is no identifier, or JSON can't hold the value.
    """
    if not name.isidentifier():
        raise NotebookError(
            f"{name!r} can't be published",
            cause="a published name is an identifier, so that a test can ask for it",
            next_step="Use letters, digits and underscores, with the unit at the end: p99_ms.",
        )
    item = Published(name, _plain(value, name), label)
    record = {"name": item.name, "value": item.value} | ({"label": label} if label else {})
    html = (
        '<div class="published" style="font-size: .85em; opacity: .7">'
        f"<code>{escape(name)}</code> = {escape(item.text)}</div>"
    )
    bundle = {PUBLISHED: record, "text/plain": f"{name} = {item.text}", "text/html": html}
    display(bundle, raw=True)


def _plain(value: Any, name: str) -> Any:
    """The value in JSON's own types.

    Raises:
        NotebookError: JSON can't hold it, or would hold something else (NaN, infinity).
    """
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {str(key): _plain(inner, name) for key, inner in value.items()}
        cause = "the keys of a dictionary in JSON are strings"
    elif isinstance(value, (list, tuple)):
        return [_plain(inner, name) for inner in value]
    elif value is None or isinstance(value, (bool, str)):
        return value
    elif getattr(value, "shape", None) == () and hasattr(value, "item"):
        return _plain(value.item(), name)  # a NumPy scalar; `shape` of an array isn't empty
    elif isinstance(value, int):
        return int(value)
    elif isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        cause = f"it holds {value}, for which JSON has no number"
    else:
        cause = f"JSON can't hold a {type(value).__name__}"
    raise NotebookError(
        f"{name!r} can't be published",
        cause=cause,
        next_step="Publish numbers, strings, lists or dictionaries of them: array.tolist().",
    )


def published(notebook: Any) -> dict[str, Any]:
    """All values that an executed notebook published, by name.

    Args:
        notebook: a path to an executed notebook, or the notebook itself (an nbformat node).

    Raises:
        NotebookError: the file is missing or no notebook.
    """
    return {name: item.value for name, item in published_items(notebook).items()}


def published_items(notebook: Any) -> dict[str, Published]:
    """As `published`, with the labels of the headline numbers."""
    items = {}
    for cell in _read(notebook)["cells"]:
        for output in cell.get("outputs", []):
            record = output.get("data", {}).get(PUBLISHED)
            if record is not None:
                items[record["name"]] = Published(**record)
    return items


def _read(notebook: Any) -> Any:
    """The notebook of a path, or the notebook that was given."""
    if not isinstance(notebook, (str, Path)):
        return notebook
    try:
        node = json.loads(Path(notebook).read_text(encoding="utf-8"))
        node["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotebookError(
            f"{notebook} can't be read as a notebook",
            cause=str(error),
            next_step="Give the path of an executed notebook, such as those in "
            f"{settings.BUILD.name}/tutorial/notebooks/.",
        ) from error
    return node


class _Handle(Protocol):
    def update(self, obj: Any) -> None: ...


class _Line:
    """One line under a cell that is rewritten in place, at most a few times a second."""

    def __init__(self) -> None:
        self._handle: _Handle | None = None
        self._text = ""
        self._changed = -math.inf

    def show(self, text: str, *, now: bool = False) -> None:
        if text == self._text or (not now and time.monotonic() - self._changed < 0.25):
            return
        self._text, self._changed = text, time.monotonic()
        html = f'<div class="progress" style="opacity: .7">{escape(text)}</div>'
        bundle = {"text/plain": text, "text/html": html}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)  # type: ignore[call-arg]


def wait_until(
    condition: Callable[[], T], *, what: str, timeout_s: float, poll_s: float = 0.1
) -> T:
    """Waits until a condition holds, showing for how long, and returns what it returned.

    Args:
        condition: called again and again; anything true ends the wait. Its exceptions pass.
        what: what is waited for, to follow "waiting for": `replica 2 to be ready`.
        timeout_s: the longest wait in seconds.
        poll_s: seconds between two calls.

    Raises:
        NotReadyError: the condition did not hold in time.
    """
    line, start = _Line(), time.monotonic()
    while not (answer := condition()):
        waited_s = time.monotonic() - start
        if waited_s >= timeout_s:
            line.show(f"gave up waiting for {what} after {waited_s:.0f} s", now=True)
            raise NotReadyError(
                f"waited {timeout_s:g} s for {what}",
                next_step=f"Look at the logs in {settings.LOGS}, or allow more time (timeout_s).",
            )
        if waited_s >= 1:  # a shorter wait needs no words
            line.show(f"waiting for {what} … {waited_s:.0f} s")
        time.sleep(min(poll_s, timeout_s - waited_s))
    waited_s = time.monotonic() - start
    if waited_s >= 1:
        line.show(f"waited {waited_s:.1f} s for {what}", now=True)
    return answer


def track(items: Iterable[T], *, what: str) -> Iterator[T]:
    """Yields the items one by one with a line that says how far it is.

    Args:
        items: what is worked through.
        what: what an item is, in words: `loads`, `photos`.
    """
    todo: Sequence[T] = list(items)
    line, start = _Line(), time.monotonic()
    for index, item in enumerate(todo):
        line.show(f"{what}: {item if _short(item) else index + 1} ({index + 1} of {len(todo)})")
        yield item
    line.show(f"{len(todo)} {what} in {time.monotonic() - start:.1f} s", now=True)


def _short(item: object) -> bool:
    return isinstance(item, (int, float, str)) and len(str(item)) <= 24


def show_file(path: str | Path, *, lines: tuple[int, int] | None = None) -> Markdown:
    """A file of the repository as it is, highlighted, its name above.

    Args:
        path: absolute, or from the repository's root.
        lines: the first and last line to show, counted from 1; all when left out.

    Raises:
        NotebookError: there is no such file.
    """
    file = settings.ROOT / path
    try:
        text = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise NotebookError(
            f"{file} can't be shown", cause="it isn't text", next_step="Open it by its own program."
        ) from error
    except OSError as error:
        raise NotebookError(
            f"{file} can't be shown", cause=str(error), next_step="Check the path."
        ) from error
    name = file.relative_to(settings.ROOT) if file.is_relative_to(settings.ROOT) else file
    if lines is not None:
        text = text[lines[0] - 1 : lines[1]]
    language = _LANGUAGES.get(file.suffix) or _LANGUAGES_BY_NAME.get(file.name, "text")
    fence = "`" * 4
    body = "\n".join(text)
    return Markdown(
        f"**`{name.as_posix() if isinstance(name, Path) else name}`**\n\n"
        f"{fence}{language}\n{body}\n{fence}"
    )


def tree(folder: str | Path) -> Markdown:
    """What is in a folder, below and below, with the sizes of the files."""
    root = Path(folder)
    lines = [f"{root.name}/"]
    for path in sorted(root.rglob("*")):
        depth = len(path.relative_to(root).parts)
        size = "/" if path.is_dir() else f"  {_size(path.stat().st_size)}"
        lines.append(f"{'    ' * depth}{path.name}{size}")
    body = "\n".join(lines)
    return Markdown(f"```text\n{body}\n```")


def _size(bytes_: int) -> str:
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if bytes_ >= factor:
            return f"{bytes_ / factor:,.3g} {unit}"
    return f"{bytes_} B"
