"""A module of `helpers` imports only from the floors below its own."""

import ast
import re
from pathlib import Path

import helpers
from helpers import settings

HELPERS = settings.ROOT / "helpers"
WING = "model_server"


def floors() -> dict[str, int]:
    """The floor of each module, from the table in the package's docstring."""
    table = re.findall(r"^ +(\d)  (.+)$", helpers.__doc__ or "", re.MULTILINE)
    return {name.strip(): int(floor) for floor, names in table for name in names.split(",")}


def modules() -> list[tuple[str, Path]]:
    paths = [path for path in HELPERS.rglob("*.py") if path != HELPERS / "__init__.py"]
    return [(path.relative_to(HELPERS).parts[0].removesuffix(".py"), path) for path in paths]


def imported(path: Path) -> set[str]:
    """The top modules of `helpers` that a file imports, at its head or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "helpers":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers."):
            names.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("helpers.")}
    return names


def test_every_module_has_a_floor() -> None:
    assert {name for name, _ in modules()} == set(floors()) | {WING}


def test_modules_import_from_below() -> None:
    level = floors()
    wrong = [
        f"{path.relative_to(settings.ROOT)} imports {other}"
        for name, path in modules()
        if name != WING
        for other in imported(path) - {name, WING}
        if level[other] >= level[name]
    ]
    assert wrong == []


def test_the_model_server_imports_nothing_else_of_helpers() -> None:
    others = {
        f"{path.name} imports {other}"
        for name, path in modules()
        if name == WING
        for other in imported(path) - {WING}
    }
    assert others == set()


def test_modules_stay_readable_in_one_go() -> None:
    # The style guide says "about 300 lines"; a tenth more is about.
    long = {
        str(path.relative_to(settings.ROOT)): length
        for _, path in modules()
        if (length := len(path.read_text().splitlines())) > 330
    }
    assert long == {}
