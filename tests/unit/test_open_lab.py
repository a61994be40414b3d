"""`make lab` works on copies, which are the reader's once they are made."""

import json
import re
from pathlib import Path

import pytest

from helpers import settings
from helpers.book import open_lab


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "00_first.ipynb").write_text("as it was")
    (tmp_path / "README.md").write_text("# A title\n\n[00](notebooks/00_first.ipynb)\n")
    return folder


@pytest.fixture
def lab(notebooks: Path) -> Path:
    folder = notebooks.parent / "lab"
    assert open_lab.copy(notebooks, folder) == []
    return folder


def test_the_originals_are_copied(lab: Path) -> None:
    assert (lab / "00_first.ipynb").read_text() == "as it was"


def test_what_the_reader_changed_is_never_overwritten(notebooks: Path, lab: Path) -> None:
    (lab / "00_first.ipynb").write_text("mine")
    assert open_lab.copy(notebooks, lab) == []
    (notebooks / "00_first.ipynb").write_text("newer")
    assert open_lab.copy(notebooks, lab) == ["00_first.ipynb"]
    assert (lab / "00_first.ipynb").read_text() == "mine"


def test_an_untouched_copy_follows_its_original(notebooks: Path, lab: Path) -> None:
    (notebooks / "00_first.ipynb").write_text("newer")
    assert open_lab.copy(notebooks, lab) == []
    assert (lab / "00_first.ipynb").read_text() == "newer"


def test_a_copy_that_was_renamed_makes_room_for_a_new_one(notebooks: Path, lab: Path) -> None:
    (lab / "00_first.ipynb").write_text("mine")
    (lab / "00_first.ipynb").rename(lab / "mine.ipynb")
    assert open_lab.copy(notebooks, lab) == []
    assert (lab / "00_first.ipynb").read_text() == "as it was"


def test_all_links_of_the_contents_lead_somewhere(tmp_path: Path) -> None:
    page = open_lab.contents((settings.ROOT / "README.md").read_text())
    links = [link for link in re.findall(r"\]\(([^)]+)\)", page) if "://" not in link]
    assert [link for link in links if ".ipynb" in link and "/" in link] == []
    names = {path.name for path in settings.NOTEBOOKS.glob("*.ipynb")}
    missing = [x for x in links if x not in names and not (settings.NOTEBOOKS / x).exists()]
    assert (len(links) > len(names), missing) == (True, [])


def test_what_was_measured_leads_to_what_explains_its_words() -> None:
    docs = settings.ROOT / "docs"
    links = re.findall(r"\]\(([^)]+)\)", (docs / "measured.md").read_text())
    anchors = [link.partition("#")[2] for link in links if "#" in link]
    terms = re.findall(r"^### (.+)$", (docs / "glossary.md").read_text(), re.MULTILINE)
    there = {re.sub(r"[^\w-]", "", term.lower().replace(" ", "-")) for term in terms}
    assert (len(anchors) > 3, set(anchors) - there) == (True, set())
    assert [link for link in links if not (docs / link.partition("#")[0]).exists()] == []


def test_git_ignores_the_copies() -> None:
    assert "/lab/" in (settings.ROOT / ".gitignore").read_text().splitlines()


def test_options_are_passed_on_and_come_last() -> None:
    assert open_lab.command(["--no-browser", "--port", "9999"])[-3:] == [
        "--no-browser", "--port", "9999",
    ]  # fmt: skip


def test_jupyterlab_gets_settings_that_it_can_read() -> None:
    settings_of_ours = json.loads((settings.ROOT / "setup/jupyterlab/overrides.json").read_text())
    assert len(settings_of_ours) == 2


def test_a_variable_that_make_lab_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEFLAGS", r" -- KUBECONFIG=/x LABS=--no-browser\ --port=1")
    with pytest.raises(SystemExit, match=r"LABS would be ignored.*Did you mean LAB"):
        open_lab.main([])
