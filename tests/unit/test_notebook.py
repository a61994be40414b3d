"""What a notebook publishes comes back as it was, and its helpers end in time."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from helpers import settings
from helpers.errors import NotebookError, NotReadyError
from helpers.lab import claims, files, publishing, waiting


def executed(*sources: str) -> Any:
    """A notebook of these cells, run by a kernel of its own."""
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(node, kernel_name="python3", timeout=60).execute()
    return node


@pytest.fixture(scope="module")
def run() -> Any:
    """One notebook that uses what this file asks about: starting a kernel takes a second."""
    return executed(
        "import numpy as np\n"
        "from helpers.lab import claim, headline, publish, show_file\n"
        "from helpers.lab.plots.picture import picture\n"
        "publish(\n"
        "    images_per_second=headline(np.float32(6.25), 'images per second'), weights='random'\n"
        ")",
        "publish(weights='imagenet', percentiles={'p50': np.int64(12), 'all': [1, None, True]})",
        "from helpers.progress import Line\n"
        "line = Line()\n"
        "line.show('1 of 2 loads')\n"
        "line.end('2 loads in 3 s')",
        "from matplotlib.figure import Figure\n"
        "figure = Figure(figsize=(2, 1))\n"
        "picture(figure, alt='An empty figure')",
        "show_file('helpers/settings.py', lines=(1, 2))",
        "claim('even', 0.05 < 0.1, 'The shares are even.', otherwise='They are not.')",
        "claim('even_by_hand', 0.5 < 0.1, 'The shares are even.', otherwise='They are not.')",
        "claim('faster', 1.0 > 1.2, 'Four are faster than one.')",
        "from helpers import progress\n"
        "from helpers.lab import wait_until\n"
        "progress._COUNT_EVERY_S = 0.01\n"
        "line = Line()\n"
        "line.show('writing …')\n"
        "counts = lambda: line._text == 'writing … 0 s'\n"
        "wait_until(counts, what='the seconds', timeout_s=30, poll_s=0.001)\n"
        "line.end()",
        "progress._NO_WORDS_S = 0\n"
        "loads, said, end = progress.Repeated('load'), [], Line.show\n"
        "Line.show = lambda self, text, now=False: (said.append(text), end(self, text, now=True))\n"
        "for seconds in (1, 2):\n"
        "    with loads.once() as say:\n"
        "        say(f'{seconds} of 4 s')\n"
        "said",
    )


def test_published_values_come_back_by_name_and_the_last_one_counts(run: Any) -> None:
    expected = {
        "images_per_second": 6.25,
        "weights": "imagenet",
        "percentiles": {"p50": 12, "all": [1, None, True]},
    }
    assert expected == publishing.published(run)


def test_published_values_come_back_from_a_file(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.ipynb"
    nbformat.write(run, path)
    assert publishing.published(run) == publishing.published(path)


def test_a_label_makes_a_headline_number(run: Any) -> None:
    item = publishing.published_items(run)["images_per_second"]
    assert (item.label, item.text) == ("images per second", "6.25")


def test_a_cell_shows_what_it_publishes_a_line_each(run: Any) -> None:
    lines = "images_per_second = 6.25\nweights = random"
    assert run.cells[0].outputs[0].data["text/plain"] == lines


def test_progress_is_one_line_that_ends_with_what_was_done(run: Any) -> None:
    lines = [output for output in run.cells[2].outputs if output.output_type == "display_data"]
    assert len(lines) == 1
    assert lines[0].data["text/plain"] == "2 loads in 3 s"


def test_what_takes_long_counts_its_seconds(run: Any) -> None:
    assert [o for o in run.cells[8].outputs if o.output_type == "error"] == []
    assert run.cells[8].outputs[0].data["text/plain"] == "writing"


def test_loads_of_one_cell_share_a_line(run: Any) -> None:
    line, said = run.cells[9].outputs
    expected = ["load 1: 1 of 4 s", "1 load in 0 s", "load 2: 2 of 4 s", "2 loads in 0 s"]
    assert ast.literal_eval(said.data["text/plain"]) == expected
    assert line.data["text/plain"] == expected[-1]


def test_a_picture_carries_its_alternative_text_and_half_its_pixels_as_width(run: Any) -> None:
    html = run.cells[3].outputs[0].data["text/html"]
    assert html.startswith('<img alt="An empty figure" width="')
    assert 100 < int(html.split('"')[3]) < 200
    assert 'src="data:image/png;base64,iVBOR' in html


def test_a_shown_file_is_the_file_with_its_name(run: Any) -> None:
    shown = run.cells[4].outputs[0].data["text/markdown"]
    first = '"""Names, ports, versions and paths: the only place where they are spelled."""'
    assert f"**`helpers/settings.py`**\n\n````python\n{first}\n\n````" == shown


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, np.zeros(2), {1: "a"}, object(), [b"x"], {"a": {1, 2}}]
)
def test_a_value_that_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(NotebookError, match="'value' can't be published"):
        publishing.publish(value=value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (23_851_784, "23,851,784"),
        (1001, "1001"),
        (6.2149, "6.21"),
        (1234.5, "1,234"),
        (0.97, "0.97"),
        (0.0, "0"),
        (-0.00002, "-2e-05"),
        (True, "yes"),
        (None, "none"),
        ("golden retriever", "golden retriever"),
        ([1, None], "1, none"),
        ({"1": 3.14159, "2": 20_000}, "1: 3.14, 2: 20,000"),
        ({"one": {"a": 1, "b": 2}, "two": {}}, "one: a: 1, b: 2; two: none"),
        ([], "none"),
        ({"1": (), "2": ()}, "1: none, 2: none"),
    ],
)
def test_a_value_is_written_as_a_person_reads_it(value: object, words: str) -> None:
    assert words == publishing.in_words(value)


def test_a_missing_notebook_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match=r"gone\.ipynb can't be read as a notebook"):
        publishing.published(tmp_path / "gone.ipynb")


def test_a_wait_ends_with_what_the_condition_returned() -> None:
    answers = iter([None, "", "ready"])
    assert (
        waiting.wait_until(lambda: next(answers), what="an answer", timeout_s=10, poll_s=0)
        == "ready"
    )


def test_a_wait_that_is_too_long_says_what_for() -> None:
    with pytest.raises(NotReadyError, match=r"waited 0 s for the moon"):
        waiting.wait_until(lambda: False, what="the moon", timeout_s=0)


def test_a_condition_that_fails_ends_the_wait() -> None:
    with pytest.raises(ZeroDivisionError):
        waiting.wait_until(lambda: 1 / 0, what="a quotient", timeout_s=10)


def test_a_missing_file_cannot_be_shown() -> None:
    with pytest.raises(NotebookError, match="can't be shown"):
        files.show_file("manifests/none.yaml")


def test_two_files_are_shown_by_what_differs() -> None:
    steps = ("manifests/steps/1-smallest.yaml", "manifests/steps/2-locks.yaml")
    shown = files.show_diff(*steps).data.split("\n")
    assert shown[0] == f"**`{steps[0]}` → `{steps[1]}`**"
    assert shown[2] == "````diff"
    changed = [line for line in shown[3:-1] if line and line[0] in "+-"]
    whole = [set((settings.ROOT / step).read_text().splitlines()) for step in steps]
    assert {line[1:] for line in changed if line[0] == "-"} == whole[0] - whole[1]
    assert {line[1:] for line in changed if line[0] == "+"} >= whole[1] - whole[0]


def test_a_claim_says_what_is_true_of_the_run(run: Any) -> None:
    said = {claim.name: (claim.held, claim.sentence) for claim in claims.claims(run)}
    assert said["even"] == (True, "The shares are even.")
    assert said["even_by_hand"] == (False, "They are not.")


def test_a_claim_that_fails_and_has_nothing_else_to_say_contradicts_the_text(run: Any) -> None:
    assert [c.name for c in claims.claims(run) if c.contradicted] == ["faster"]
    assert "contradicts" in run.cells[7].outputs[0].data["text/markdown"]


def test_a_claims_name_is_an_identifier() -> None:
    with pytest.raises(NotebookError, match="'as fast' can't name a claim"):
        claims.claim("as fast", True, "It is as fast.")
