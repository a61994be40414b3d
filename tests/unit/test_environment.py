"""The lists of packages agree, and none of them names an address."""

import re
from pathlib import Path

import pytest
import yaml

from helpers import settings

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

PYPROJECT = tomllib.loads((settings.ROOT / "pyproject.toml").read_text())
DIRECT = PYPROJECT["project"]["dependencies"] + PYPROJECT["dependency-groups"]["dev"]
LOCK = (settings.ROOT / "requirements.lock").read_text()
SERVER_LOCK = (settings.SERVING / "model-server.lock").read_text()


def test_conda_installs_the_packages_of_pyproject() -> None:
    conda = yaml.safe_load((settings.ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in conda if isinstance(entry, dict)]
    assert sorted(pip) == sorted([*DIRECT, "-e ."])


@pytest.mark.parametrize("requirement", DIRECT)
def test_every_direct_dependency_is_pinned_and_in_the_lock(requirement: str) -> None:
    assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", requirement)
    assert f"\n{requirement} \\\n" in f"\n{LOCK}"


@pytest.mark.parametrize(("lock", "least"), [(LOCK, 100), (SERVER_LOCK, 10)])
def test_every_locked_package_has_hashes(lock: str, least: int) -> None:
    packages = re.findall(r"^[a-z0-9].*==.*$", lock, re.MULTILINE)
    hashed = re.findall(r"^[a-z0-9].*==.* \\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(packages) > least
    assert len(hashed) == len(packages)


def test_the_servers_image_has_the_versions_that_were_tested() -> None:
    pins = re.findall(r"^[a-z0-9].*==.*$", SERVER_LOCK, re.MULTILINE)
    assert [pin for pin in pins if f"\n{pin}\n" not in LOCK and not LOCK.startswith(pin)] == []


@pytest.mark.parametrize(
    "name",
    ["requirements.lock", "environment.yml", "pyproject.toml", "serving/model-server.lock"],
)
def test_no_list_names_an_address(name: str) -> None:
    assert "://" not in Path(settings.ROOT, name).read_text()
