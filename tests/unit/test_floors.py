"""A room of `helpers` imports only from the floors below its own."""

import ast
import re
from pathlib import Path

import pytest

import helpers
from helpers import settings

HELPERS = settings.ROOT / "helpers"
WINGS = ("model_server", "generator")


def floors() -> dict[str, int]:
    """The floor of each room, from the table in the package's docstring."""
    table = re.findall(r"^ +(\d) +(\w+)  ", helpers.__doc__ or "", re.MULTILINE)
    return {room: int(floor) for floor, room in table}


def modules() -> list[tuple[str, Path]]:
    paths = [path for path in HELPERS.rglob("*.py") if path != HELPERS / "__init__.py"]
    return [(path.relative_to(HELPERS).parts[0].removesuffix(".py"), path) for path in paths]


def imported(path: Path) -> set[str]:
    """The rooms of `helpers` that a file imports, at its head or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "helpers":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers."):
            names.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("helpers.")}
    return names


def test_every_room_is_in_the_table() -> None:
    assert {room for room, _ in modules()} == set(floors()) | set(WINGS)


def test_the_folder_holds_nothing_else() -> None:
    entries = {path.name.removesuffix(".py") for path in HELPERS.iterdir() if path.name[0] != "_"}
    assert entries == set(floors()) | set(WINGS)


def test_rooms_import_from_below() -> None:
    level = floors()
    wrong = [
        f"{path.relative_to(settings.ROOT)} imports {other}"
        for room, path in modules()
        if room not in WINGS
        for other in imported(path) - {room, *WINGS}
        if level[other] >= level[room]
    ]
    assert wrong == []


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_imports_nothing_else_of_helpers(wing: str) -> None:
    others = {
        f"{path.name} imports {other}"
        for room, path in modules()
        if room == wing
        for other in imported(path) - {wing}
    }
    assert others == set()


def test_what_a_targets_neutral_half_says_of_load_tests_knows_no_target() -> None:
    neutral = ast.parse((HELPERS / "clusters/load_result.py").read_text())
    modules = {n.module for n in ast.walk(neutral) if isinstance(n, ast.ImportFrom)}
    assert not [m for m in modules if (m or "").startswith("helpers.clusters")]


def test_modules_stay_readable_in_one_go() -> None:
    # The style guide says "about 300 lines"; a tenth more is about.
    long = {
        str(path.relative_to(settings.ROOT)): length
        for _, path in modules()
        if (length := len(path.read_text().splitlines())) > 330
    }
    assert long == {}
