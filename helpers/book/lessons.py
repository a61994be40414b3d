"""The notebooks as they stand in the repository: which there are, and what each says of itself."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from helpers import settings
from helpers.errors import NotebookError

_NAME = re.compile(r"(\d\d)_\w+\.ipynb")
# A parameter of such a name would be overridden by every shell.
ENVIRONMENT = frozenset({"PATH", "HOME", "USER", "SHELL", "LANG", "TERM", "PWD", "EDITOR", "MAIL"})


@dataclass(frozen=True)
class Lesson:
    """A notebook as it stands in the repository.

    Args:
        number: its two digits.
        path: where it is.
        title: its first heading.
        needs: numbers of the notebooks without whose success it can't run.
        parameters: its parameters and their defaults.
    """

    number: str
    path: Path
    title: str
    needs: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


def find(folder: Path = settings.NOTEBOOKS) -> list[Lesson]:
    """The notebooks of a folder, `NN_name.ipynb`, in order.

    Raises:
        NotebookError: there is none.
    """
    paths = sorted(path for path in folder.glob("*.ipynb") if _NAME.fullmatch(path.name))
    if not paths:
        raise NotebookError(
            f"there is no notebook in {folder}",
            cause="their names are two digits, an underscore and words: 01_export.ipynb",
            next_step="Run this in a complete clone of the repository.",
        )
    return [_lesson(path) for path in paths]


def choose(lessons: Sequence[Lesson], wanted: str) -> list[Lesson]:
    """The notebooks named by numbers or file names, in order; all when nothing is named.

    Args:
        lessons: what there is.
        wanted: such as `01 02`, `1,2` or `02_serve_and_classify`.

    Raises:
        NotebookError: one of them does not exist.
    """
    names = wanted.replace(",", " ").split()
    known = {alias: lesson for lesson in lessons for alias in (lesson.number, lesson.path.stem)}
    keys = [name.removesuffix(".ipynb").zfill(2) for name in names]
    unknown = [name for name, key in zip(names, keys, strict=True) if key not in known]
    if unknown:
        there = "".join(f"\n  {lesson.number}  {lesson.title}" for lesson in lessons)
        raise NotebookError(
            f"there is no notebook {', '.join(unknown)}",
            next_step=f'Choose from these, as in NOTEBOOKS="01 02":{there}',
        )
    chosen = {known[key].number for key in keys} or {lesson.number for lesson in lessons}
    return [lesson for lesson in lessons if lesson.number in chosen]


def _lesson(path: Path) -> Lesson:
    """Reads what the runner needs to know. An unreadable notebook is found out by its run."""
    number = path.name[:2]
    try:
        node = read(path)
        parameters = parameters_of(node)
    except (NotebookError, SyntaxError, ValueError):
        return Lesson(number, path, path.stem)
    about = node.metadata.get("tutorial", {})
    headings = re.findall(r"^# (.+)$", "\n".join(_markdown(node.cells)), re.MULTILINE)
    title = about.get("title") or (headings[0].strip() if headings else path.stem)
    return Lesson(number, path, title, tuple(about.get("needs", ())), parameters)


def read(path: Path) -> Any:
    """The notebook of a file.

    Raises:
        NotebookError: it is no notebook.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nbformat warns of what lint finds
            return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises what its parsers raise, of many kinds
        raise NotebookError(
            f"{path} can't be read as a notebook",
            cause=str(error).split("\n")[0],
            next_step=f"Restore it: git checkout -- {settings.shown(path)}",
        ) from error


def step_of(node: Any, index: int) -> str:
    """The step that a cell belongs to: the last second-level heading above it, or nothing."""
    found = re.findall(r"^## (.+)$", "\n".join(_markdown(node.cells[:index])), re.MULTILINE)
    return found[-1].strip() if found else ""


def _markdown(cells: Sequence[Any]) -> Iterator[str]:
    return (cell.source for cell in cells if cell.cell_type == "markdown")


def tags(cell: Any) -> list[str]:
    """A cell's tags."""
    return list(cell.get("metadata", {}).get("tags", []))


def parameters_of(node: Any) -> dict[str, Any]:
    """The names in the cell tagged `parameters` and the literals that they are assigned."""
    sources = [cell.source for cell in node.cells if "parameters" in tags(cell)]
    found = {}
    for source in sources[:1]:
        for line in ast.parse(source).body:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                found[line.targets[0].id] = ast.literal_eval(line.value)
    return found


def variables(lessons: Sequence[Lesson]) -> set[str]:
    """The environment's names of all parameters of these notebooks."""
    return {name.upper() for lesson in lessons for name in lesson.parameters} - ENVIRONMENT


def from_environment(lesson: Lesson, environ: Mapping[str, str]) -> dict[str, Any]:
    """Parameters that the environment overrides: `TARGET=kubernetes` sets `target`.

    A value is read as the default's type.

    Raises:
        NotebookError: the value can't be read so.
    """
    chosen = {}
    for name, default in lesson.parameters.items():
        text = environ.get(name.upper())
        if text is None or name.upper() in ENVIRONMENT:
            continue
        try:
            chosen[name] = _read_as(default, text)
        except (ValueError, SyntaxError, TypeError) as error:
            raise NotebookError(
                f"{name.upper()}={text} can't be used for notebook {lesson.number}",
                cause=f"its parameter {name} is a {type(default).__name__}, such as {default!r}",
                next_step="Correct the environment variable, or unset it.",
            ) from error
    return chosen


def _read_as(default: Any, text: str) -> Any:
    if isinstance(default, str) or default is None:
        return text
    value = ast.literal_eval(text.capitalize() if isinstance(default, bool) else text)
    same = isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool)
    if same or (isinstance(default, float) and type(value) is int):
        return type(default)(value)
    raise ValueError(text)


def strip(path: Path) -> bool:
    """Removes outputs, execution counts and what editors note of cells from a notebook in place.

    Returns:
        Whether there was anything to remove.

    Raises:
        NotebookError: it is no notebook.
    """
    node = read(path)
    before = nbformat.writes(node)
    for cell in node.cells:
        for noise in cell.metadata.keys() - {"tags"}:  # of VS Code, JupyterLab and papermill
            del cell.metadata[noise]
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    node.metadata.pop("papermill", None)
    node.metadata.pop("widgets", None)
    # The version of who ran it last is nobody's business, and a conflict in every merge.
    node.metadata["language_info"] = {"name": "python"}
    if nbformat.writes(node) == before:
        return False
    nbformat.write(node, path)
    return True
