"""Files and folders of the repository, shown in a notebook as they are."""

from __future__ import annotations

import difflib
from pathlib import Path

from IPython.display import Markdown

from helpers import settings
from helpers.errors import NotebookError

_LANGUAGES = {
    ".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".sh": "bash",
    ".Dockerfile": "dockerfile", ".proto": "protobuf",
}  # fmt: skip
_LANGUAGES_BY_NAME = {"Dockerfile": "dockerfile", "Makefile": "makefile"}


def show_file(path: str | Path, *, lines: tuple[int, int] | None = None) -> Markdown:
    """A file of the repository as it is, highlighted, its name above.

    Args:
        path: absolute, or from the repository's root.
        lines: the first and last line to show, counted from 1; all when left out.

    Raises:
        NotebookError: there is no such file.
    """
    file, text = _read(path)
    if lines is not None:
        text = text[lines[0] - 1 : lines[1]]
    language = _LANGUAGES.get(file.suffix) or _LANGUAGES_BY_NAME.get(file.name, "text")
    return _listing(f"**`{settings.shown(file)}`**", language, text)


def show_diff(before: str | Path, after: str | Path) -> Markdown:
    """What a second file has that the first hasn't (`+`), and the reverse (`-`).

    Args:
        before: a file of the repository, from its root.
        after: the one that is compared with it.

    Raises:
        NotebookError: one of them isn't there.
    """
    (old, old_text), (new, new_text) = _read(before), _read(after)
    changed = list(difflib.unified_diff(old_text, new_text, n=1, lineterm=""))[2:]
    # Where in the files a difference is, nobody needs here: a blank line parts two of them.
    body = ["" if line.startswith("@@") else line for line in changed]
    return _listing(f"**`{settings.shown(old)}` → `{settings.shown(new)}`**", "diff", body[1:])


def _read(path: str | Path) -> tuple[Path, list[str]]:
    file = settings.ROOT / path
    try:
        return file, file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except OSError as error:
        raise NotebookError(
            f"{file} can't be shown", cause=str(error), next_step="Check the path."
        ) from error


def _listing(title: str, language: str, lines: list[str]) -> Markdown:
    fence, body = "`" * 4, "\n".join(lines)
    return Markdown(f"{title}\n\n{fence}{language}\n{body}\n{fence}")


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
