"""What goes out of a notebook: values by name, which tests, the runner and the site read back.

A notebook's last cell is tagged `published` and is one call of `publish`, so that the lesson above
it is free of plumbing. `published` reads the values from the executed notebook.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from IPython.display import display

from helpers import settings
from helpers.errors import NotebookError
from helpers.stats import short

PUBLISHED = "application/vnd.inception-tutorial.published+json"


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


@dataclass(frozen=True)
class Headline:
    """A value that is one of the notebook's headline numbers, with the words that follow it."""

    value: Any
    label: str


def headline(value: Any, label: str) -> Headline:
    """Makes a published value one of the numbers that stand first in the terminal and on the site.

    Args:
        value: as `publish` takes it.
        label: words that read on from the value, its unit first: "images/s with four replicas".
    """
    return Headline(value, label)


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
        return short(value)
    if isinstance(value, dict):
        nested = any(isinstance(inner, dict) for inner in value.values())
        pairs = (f"{key}: {in_words(inner)}" for key, inner in value.items())
        return ("; " if nested else ", ").join(pairs)
    return ", ".join(map(in_words, value)) if isinstance(value, (list, tuple)) else str(value)


def publish(**values: Any) -> None:
    """Puts values into the executed notebook, where tests and the site read them.

    The cell shows them as one folded table. Publishing a name again replaces its value.

    Args:
        values: by name, with the unit in it (`images_per_second`, `p99_ms`): strings, numbers,
            booleans, None, or lists and dictionaries of them. NumPy scalars become the Python
            numbers that they hold. `headline(value, "in words")` makes one stand out.

    Raises:
        NotebookError: JSON can't hold a value.
    """
    items = [_item(name, value) for name, value in values.items()]
    record = [{"name": i.name, "value": i.value, "label": i.label} for i in items]
    rows = "".join(
        f"<tr><th scope='row'><code>{escape(i.name)}</code></th><td>{escape(i.text)}</td></tr>"
        for i in items
    )
    html = f"<details><summary>What this run published</summary><table>{rows}</table></details>"
    text = "\n".join(f"{item.name} = {item.text}" for item in items)
    display({PUBLISHED: record, "text/plain": text, "text/html": html}, raw=True)


def _item(name: str, value: Any) -> Published:
    if isinstance(value, Headline):
        return Published(name, _plain(value.value, name), value.label)
    return Published(name, _plain(value, name))


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
    records = (record for found in displayed(notebook, PUBLISHED) for record in found)
    return {record["name"]: Published(**record) for record in records}


def displayed(notebook: Any, mime: str) -> Iterator[Any]:
    """What the outputs of an executed notebook hold of one type, in order."""
    for cell in _read(notebook)["cells"]:
        for output in cell.get("outputs", []):
            if (found := output.get("data", {}).get(mime)) is not None:
                yield found


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
