"""The committed notebooks have the frame of the style guide, small cells, and no outputs."""

from __future__ import annotations

import ast
import functools
import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from helpers import settings
from helpers.book import lessons
from helpers.book.lessons import Lesson, tags
from helpers.book.site.cells import slug

FRAME = ["What you'll do", "What you'll learn", "What you'll need"]
ENDING = ["On your own", "In practice", "Next"]
CELL_LINES = 20
SMALL_LINES = 6
# Not titles of what a reader does: "Scaling", "Introduction", "The benchmark".
NO_VERBS = re.compile(r"^(a|an|the|how|why|what|introduction|\w+ing)\b", re.IGNORECASE)
MAGICS = re.compile(r"^\s*[%!](?:.*\\\n)*", re.MULTILINE)  # with the lines that go on by a `\\`

LESSONS = lessons.find()
all_notebooks = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.path.stem)


@functools.cache
def node(path: Path) -> Any:
    return lessons.read(path)


def cells(lesson: Lesson, kind: str) -> list[Any]:
    return [cell for cell in node(lesson.path).cells if cell.cell_type == kind]


def taught(lesson: Lesson) -> list[Any]:
    """The code cells of the lesson: all but the one that publishes."""
    return [cell for cell in cells(lesson, "code") if "published" not in tags(cell)]


def is_claim(cell: Any) -> bool:
    """Whether a cell is a claim, which the page shows as the sentence that it says."""
    return cell.cell_type == "code" and bool(re.search(r"^claim\(", cell.source, re.MULTILINE))


def prose(lesson: Lesson) -> str:
    """All Markdown, without what stands in fences, where `#` starts a comment."""
    text = "\n\n".join(cell.source for cell in cells(lesson, "markdown"))
    return re.sub(r"^(```+).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)


def headings(lesson: Lesson, level: int) -> list[str]:
    return re.findall(rf"^{'#' * level} (.+)$", prose(lesson), re.MULTILINE)


def section(lesson: Lesson, heading: str) -> str:
    match = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", prose(lesson), re.DOTALL | re.MULTILINE)
    assert match, f"no section {heading}"
    return match[1].strip()


def code_lines(source: str) -> int:
    return sum(bool(line.strip()) for line in source.splitlines())


def parsed(source: str) -> ast.Module:
    """The cell as Python; a line of IPython's own counts as an expression."""
    return ast.parse(MAGICS.sub("...  # ", source))


@all_notebooks
def test_it_is_stripped(lesson: Lesson) -> None:
    left = [
        cell.id
        for cell in cells(lesson, "code")
        if cell.outputs or cell.execution_count is not None or "execution" in cell.metadata
    ]
    assert left == [], "run: make strip"


@all_notebooks
def test_stripping_would_change_nothing(lesson: Lesson, tmp_path: Path) -> None:
    copy = tmp_path / lesson.path.name
    copy.write_bytes(lesson.path.read_bytes())
    assert not lessons.strip(copy), "run: make strip"


@all_notebooks
def test_every_cell_has_an_id_of_its_own(lesson: Lesson) -> None:
    ids = [cell.get("id") for cell in node(lesson.path).cells]
    assert None not in ids
    assert len(ids) == len(set(ids))


@all_notebooks
def test_the_title_is_the_only_one_and_starts_with_a_verb(lesson: Lesson) -> None:
    titles = headings(lesson, 1)
    assert titles == [lesson.title]
    assert not NO_VERBS.match(lesson.title)


@all_notebooks
def test_it_has_the_frame_in_order(lesson: Lesson) -> None:
    found = headings(lesson, 2)
    assert found[: len(FRAME)] == FRAME
    assert found[-len(ENDING) :] == ENDING


@all_notebooks
def test_between_the_frame_the_steps_are_numbered(lesson: Lesson) -> None:
    steps = headings(lesson, 2)[len(FRAME) : -len(ENDING)]
    assert [step.split(". ")[0] for step in steps] == [str(n + 1) for n in range(len(steps))]


@all_notebooks
def test_what_it_does_is_one_sentence(lesson: Lesson) -> None:
    sentences = re.findall(r"[.!?](?=\s|$)", section(lesson, FRAME[0]))
    assert len(sentences) == 1


@all_notebooks
def test_what_is_learned_is_three_bullets(lesson: Lesson) -> None:
    bullets = re.findall(r"^- (\w+)", section(lesson, FRAME[1]), re.MULTILINE)
    assert len(bullets) == 3
    assert [bullet for bullet in bullets if NO_VERBS.match(bullet)] == []


@all_notebooks
def test_what_is_needed_names_time_target_and_cost(lesson: Lesson) -> None:
    need = section(lesson, FRAME[2]).lower()
    assert [word for word in ("minute", "target", "cost") if word not in need] == []


@all_notebooks
def test_exercises_have_their_solutions_folded_away(lesson: Lesson) -> None:
    own = section(lesson, ENDING[0])
    assert 2 <= len(re.findall(r"^\d+\. ", own.split("<details>")[0], re.MULTILINE)) <= 3
    assert own.count("<details>") == own.count("</details>") == own.count("<summary>") > 0
    # Without an empty line after it, Markdown inside is shown as it was typed.
    assert re.search(r"</summary>\n[^\n]", own) is None


@all_notebooks
def test_one_cell_holds_the_parameters(lesson: Lesson) -> None:
    assert sum("parameters" in tags(cell) for cell in cells(lesson, "code")) == 1


@all_notebooks
def test_parameters_are_literals_with_a_comment_a_line(lesson: Lesson) -> None:
    (source,) = [c.source for c in cells(lesson, "code") if "parameters" in tags(c)]
    lines = [line for line in source.splitlines() if line.strip()]
    assert [line for line in lines if not re.match(r"\w+ = [^#]+  # \S", line)] == []
    assert len(lessons.parameters_of(node(lesson.path))) == len(lines)


@all_notebooks
def test_no_parameter_is_a_variable_of_every_shell(lesson: Lesson) -> None:
    assert {name.upper() for name in lesson.parameters} & lessons.ENVIRONMENT == set()


@all_notebooks
def test_cells_are_small(lesson: Lesson) -> None:
    assert [cell.id for cell in taught(lesson) if code_lines(cell.source) > CELL_LINES] == []


@all_notebooks
def test_half_of_the_cells_are_smaller_still(lesson: Lesson) -> None:
    lengths = [code_lines(cell.source) for cell in taught(lesson) if not is_claim(cell)]
    assert sum(length <= SMALL_LINES for length in lengths) >= len(lengths) / 2


@all_notebooks
def test_a_cell_ends_on_a_value(lesson: Lesson) -> None:
    """Four in five do: a cell that only closes or defines something has nothing to show."""
    others = [cell for cell in taught(lesson) if "parameters" not in tags(cell)]
    silent = [c.source for c in others if not isinstance(parsed(c.source).body[-1], ast.Expr)]
    assert len(silent) <= len(others) / 5, "\n---\n".join(silent)


@all_notebooks
def test_nothing_sleeps(lesson: Lesson) -> None:
    assert [c.source for c in cells(lesson, "code") if re.search(r"\bsleep\(", c.source)] == []


@all_notebooks
def test_its_last_cell_publishes(lesson: Lesson) -> None:
    last = node(lesson.path).cells[-1]
    assert "published" in tags(last)
    assert "publish(" in last.source


@all_notebooks
def test_what_it_publishes_is_computed_in_the_call(lesson: Lesson) -> None:
    """After an error a value that isn't there is passed over, not the cell that it is named in."""
    last = parsed(node(lesson.path).cells[-1].source)
    named = [line.value for line in last.body if isinstance(line, ast.Assign)]
    assert [ast.unparse(value) for value in named if not isinstance(value, ast.Constant)] == []


@all_notebooks
def test_the_code_is_between_words(lesson: Lesson) -> None:
    """At most three code cells in a row: readers are told what to expect and what it meant."""
    shown = node(lesson.path).cells
    kinds = "".join("m" if is_claim(cell) else cell.cell_type[0] for cell in shown)
    assert "cccc" not in kinds


@all_notebooks
def test_no_formula_needs_a_renderer_from_the_net(lesson: Lesson) -> None:
    assert re.findall(r"\$[^$\n]+\$|\\\(|\\\[", re.sub(r"`[^`]*`", "", prose(lesson))) == []


@all_notebooks
def test_links_inside_the_repository_lead_somewhere(lesson: Lesson) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", prose(lesson))
    gone = [link for link in links if not (lesson.path.parent / link).exists()]
    assert gone == []


@all_notebooks
def test_links_to_the_glossary_lead_to_a_term(lesson: Lesson) -> None:
    glossary = (settings.ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    terms = {slug(heading) for heading in re.findall(r"^### (.+)", glossary, re.M)}
    assert set(re.findall(r"glossary\.md#([^)]+)\)", prose(lesson))) - terms == set()


@all_notebooks
def test_what_it_needs_comes_before_it(lesson: Lesson) -> None:
    earlier = {other.number for other in LESSONS if other.number < lesson.number}
    assert set(lesson.needs) <= earlier


@pytest.mark.parametrize(
    ("lesson", "following"),
    list(itertools.pairwise(LESSONS)),
    ids=lambda lesson: lesson.path.stem,
)
def test_the_end_leads_to_the_next_one(lesson: Lesson, following: Lesson) -> None:
    assert f"({following.path.name})" in section(lesson, "Next")


@all_notebooks
def test_files_named_in_the_text_are_there(lesson: Lesson) -> None:
    named = re.findall(
        r"`((?:helpers|manifests|serving|benchmarks|tests)/[\w./-]+)`", prose(lesson)
    )
    assert [name for name in named if not (settings.ROOT / name).exists()] == []
