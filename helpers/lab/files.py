"""Files and folders of the repository, shown in a notebook as they are."""

from __future__ import annotations

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
    file = settings.ROOT / path
    try:
        text = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
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
