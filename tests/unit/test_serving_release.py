"""Image, exports, client and texts are of one release of TensorFlow Serving."""

from __future__ import annotations

import re
import subprocess

import pytest

from helpers import machine, settings
from helpers.model_server import flags

RELEASE = settings.SERVING_RELEASE


def test_every_official_image_that_is_named_is_of_the_release() -> None:
    named = subprocess.run(
        ["git", "grep", "-hoE", r"tensorflow/serving:[0-9][0-9a-z.-]*", "--", ":!tests"],
        cwd=settings.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {name.partition(":")[2].rstrip(".") for name in named} == {RELEASE, f"{RELEASE}-gpu"}


@pytest.mark.parametrize("package", ["tensorflow", "tensorflow-serving-api"])
def test_exports_and_clients_are_made_by_the_release(package: str) -> None:
    pins = re.findall(
        rf'"{package}==([0-9.]+)"', (settings.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert pins == [RELEASE]
    assert machine.version(package) == RELEASE


def test_the_flags_say_which_release_they_are_read_for() -> None:
    assert f"release {RELEASE}" in str(flags.__doc__)
