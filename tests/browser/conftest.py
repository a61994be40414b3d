"""JupyterLab as `make lab` opens it, and a browser that uses it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from playwright.sync_api import BrowserContext, sync_playwright

from helpers import settings
from helpers.book import lessons, open_lab
from helpers.clusters.local import die_with_parent

INSTALL = settings.ROOT / "tests" / "cluster" / "install"
# As root, in a machine without the outside world.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Debian's chromium, installed if that can be."""
    if not (found := shutil.which("chromium")):
        done = subprocess.run(
            [INSTALL, "chromium:chromium"], capture_output=True, text=True, timeout=300
        )
        if not (found := shutil.which("chromium")):
            pytest.skip(f"NOT RUN, no chromium: {done.stderr.strip()}")
    return found


@pytest.fixture(scope="module")
def lab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a JupyterLab, and the folder of its copies, with the light network."""
    root = tmp_path_factory.mktemp("jupyterlab")
    folder = root / "lab"
    open_lab.copy(lab=folder)
    shutil.copytree(settings.ROOT / "docs", root / "docs")  # a link out of the root is refused
    small = {"NETWORK": "light", "MODELS": str(root / "models"), "SECONDS": 0.1}
    for lesson in lessons.choose(lessons.find(folder), "00 01 02"):
        notebook = load_notebook_node(str(lesson.path))
        few = {name: small[name] for name in small if name in lesson.parameters}
        nbformat.write(parameterize_notebook(notebook, few), lesson.path)
    options = ["--no-browser", "--port=0", "--allow-root", "--LabApp.expose_app_in_browser=True"]
    # A home of its own: nobody's settings, and none of ours are left there.
    own = {"JUPYTER_CONFIG_DIR": root / "config", "JUPYTER_RUNTIME_DIR": root / "runtime"}
    # With that variable a kernel shows nothing of what C++ writes to standard error.
    environment = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
    way = "kernel" if sys.platform == "linux" else "watcher"
    log, ends_with_us = root / "log", (sys.executable, die_with_parent.__file__, way)
    pipe, kept = os.pipe()
    with (
        log.open("w") as written,
        subprocess.Popen(
            # Linux ends it with these tests, however they end; kernels end with their server.
            [*ends_with_us, str(os.getpid()), str(pipe), *open_lab.command(options, lab=folder)],
            stdout=written, stderr=written, cwd=root, start_new_session=True, pass_fds=[pipe],
            env=environment | {name: str(path) for name, path in own.items()},
        ) as process,
    ):  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while not (address := re.search(r"http://127\.0\.0\.1:\d+/\S+", log.read_text())):
                assert process.poll() is None, f"JupyterLab ended: {log.read_text()[-2000:]}"
                assert time.monotonic() < deadline, "JupyterLab gave no address in 60 s"
                time.sleep(0.1)
            yield address[0], folder
        finally:
            process.terminate()  # its kernels end with it
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            os.close(pipe)
            os.close(kept)


# Playwright's event loop is "running" until it is stopped: no other file's test could start one.
@pytest.fixture(scope="module")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=chromium, args=list(FLAGS),
            viewport={"width": 1400, "height": 1000},
        )  # fmt: skip
        yield context
        context.close()
