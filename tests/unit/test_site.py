"""The pages are complete, honest, accessible, and need nothing from the net."""

from __future__ import annotations

import base64
import itertools
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from colours import LEAST, contrast
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers import settings
from helpers.book import lessons, site
from helpers.book.site import cells, figures, search, sources, tables
from helpers.lab.claims import CLAIM
from helpers.lab.publishing import PUBLISHED
from helpers.lab.recordings import RECORDED

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
INTRODUCTION = """# Look at the shelf

## What you'll do

Look at *one* shelf.

## What you'll learn

- Count planks
- Weigh them
- Say so

## What you'll need

2 minutes.

Before it: [the first](00_first.ipynb#1-step). Its code: [settings](../helpers/settings.py).
"""
SOLUTION = """## On your own

<details><summary>Solution</summary>

```python
1 + 1
```

</details>

## Next

See [the net](https://example.org/page).
"""


def shown(data: dict[str, Any], **metadata: Any) -> Any:
    return new_output("display_data", data=data, metadata=metadata)


def published(**values: Any) -> Any:
    record = [{"name": name, "value": value, "label": ""} for name, value in values.items()]
    return shown({PUBLISHED: record, "text/plain": "x"})


def claimed(held: bool, sentence: str) -> Any:
    record = {"name": "even", "held": held, "sentence": sentence, "contradicted": not held}
    return shown({CLAIM: record, "text/markdown": sentence, "text/plain": sentence})


def code(source: str, *outputs: Any, tags: tuple[str, ...] = ()) -> Any:
    metadata = {"tags": list(tags)} if tags else {}
    return new_code_cell(source, outputs=list(outputs), metadata=metadata, execution_count=1)


def recorded(where: str) -> list[Any]:
    box = {RECORDED: {"where": where}, "text/html": f"<div>Recorded on {where}</div>"}
    return [shown(box), shown({"text/plain": "inception-5d"})]


def timed(cell: Any) -> Any:
    cell.metadata["papermill"] = {"duration": 12.3}
    return cell


def second_notebook() -> Any:
    frame = (
        '<div><style scoped>.dataframe {}</style><table border="1" class="dataframe"><thead><tr>'
        "<th></th><th>label</th><th>images/s</th></tr></thead><tbody>"
        "<tr><th>0</th><td>puppy</td><td>6.2</td></tr></tbody></table></div>"
    )
    contents = [
        new_markdown_cell(INTRODUCTION),
        code("SIZE = 3  # planks", tags=("parameters",)),
        code("SIZE = 4", tags=("injected-parameters",)),
        new_markdown_cell("## 1. Draw it\n\nA `figure`."),
        timed(code("draw()", shown({"image/png": PIXEL, "text/plain": "<Figure>"}))),
        code("again()", shown({"image/png": PIXEL}, **{"image/png": {"alt": "A plank"}})),
        code("plots.contact_sheet(samples)", shown({"image/png": PIXEL})),
        new_markdown_cell("## 2. Tell it\n\n### In full\n\n### In full"),
        code("%%cluster\n!kubectl get pods", *recorded("a cluster")),
        code("from helpers.lab import claim\nfrom helpers import settings"),
        code("shelf()", shown({"image/png": PIXEL}), tags=("share",)),
        code("frame", shown({"text/html": frame, "text/plain": "frame"})),
        code(
            "talk()",
            new_output("stream", name="stdout", text="\x1b[31m<b>\x1b[0m\n" * 60),
            new_output("stream", name="stderr", text="I tensorflow: noise\nmore\n"),
        ),
        code(
            "fail()",
            new_output("error", ename="ValueError", evalue="<none>", traceback=["a", "b"]),
            tags=("raises-exception",),
        ),
        code(
            'claim("even", True, f"The *planks* are even.")',
            claimed(True, "The *planks* are even."),
        ),
        code("publish()", published(planks=23851784, weights="random"), tags=("published",)),
        new_markdown_cell(SOLUTION),
    ]
    return new_notebook(cells=contents)


def entry(number: str, file: str, status: str, **more: Any) -> dict[str, Any]:
    return {
        "number": number,
        "file": file,
        "status": status,
        "seconds": 80.4,
        "finished": "2026-11-22T12:00:00+00:00",
        "published": {},
        "labels": {},
        "error": None,
    } | more


def of_a_run(**more: Any) -> dict[str, Any]:
    """What results.json holds."""
    return {
        "finished": "2026-11-22T12:05:00+00:00",
        "machine": {
            "system": "Linux",
            "architecture": "x86_64",
            "processor_class": "avx2",
            "cores": 2,
            "memory_gib": 24.0,
        },
        "versions": {"python": "3.11.7"},
    } | more


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a run: one notebook failed, one is fine, one was skipped, one was not chosen."""
    root = tmp_path_factory.mktemp("site")
    output, notebooks = root / "out", root / "notebooks"
    (output / "notebooks").mkdir(parents=True)
    notebooks.mkdir()
    first = new_notebook(cells=[new_markdown_cell("# Fail\n\n## 1. Step"), code("1 / 0")])
    contents = {
        "00_first.ipynb": first,
        "01_second.ipynb": second_notebook(),
        "02_third.ipynb": new_notebook(cells=[new_markdown_cell("# Skip")]),
        "03_fourth.ipynb": new_notebook(cells=[new_markdown_cell("# Wait & see")]),
    }
    for name, node in contents.items():
        nbformat.write(node, notebooks / name)
    for name in ("00_first.ipynb", "01_second.ipynb"):
        nbformat.write(contents[name], output / "notebooks" / name)
    (output / "09_old.html").write_text("of a notebook that is gone")
    place = {"cell": 1, "step": "1. Step", "source": "1 / 0"}
    failure = place | {"kind": "ZeroDivisionError", "message": "division <by> zero"}
    values = {"planks": 23851784, "weights": "random"}
    results = of_a_run(
        ok=False,
        seconds=161.0,
        notebooks=[
            entry("00", "00_first.ipynb", "failed", error=failure),
            entry(
                "01", "01_second.ipynb", "ok", published=values, labels={"planks": "planks in all"}
            ),
            entry(
                "02", "02_third.ipynb", "skipped", error={"message": "needs notebook 00"}, seconds=0
            ),
        ],
    )
    (output / "results.json").write_text(json.dumps(results))
    site.build(output, results=results, lessons=lessons.find(notebooks))
    return output


@pytest.fixture(scope="module")
def index(folder: Path) -> BeautifulSoup:
    return BeautifulSoup((folder / "index.html").read_text(), "html.parser")


@pytest.fixture(scope="module")
def page(folder: Path) -> BeautifulSoup:
    return BeautifulSoup((folder / "01_second.html").read_text(), "html.parser")


def text(tag: Any) -> str:
    return " ".join(tag.get_text().split())


def test_there_is_a_page_for_each_notebook_that_ran_and_no_old_one(folder: Path) -> None:
    names = sorted(path.name for path in folder.glob("*.html"))
    assert names == ["00_first.html", "01_second.html", "glossary.html", "index.html"]


def test_nothing_is_loaded_from_the_net(folder: Path) -> None:
    loaded = [
        tag.get("src") or tag.get("href")
        for path in folder.glob("*.html")
        for tag in BeautifulSoup(path.read_text(), "html.parser").select(
            "[src], link[href], use[href], object, iframe"
        )
    ]
    style = (folder / "style.css").read_text()
    loaded += re.findall(r"url\(\"?([^)\"]{1,30})", style) + re.findall(r"@import.*", style)
    own = re.compile(r"data:|pictures/|(style\.css|search\.js)$")
    assert [url for url in loaded if not own.match(url)] == []


def test_every_file_that_a_page_names_is_there(folder: Path) -> None:
    gone = [
        f"{path.name}: {url}"
        for path in folder.glob("*.html")
        for tag in BeautifulSoup(path.read_text(), "html.parser").select("[href], img[src]")
        for url in [str(tag.get("href") or tag.get("src")).split("#")[0]]
        if url and not re.match(r"data:|https:", url) and not (folder / url).exists()
    ]
    assert gone == []


def test_every_anchor_that_a_page_names_is_there(page: BeautifulSoup) -> None:
    ids = [tag["id"] for tag in page.select("[id]")]
    wanted = {str(tag["href"])[1:] for tag in page.select("a[href^='#']")}
    assert len(ids) == len(set(ids))
    assert wanted - set(ids) == set()


@pytest.mark.parametrize("name", ["index.html", "00_first.html", "01_second.html"])
def test_headings_are_in_order_from_a_single_first_one(folder: Path, name: str) -> None:
    soup = BeautifulSoup((folder / name).read_text(), "html.parser")
    levels = [int(tag.name[1]) for tag in soup.find_all(re.compile(r"h[1-6]$"))]
    assert levels.count(1) == 1 == levels[0]
    assert [b - a for a, b in itertools.pairwise(levels) if b - a > 1] == []


@pytest.mark.parametrize("name", ["index.html", "00_first.html", "01_second.html"])
def test_every_picture_has_words_or_is_beside_them(folder: Path, name: str) -> None:
    soup = BeautifulSoup((folder / name).read_text(), "html.parser")
    silent = [i for i in soup.find_all("img") if not i.get("alt") and not i.find_parent("a")]
    assert silent == []


def test_a_picture_keeps_its_own_words_or_gets_those_of_its_step(page: BeautifulSoup) -> None:
    words = [image["alt"] for image in page.select("article img")]
    sheet = "All photos, small, each with its title."  # as the function's docstring has it
    steps = ("Figure of the step “1. Draw it”", "Figure of the step “In full”")
    assert words == [steps[0], "A plank", sheet, steps[1]]


def test_a_failed_run_is_told_on_top_of_its_page(folder: Path) -> None:
    soup = BeautifulSoup((folder / "00_first.html").read_text(), "html.parser")
    banner = text(soup.select_one(".banner.bad"))
    assert "It stopped at code cell 1, under “1. Step”" in banner
    assert "ZeroDivisionError division <by> zero" in banner


def test_the_index_tells_what_did_not_finish_and_why(index: BeautifulSoup) -> None:
    banner = text(index.select_one(".banner.bad"))
    assert "2 of 4 notebooks did not finish." in banner
    assert "02 Skip was not run: it needs notebook 00." in banner


def test_random_weights_are_told_on_the_page_and_on_the_index(
    page: BeautifulSoup, index: BeautifulSoup, folder: Path
) -> None:
    words = "abels are meaningless in this run"
    assert words in text(page.select_one(".banner"))
    assert words in text(index.select(".card")[1])
    assert words not in (folder / "00_first.html").read_text()


def test_a_stand_ins_labels_are_told_as_its_own(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "00_first.ipynb"
    for name in (path, tmp_path / "notebooks" / path.name):
        nbformat.write(new_notebook(cells=[new_markdown_cell("# Serve")]), name)
    values = {"weights": "random", "labels_by": "EfficientNet-Lite2"}
    notebooks = [entry("00", path.name, "ok", published=values)]
    results = of_a_run(ok=True, seconds=1.0, notebooks=notebooks)
    site.build(tmp_path, results=results, lessons=lessons.find(tmp_path))
    told = text(
        BeautifulSoup((tmp_path / "00_first.html").read_text(), "html.parser").select_one(".banner")
    )
    assert told.startswith("Labels in this run are EfficientNet-Lite2’s.")  # noqa: RUF001
    (card,) = BeautifulSoup((tmp_path / "index.html").read_text(), "html.parser").select(".card")
    assert "labels by EfficientNet-Lite2" in text(card)
    assert "meaningless" not in text(card) + told


def test_the_index_lists_every_notebook_with_what_is_learned(index: BeautifulSoup) -> None:
    titles = [text(card.h3) for card in index.select(".card")]
    assert titles == ["Fail", "Look at the shelf", "Skip", "Wait & see"]
    learned = [text(item) for item in index.select(".card .learn li")]
    assert learned == ["Count planks", "Weigh them", "Say so"]


def test_the_index_has_the_headline_numbers(index: BeautifulSoup) -> None:
    assert text(index.select_one(".telling")) == "planks in all 23,851,784"


def test_the_picture_of_a_notebook_is_its_last_figure(folder: Path) -> None:
    assert (folder / "pictures/01.png").read_bytes() == base64.b64decode(PIXEL)


def test_a_photo_in_html_is_a_picture_when_its_cell_is_tagged() -> None:
    html = f'<figure><img src="data:image/png;base64,{PIXEL}" alt="A puppy"></figure>'
    first = code("photo", shown({"text/html": html}), tags=("cover",))
    node = new_notebook(cells=[first, code("draw()", shown({"image/png": PIXEL}))])
    (cover,) = figures.covers([node])
    assert cover is not None
    assert (cover.content, cover.ending, cover.alt) == (base64.b64decode(PIXEL), "png", "A puppy")


def test_pages_lead_to_the_next_and_back(page: BeautifulSoup) -> None:
    before, after = page.select(".turn a")
    assert (before["href"], after["href"]) == ("00_first.html", "index.html")


def test_contents_name_the_steps_and_not_the_frame(page: BeautifulSoup) -> None:
    steps = [text(link) for link in page.select(".side .steps a")]
    assert steps == ["1. Draw it", "2. Tell it", "On your own", "Next"]


def test_links_between_notebooks_lead_to_pages_and_others_into_the_clone(
    page: BeautifulSoup, folder: Path
) -> None:
    links = {link.get_text(): str(link["href"]) for link in page.select("article .frame a")}
    assert links["the first"] == "00_first.html#1-step"
    assert (folder / links["settings"]).resolve() == settings.ROOT / "helpers/settings.py"


def test_parameters_are_folded_and_those_of_the_run_said_to_be(page: BeautifulSoup) -> None:
    assert [text(one.summary) for one in page.select(".folded")] == [
        "Parameters",
        "Parameters of this run",
    ]


def test_log_lines_are_folded_and_counted(page: BeautifulSoup) -> None:
    assert text(page.select_one(".log summary")) == "2 log lines"


def test_a_long_output_can_be_scrolled_by_keyboard(page: BeautifulSoup) -> None:
    assert page.select_one("pre.long")["tabindex"] == "0"


def test_columns_of_text_are_not_wrapped_and_sentences_are() -> None:
    table = "NAME        READY   AGE\ninception   1/1     3s"
    soup = BeautifulSoup(
        f"<pre class='text'>{table}</pre><pre class='text'>a\nb</pre>", "html.parser"
    )
    cells._long_texts(soup)
    assert [pre.get("tabindex") for pre in soup.select("pre")] == ["0", None]
    assert text(soup.select_one("pre.wide")).startswith("NAME")


def test_outputs_are_escaped_and_their_colours_kept(page: BeautifulSoup) -> None:
    assert str(page.select_one("pre.long span")) == '<span class="ansi-red-fg">&lt;b&gt;</span>'


def test_an_error_on_purpose_is_calm_and_its_traceback_folded(page: BeautifulSoup) -> None:
    error = page.select_one(".error")
    assert text(error.p) == "ValueError <none>"
    assert error["class"] == ["error"]
    assert text(error.details.pre) == "a b"


def test_numbers_in_tables_are_aligned_and_the_frames_own_style_is_gone(
    page: BeautifulSoup,
) -> None:
    table = page.select_one("article table.dataframe")
    assert [text(cell) for cell in table.select(".number")] == ["images/s", "6.2"]
    assert page.select("article style") == []


def test_a_header_over_several_columns_is_not_aligned_as_one_of_numbers() -> None:
    soup = BeautifulSoup(
        "<table><thead><tr><th></th><th colspan='2'>plain</th></tr>"
        "<tr><th></th><th>lost</th><th>why</th></tr></thead>"
        "<tbody><tr><th>a hang</th><td>7</td><td>it hung</td></tr></tbody></table>",
        "html.parser",
    )
    tables.tidy(soup)
    assert [text(cell) for cell in soup.select(".number")] == ["lost", "7"]
    assert [text(cell) for cell in soup.select("[scope=colgroup]")] == ["plain"]


def test_a_row_header_over_several_rows_shifts_no_column() -> None:
    soup = BeautifulSoup(
        "<table><tr><th></th><th></th><th>lost</th><th>why</th></tr>"
        "<tr><th rowspan='2'>ours</th><th>plain</th><td>1,007</td><td>late</td></tr>"
        "<tr><th>retrying</th><td>0</td><td></td></tr>"
        "<tr><th>theirs</th><th>plain</th><td>9</td><td>cut</td></tr></table>",
        "html.parser",
    )
    tables.tidy(soup)
    assert [text(cell) for cell in soup.select(".number")] == ["lost", "1,007", "0", "9"]


def test_what_is_published_is_a_folded_table_at_the_end_and_nowhere_else(
    page: BeautifulSoup,
) -> None:
    assert "publish()" not in text(page.article)
    rows = page.select("details.numbers tr")
    cells = [[text(cell) for cell in row.select("th, td")] for row in rows]
    assert cells == [["planks", "23,851,784"], ["weights", "random"]]


def test_a_claim_reads_as_prose_without_its_code(page: BeautifulSoup) -> None:
    (sentence,) = page.select("article .claim")
    assert str(sentence.em) == "<em>planks</em>"
    assert "claim(" not in text(page.article)


def test_a_solution_is_folded_and_its_code_highlighted(page: BeautifulSoup) -> None:
    (solution,) = page.select(".prose details")
    assert text(solution.summary) == "Solution"
    assert text(solution.select_one(".highlight")) == "1 + 1"


def test_a_step_says_how_long_its_cells_took(page: BeautifulSoup) -> None:
    steps = {str(heading["id"]): heading.select_one(".took") for heading in page.select("h2[id]")}
    assert text(steps["1-draw-it"]) == "12 s"
    assert steps["2-tell-it"] is None


def test_a_table_is_a_region_with_a_name_and_headers_that_say_what_they_head(
    page: BeautifulSoup,
) -> None:
    (table,) = page.select("article table.dataframe")
    assert table.parent["aria-label"] == "Table in “In full”"
    assert [cell["scope"] for cell in table.select("th")] == ["col", "col", "col", "row"]


def test_the_name_of_an_index_stands_over_its_column() -> None:
    html = (
        "<table><thead><tr><th></th><th>images/s</th></tr><tr><th>replicas</th><th></th></tr>"
        "</thead><tbody><tr><th>1</th><td>6.2</td></tr></tbody></table>"
    )
    soup = BeautifulSoup(f"<h2>Scale</h2>{html}", "html.parser")
    tables.tidy(soup)
    assert [text(cell) for cell in soup.select("thead th")] == ["replicas", "images/s"]


def test_a_cell_names_the_files_that_it_imports_from(page: BeautifulSoup, folder: Path) -> None:
    links = {text(link): str(link["href"]) for link in page.select(".files a")}
    assert list(links) == ["helpers/lab/claims.py", "helpers/settings.py"]
    assert (
        folder / links["helpers/settings.py"]
    ).resolve() == settings.ROOT / "helpers/settings.py"


def test_a_page_in_the_clone_leads_to_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "repository", lambda: "")
    node = new_notebook(cells=[code("from helpers import settings")])
    html = cells.render(node, pages={}, folder=settings.BUILD / "tutorial").html
    assert 'href="../../helpers/settings.py"' in html


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://example.org/a/b.git", "https://example.org/a/b"),
        ("https://me:secret@example.org/a/b", "https://example.org/a/b"),
        ("git@example.org:a/b.git", "https://example.org/a/b"),
        ("ssh://git@example.org:22/a/b.git", "https://example.org/a/b"),
        ("/srv/git/b", ""),
        ("", ""),
    ],
)
def test_a_remote_becomes_an_address_without_what_is_secret(remote: str, address: str) -> None:
    assert address == sources.web_address(remote)


def test_a_recording_stands_in_a_box_and_is_told_on_the_index(
    page: BeautifulSoup, index: BeautifulSoup
) -> None:
    box = page.select_one(".from-recording")
    assert "Recorded on a cluster" in text(box)
    assert text(page.select_one("[data-first-line] pre")) == "%%cluster !kubectl get pods"
    assert "1 step recorded on a cluster" in text(index.select(".card")[1])


def test_pictures_to_share_have_what_is_true_of_them_and_lead_to_their_step(
    index: BeautifulSoup, folder: Path
) -> None:
    (shared,) = index.select(".shared figure")
    assert text(shared.figcaption).startswith("The planks are even.")
    assert shared.a["href"] == "01_second.html#2-tell-it"
    assert (folder / shared.img["src"]).read_bytes() == base64.b64decode(PIXEL)


def test_no_two_cards_have_the_same_kind_of_picture() -> None:
    prediction = code("plots.prediction(a)", shown({"image/png": PIXEL}))
    speed = code("plots.speed(b)", shown({"image/png": PIXEL}))
    nodes = [
        new_notebook(cells=cells) for cells in ([speed, prediction], [prediction], [prediction])
    ]
    kinds = [cover and cover.kind for cover in figures.covers(nodes)]
    assert kinds == ["speed", "prediction", None]


def test_a_search_finds_sections_by_where_they_are() -> None:
    heading = '<h2 id="a"><span class="step">1</span> Load</h2>'
    html = f'<p>Before.</p>{heading}<p>A <b>pod</b>.</p><h3 id="b">More</h3><p>End</p>'
    found = [
        (one["url"], one["title"], one["text"]) for one in search.sections("p.html", "P", html)
    ]
    assert found == [
        ("p.html", "P", "Before."),
        ("p.html#a", "Load", "A pod."),
        ("p.html#b", "More", "End"),
    ]


def test_the_search_has_every_page_and_its_library(folder: Path) -> None:
    script = (folder / "search.js").read_text()
    sections = json.loads(script.rpartition("const SECTIONS = ")[2].rstrip(";\n"))
    pages = {one["url"].split("#")[0] for one in sections}
    assert pages == {"00_first.html", "01_second.html", "glossary.html"}
    assert "MiniSearch" in script


def test_who_it_is_for_and_how_long_it_takes_is_told_first(index: BeautifulSoup) -> None:
    words = text(index.select_one(".whom"))
    assert "Who it is for" in words
    assert "About 2 minutes of reading and running in all" in words


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(folder: Path, scheme: int) -> None:
    style = (folder / "style.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[scheme]))
    texts = ["ink", "soft", "accent", "bad", "good", "warm"]
    pairs = [(name, behind) for name in texts for behind in ("paper", "panel")]
    pairs += [(name, "panel") for name in colour if name.startswith("code-")]
    pairs += [("ink", "warm-paper"), ("ink", "bad-paper"), ("bad", "bad-paper")]
    weak = {pair: c for pair in pairs if (c := contrast(colour[pair[0]], colour[pair[1]])) < LEAST}
    assert weak == {}
