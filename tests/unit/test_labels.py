"""The class names: known ones stand at their index, and there are 1000 of them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from helpers import settings
from helpers.photos import labels


def test_there_are_as_many_names_as_the_network_has_classes() -> None:
    assert len(labels.names()) == settings.CLASS_COUNT


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        # First, last, and classes known from Keras's and TensorFlow's own examples.
        (0, "tench, Tinca tinca"),
        (88, "macaw"),
        (207, "golden retriever"),
        (208, "Labrador retriever"),
        (281, "tabby, tabby cat"),
        (282, "tiger cat"),
        (285, "Egyptian cat"),
        (309, "bee"),
        (388, "giant panda, panda, panda bear, coon bear, Ailuropoda melanoleuca"),
        (652, "military uniform"),  # 653 where class 0 is a background
        (839, "suspension bridge"),
        (963, "pizza, pizza pie"),
        (967, "espresso"),
        (999, "toilet tissue, toilet paper, bathroom tissue"),
    ],
)
def test_a_known_class_has_its_name(index: int, expected: str) -> None:
    assert labels.names()[index] == expected


def test_crane_is_the_only_name_of_two_classes() -> None:
    repeated = {name for name, count in Counter(labels.names()).items() if count > 1}
    assert repeated == {"crane"}
    assert [i for i, name in enumerate(labels.names()) if name == "crane"] == [134, 517]


def test_the_two_maillots_differ_by_their_synonyms() -> None:
    assert labels.names()[638] == "maillot"
    assert labels.names()[639] == "maillot, tank suit"


def test_names_are_clean_text() -> None:
    unclean = [
        name
        for name in labels.names()
        if not name or name != " ".join(name.split()) or not name.isascii()
    ]
    assert unclean == []


@pytest.mark.parametrize("module", ["helpers.photos.labels", "helpers.photos"])
def test_importing_needs_neither_tensorflow_nor_numpy(module: str) -> None:
    program = f"import {module}, sys; print({{'tensorflow', 'keras', 'numpy'}} & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "set()"
