"""A newcomer's first half hour in JupyterLab: the contents, then 00 to 02, run and run again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

FIRST = {
    "00": "00_start_here.ipynb",
    "01": "01_export_inception_v3.ipynb",
    "02": "02_serve_and_classify.ipynb",
}
# What a notebook may write to standard error, each with its reason.
MAY_BE_ON_RED: tuple[str, ...] = ()
# What JupyterLab itself says in the console, and nothing of ours can change.
THEIRS: tuple[str, ...] = ()
# The same of Jupyter's server in the terminal: of each notebook that is opened for the first time,
# and of its own default settings.
SERVERS_OWN = ("is not trusted", "websocket_ping_timeout")

# The notebook that is in front, as its file would be.
CELLS = "() => jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells"
# The outputs that have to be scrolled sideways, by their first words.
TOO_WIDE = """found => found
  .filter(output => output.scrollWidth > output.clientWidth + 1)
  .map(output => `${output.textContent.slice(0, 80)}: ${output.scrollWidth} px`)"""
READY = """(name) => {
  const panel = jupyterapp.shell.currentWidget;
  return panel?.context?.path?.endsWith(name) && panel.context.isReady
    && panel.sessionContext?.session?.kernel?.status === "idle";
}"""


@pytest.fixture
def page(browser: BrowserContext) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(60_000)
    yield page
    page.close()


@pytest.fixture
def errors(page: Page) -> list[str]:
    """What goes wrong in the page, as it comes."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(words in message.text for words in THEIRS):
            found.append(f"{message.text} ({message.location.get('url', '')})")

    page.on("console", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def test_it_opens_at_a_page_of_contents(
    page: Page, errors: list[str], lab: tuple[str, Path]
) -> None:
    page.goto(lab[0])
    contents = page.locator(".jp-MarkdownViewer")
    title = contents.get_by_role("heading", name="Serve a neural network at scale")
    expect(title).to_be_visible(timeout=30_000)
    expect(contents.get_by_text("These notebooks are your copies")).to_be_visible()
    picture = contents.locator("img").first
    page.wait_for_function("image => image.naturalWidth > 0", arg=picture.element_handle())
    expect(page.locator(".jp-Dialog, .Toastify__toast")).to_have_count(0)
    contents.get_by_role("link", name="02", exact=True).click()
    expect(page.get_by_role("tab", name=FIRST["02"])).to_be_visible()
    assert errors == []


@pytest.mark.parametrize("number", FIRST)
def test_a_notebook_runs_and_runs_again(
    page: Page, errors: list[str], lab: tuple[str, Path], number: str
) -> None:
    address = urlsplit(lab[0])
    name = FIRST[number]
    page.goto(f"http://{address.netloc}/lab/workspaces/of-{number}/tree/lab/{name}?{address.query}")
    page.wait_for_function(READY, arg=name)
    for way in ("run-all-cells", "restart-run-all"):
        page.evaluate(f"void (window.ran = jupyterapp.commands.execute('notebook:{way}'))")
        if way == "restart-run-all":
            page.locator(".jp-Dialog .jp-mod-accept").click()
        page.evaluate("async () => { await window.ran }")
        check(page.evaluate(CELLS))
    assert page.locator(".jp-OutputArea-output").count() > 0
    pictures = page.locator(".jp-OutputArea-output img")
    assert pictures.count() > 0
    assert pictures.evaluate_all("found => found.filter(picture => !picture.alt).length") == 0
    page.set_viewport_size({"width": 1024, "height": 900})  # a small laptop's
    assert page.locator(".jp-OutputArea-output").evaluate_all(TOO_WIDE) == []
    assert errors == []


def test_the_terminal_shows_no_error(lab: tuple[str, Path]) -> None:
    """What the newcomer sees behind the browser, after all of the above."""
    said = (lab[1].parent / "log").read_text().splitlines()
    assert len(said) > 5
    wrong = [line for line in said if re.search(r"^\[[WE] |WARNING|ERROR|Traceback", line)]
    assert [line for line in wrong if not any(words in line for words in SERVERS_OWN)] == []


def check(cells: list[dict[str, Any]]) -> None:
    """Each code cell was run, in order, and none wrote on red."""
    code = [cell for cell in cells if cell["cell_type"] == "code" and cell["source"]]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    raised = [output for output in outputs if output["output_type"] == "error"]
    assert raised == []
    red = [
        "".join(output["text"]) for output in outputs if output.get("name") == "stderr"
    ]  # fmt: skip
    assert [text for text in red if not any(words in text for words in MAY_BE_ON_RED)] == []
    assert len(outputs) > len(code) / 2
