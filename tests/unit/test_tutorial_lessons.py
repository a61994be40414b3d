"""Which notebooks there are, which are chosen, and what the environment sets in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.book import lessons
from helpers.book.lessons import Lesson
from helpers.book.tutorial import highlights
from helpers.errors import NotebookError
from helpers.lab.publishing import Published


def test_values_with_a_label_are_told_first() -> None:
    values = [Published("a", 1), Published("b", True), Published("c", 2.5, "images a second")]
    assert highlights({item.name: item for item in values}) == ["2.5 images a second"]


def test_without_labels_the_first_numbers_are_told() -> None:
    values = [Published("a", "x"), Published("b", True), *(Published(n, 1) for n in "cde")]
    assert highlights({item.name: item for item in values}) == ["c 1", "d 1"]


LESSON = Lesson(
    "01",
    Path("01_a.ipynb"),
    "A",
    parameters={"target": "local", "replicas": 1, "rate": 2.0, "fast": False, "weights": None},
)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TARGET": "kubernetes"}, {"target": "kubernetes"}),
        (
            {"REPLICAS": "4", "RATE": "3", "FAST": "true"},
            {"replicas": 4, "rate": 3.0, "fast": True},
        ),
        ({"WEIGHTS": "random"}, {"weights": "random"}),
        ({"OTHER": "1", "target": "x"}, {}),
    ],
)
def test_the_environment_overrides_parameters_by_name(
    variables: dict[str, str], expected: dict[str, object]
) -> None:
    assert lessons.from_environment(LESSON, variables) == expected


@pytest.mark.parametrize("variables", [{"REPLICAS": "4.5"}, {"FAST": "1"}, {"RATE": "fast"}])
def test_a_value_of_another_type_is_refused(variables: dict[str, str]) -> None:
    with pytest.raises(NotebookError, match="can't be used for notebook 01"):
        lessons.from_environment(LESSON, variables)


@pytest.mark.parametrize("wanted", ["01", "1", "01_a", "01_a.ipynb", "1,01", ""])
def test_a_notebook_is_chosen_by_number_or_name(wanted: str) -> None:
    assert lessons.choose([LESSON], wanted) == [LESSON]


def test_a_folder_without_notebooks_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match="there is no notebook in"):
        lessons.find(tmp_path)
