"""Cells that need a cluster show what they do, or what they did where there was one."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from notebook_runs import unlike
from PIL import Image
from rich.console import Console

from helpers import settings
from helpers.book import lessons, record, runner
from helpers.book.small_pictures import with_small_pictures
from helpers.lab import claims, publishing, recordings

PODS = """%%cluster
import sys
print("inception-5d  1/1  Running")
print("a note", file=sys.stderr)"""
PICTURE = """%%cluster gpu
from matplotlib.figure import Figure
from helpers.lab.plots.picture import picture
picture(Figure(figsize=(2, 1)), alt="An empty figure")"""
REFUSED = """%%cluster
raise ValueError("refused")"""
PUBLISHED = """%%cluster
publish(pods=2)"""
CLAIMED = """%%cluster
claim("two_pods", True, "There are *two* pods.")"""
SILENT = """%%cluster
name = "of no plain cell"
"""
SOURCES = (PODS, PICTURE, REFUSED, PUBLISHED, CLAIMED, SILENT)
WHERE = "the two-node test cluster, Kubernetes 1.34, 27 November 2026, revision abc1234"


def notebook(folder: Path, target: str) -> Any:
    """A notebook of six cells that need a cluster and two that don't."""
    setup = (
        "from pathlib import Path\nfrom types import SimpleNamespace\n"
        "from helpers import settings\n"
        f"settings.RECORDINGS = Path({str(folder)!r})\n"
        "from helpers.lab import claim, publish\n"
        f"TARGET, cluster = {target!r}, SimpleNamespace(limitations={{}})"
    )
    cells = [new_code_cell(setup), *map(new_code_cell, SOURCES), new_code_cell("publish(own=1)")]
    cells[3].metadata["tags"] = ["raises-exception"]
    return new_notebook(cells=cells)


def by_a_plain_kernel(folder: Path, target: str) -> Any:
    """As JupyterLab runs it: cell by cell, in a kernel."""
    node = notebook(folder, target)
    NotebookClient(node, kernel_name="python3", timeout=60).execute()
    return node


def by_the_runner(folder: Path, target: str, at: Path) -> Any:
    """As `make tutorial` runs it."""
    path = at / "00_recorded.ipynb"
    nbformat.write(notebook(folder, target), path)
    outcome = runner.run(lessons.Lesson("00", path, "Record"), output=at / "out" / path.name)
    assert outcome.error is None
    return lessons.read(at / "out" / path.name)


def shown(cell: Any) -> list[dict[str, Any]]:
    return [dict(output.get("data", {"text/plain": output.get("text")})) for output in cell.outputs]


@pytest.fixture(scope="module")
def on_a_cluster(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return by_a_plain_kernel(tmp_path_factory.mktemp("none"), "kubernetes")


@pytest.fixture(scope="module")
def folder(on_a_cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording of that run."""
    folder = tmp_path_factory.mktemp("recordings")
    found = record.recorded(on_a_cluster, where=WHERE, former={})
    (folder / "00.json").write_text(json.dumps(found))
    return folder


@pytest.fixture(scope="module")
def without_one(folder: Path) -> Any:
    return by_a_plain_kernel(folder, "local")


def test_where_there_is_a_cluster_such_a_cell_is_run_as_any_other(on_a_cluster: Any) -> None:
    texts = [output.get("text", "") for output in on_a_cluster.cells[1].outputs]
    assert "".join(texts) == "inception-5d  1/1  Running\na note\n"
    assert publishing.published(on_a_cluster) == {"pods": 2, "own": 1}
    assert [claim.name for claim in claims.claims(on_a_cluster)] == ["two_pods"]


def test_elsewhere_it_shows_what_it_showed_there_and_where_that_was(without_one: Any) -> None:
    box, text = shown(without_one.cells[1])
    assert box[recordings.RECORDED] == {"where": WHERE}
    assert box["text/plain"].startswith(f"Recorded on {WHERE}. To run it yourself: ")
    assert text == {"text/plain": "inception-5d  1/1  Running\na note"}
    assert 'alt="An empty figure"' in shown(without_one.cells[2])[1]["text/html"]
    assert shown(without_one.cells[3])[1] == {"text/plain": "ValueError: refused"}


def test_papermill_and_a_plain_kernel_show_the_same(
    without_one: Any, folder: Path, tmp_path: Path
) -> None:
    ran = by_the_runner(folder, "local", tmp_path)
    assert [shown(cell) for cell in ran.cells] == [shown(cell) for cell in without_one.cells]


def test_a_recording_publishes_nothing_and_claims_nothing(without_one: Any) -> None:
    assert publishing.published(without_one) == {"own": 1}
    assert claims.claims(without_one) == []
    assert shown(without_one.cells[4]) == []
    assert shown(without_one.cells[5])[1]["text/markdown"] == "There are *two* pods."


def test_a_cell_that_showed_nothing_shows_nothing(without_one: Any) -> None:
    assert shown(without_one.cells[6]) == []


def test_a_cell_without_a_recording_says_what_it_needs(tmp_path: Path) -> None:
    (output,) = shown(by_a_plain_kernel(tmp_path, "local").cells[1])
    assert output[recordings.RECORDED] == {"where": None}
    assert output["text/plain"].startswith("Not run: this cell needs a Kubernetes cluster.")


def test_what_could_not_be_run_keeps_its_former_recording(without_one: Any, folder: Path) -> None:
    former = recordings.read(folder / "00.json")
    again = record.recorded(without_one, where="a laptop", former=former)
    pods = again["cells"][0]
    assert pods == {"where": WHERE} | former["cells"][0]


def test_a_cell_that_was_never_run_or_recorded_is_not_in_the_recording(tmp_path: Path) -> None:
    node = by_a_plain_kernel(tmp_path, "local")
    assert record.recorded(node, where="a laptop", former={})["cells"] == []


def test_a_recording_has_what_its_run_published(folder: Path) -> None:
    assert recordings.read(folder / "00.json")["published"] == {"pods": 2, "own": 1}


def test_printed_text_is_as_a_terminal_leaves_it() -> None:
    text = "\x1b[?25lpull 10 %\rpull 100 %\r\n\x1b[32mdone\x1b[0m\x1b[K\n"
    assert record.as_a_terminal_leaves_it(text) == "pull 100 %\n\x1b[32mdone\x1b[0m"


def test_a_display_that_was_updated_is_recorded_as_it_ended() -> None:
    first = "from IPython.display import display\nfrom helpers import lab\nTARGET = 'kubernetes'"
    updating = "%%cluster\nshown = display('1 of 2', display_id=True)\nshown.update('2 of 2')"
    node = new_notebook(cells=[new_code_cell(first), new_code_cell(updating)])
    NotebookClient(node, kernel_name="python3", timeout=60).execute()
    (cell,) = record.recorded(node, where=WHERE, former={})["cells"]
    assert [output["data"]["text/plain"] for output in cell["outputs"]] == ["'2 of 2'"]


def png(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode()


def test_a_chart_stays_a_png_and_a_photograph_becomes_a_jpeg() -> None:
    chart = np.full((400, 600, 3), 255, np.uint8)
    chart[100:300, 50:200] = (0, 114, 178)
    noise = np.random.default_rng(1).normal(128, 20, (400, 600, 3)).clip(0, 255).astype(np.uint8)
    about = {"alt": "words", "width": 300}
    small = {}
    for name, pixels in {"chart": chart, "photograph": noise}.items():
        output = {"data": {"image/png": png(pixels)}, "metadata": {"image/png": about}}
        small[name] = with_small_pictures(output)
        (text,) = small[name]["data"].values()
        assert len(text) < len(png(pixels)) / 2
    assert small["chart"]["metadata"] == {"image/png": about}
    assert small["photograph"]["metadata"] == {"image/jpeg": about}


def test_a_picture_within_html_is_made_small_and_keeps_its_words() -> None:
    pixels = np.zeros((300, 300, 3), np.uint8)
    html = f'<img alt="black" src="data:image/png;base64,{png(pixels)}">'
    found = with_small_pictures({"data": {"text/html": html}, "metadata": {}})["data"]["text/html"]
    assert found.startswith('<img alt="black" src="data:image/png;base64,')
    assert len(found) < len(html)


def test_the_command_writes_a_file_per_notebook_and_keeps_it_when_a_run_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "RECORDINGS", tmp_path / "recordings")
    monkeypatch.setattr(record, "OUTPUT", tmp_path / "executed")
    monkeypatch.setattr(record, "place", lambda needs, context: f"{', '.join(needs)} of {context}")
    setup = new_code_cell("TARGET = 'local'\nCONTEXT = None", metadata={"tags": ["parameters"]})
    use = [new_code_cell("from helpers import lab"), new_code_cell("%%cluster\nprint(TARGET)")]
    path, plain = tmp_path / "07_recorded.ipynb", tmp_path / "08_plain.ipynb"
    nbformat.write(new_notebook(cells=[setup, *use]), path)
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")]), plain)  # it isn't run
    console = Console(file=io.StringIO(), width=200)
    assert record.run({"CONTEXT": "tutorial"}, folder=tmp_path, console=console) == 0
    written = tmp_path / "recordings" / "07.json"
    found = recordings.read(written)
    assert found["where"] == "cluster of tutorial"
    shown = [{"data": {"text/plain": "kubernetes"}, "metadata": {}}]
    assert found["cells"] == [{"source": "print(TARGET)", "outputs": shown}]

    nbformat.write(new_notebook(cells=[setup, *use, new_code_cell("1 / 0")]), path)
    assert record.run({}, folder=tmp_path, console=console) == 1
    assert "failed at code cell 4, nothing was recorded" in console.file.getvalue()  # type: ignore[attr-defined]
    assert recordings.read(written) == found
    assert [file.name for file in written.parent.iterdir()] == ["07.json"]


@pytest.mark.parametrize(
    ("fresh", "recorded", "apart"),
    [
        ({"a": 12, "b": True, "c": "x"}, {"a": 30.0, "b": True, "c": "y"}, []),
        ({"a": 0}, {"a": 8}, []),
        ({"a": 0}, {"a": 60}, ["a"]),
        ({"a": True}, {"a": False}, ["a"]),
        ({"a": None}, {"a": 3}, ["a"]),
        ({"a": 1}, {"b": 1}, ["a", "b"]),
    ],
)
def test_a_fresh_run_is_compared_by_its_shape(
    fresh: dict[str, Any], recorded: dict[str, Any], apart: list[str]
) -> None:
    assert sorted(unlike(fresh, recorded)) == apart


def test_no_two_cells_that_need_a_cluster_have_one_source() -> None:
    """They are found by it. `# after the roll-out` tells one `!kubectl get pods` from the next."""
    sources = [
        (recordings.body(cell.source), lesson.number)
        for lesson in lessons.find()
        for cell in lessons.read(lesson.path).cells
        if cell.cell_type == "code" and recordings.need(cell.source)
    ]
    twice = {source for source, _ in sources if sum(source == other for other, _ in sources) > 1}
    assert twice == set()


def test_every_cell_that_needs_a_cluster_or_an_engine_is_recorded_as_it_is() -> None:
    found = {lesson.number: record.missing(lesson) for lesson in lessons.find()}
    assert {n: cells for n, cells in found.items() if cells} == {}, "run: make record"


def test_no_recording_is_of_a_cell_that_is_gone() -> None:
    numbers = {lesson.number: lesson for lesson in lessons.find()}
    for path in settings.RECORDINGS.glob("*.json"):
        there = record.needing(lessons.read(numbers[path.stem].path))
        gone = [c["source"] for c in recordings.read(path)["cells"] if c["source"] not in there]
        assert gone == [], "run: make record"


def test_recordings_are_small_enough_for_git() -> None:
    sizes = [path.stat().st_size for path in settings.RECORDINGS.rglob("*")]
    assert sum(sizes) <= record.MOST_BYTES
