"""`make tutorial` runs what it can, says what failed, and leaves no process behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from helpers import settings
from helpers.book import command, lessons, runner, tutorial
from helpers.book.runner import STOPPING
from helpers.lab.publishing import published

pytestmark = pytest.mark.slow  # runs notebooks

PUBLISH = "from helpers.lab import headline, publish\n"
SLEEPER = (
    "import subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
)
# A process in a session of its own, whose parent is gone: nobody but the runner would end it.
ORPHAN = (
    "import subprocess, sys\n"
    "start = 'import subprocess as s, sys; s.Popen(sys.argv[1:], start_new_session=True)'\n"
    "sleep = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
    "subprocess.run([sys.executable, '-c', start, *sleep], check=True)"
)
FAILING = "import os\nraise ValueError('no such shelf')"


def write(
    folder: Path, name: str, *sources: str, title: str = "Do it", parameters: str = "", **about: Any
) -> Path:
    """A small notebook: a title, a step, maybe parameters, and code cells."""
    cells = [nbformat.v4.new_markdown_cell(f"# {title}\n\n## 1. Look at the shelf")]
    if parameters:
        cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    node = nbformat.v4.new_notebook(cells=cells, metadata={"tutorial": about})
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(node, folder / name)
    return folder / name


def arguments(folder: Path) -> list[str]:
    return ["--notebooks", str(folder / "notebooks"), "--output", str(folder / "out")]


@dataclass(frozen=True)
class Run:
    """What a call of the command left."""

    folder: Path
    status: int
    printed: str

    @property
    def results(self) -> dict[str, Any]:
        return json.loads((self.folder / "out" / "results.json").read_text())

    def entry(self, number: str) -> dict[str, Any]:
        return next(e for e in self.results["notebooks"] if e["number"] == number)


def call(folder: Path, **variables: str) -> Run:
    """Calls the command in this process, since an interpreter of its own costs seconds."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = tutorial.main(arguments(folder), environ=variables)
    return Run(folder, status, printed.getvalue())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of a shelf of notebooks that go wrong in all ways there are."""
    folder = tmp_path_factory.mktemp("tutorial")
    notebooks = folder / "notebooks"
    write(
        notebooks,
        "00_first.ipynb",
        PUBLISH + "publish(images=headline(23_851_784, 'parameters'), size=size)",
        title="Count the shelf",
        parameters="size = 3  # planks",
    )
    write(notebooks, "01_second.ipynb", "'before'", FAILING, "'after'", title="Break the shelf")
    write(notebooks, "02_third.ipynb", "1", title="Use the shelf", needs=["01"])
    write(notebooks, "03_fourth.ipynb", ORPHAN, title="Leave the light on")
    (notebooks / "04_fifth.ipynb").write_text('{"cells": [')
    write(notebooks, "05_sixth.ipynb", "import os\nos._exit(3)", title="Die")
    return call(folder, SIZE="7")


def test_a_failure_makes_the_exit_status_1(run: Run) -> None:
    assert run.status == 1


def test_every_notebook_has_its_status(run: Run) -> None:
    expected = {
        "00": "ok",
        "01": "failed",
        "02": "skipped",
        "03": "ok",
        "04": "failed",
        "05": "failed",
    }
    assert {e["number"]: e["status"] for e in run.results["notebooks"]} == expected


def test_the_environment_sets_a_parameter_of_its_type(run: Run) -> None:
    assert run.entry("00")["published"] == {"images": 23851784, "size": 7}


def test_the_terminal_names_the_notebook_the_cell_and_the_error(run: Run) -> None:
    expected = [
        "    01_second.ipynb, code cell 2 under “1. Look at the shelf”:",
        "      import os",
        "      raise ValueError('no such shelf')",
        "    ValueError: no such shelf",
    ]
    printed = run.printed.splitlines()
    start = printed.index(expected[0])
    assert printed[start : start + 4] == expected


def test_the_line_of_a_notebook_has_its_most_telling_value(run: Run) -> None:
    line = next(line for line in run.printed.splitlines() if line.startswith("00  Count"))
    assert line.endswith("ok      23,851,784 parameters")


def test_what_a_notebook_needed_is_told_when_it_is_skipped(run: Run) -> None:
    assert run.entry("02")["error"]["message"] == "needs notebook 01, which failed"


def test_a_file_that_is_no_notebook_fails_by_name(run: Run) -> None:
    assert "04_fifth.ipynb can't be read as a notebook" in run.entry("04")["error"]["message"]


def test_a_kernel_that_dies_is_a_failure_of_its_notebook(run: Run) -> None:
    assert (run.entry("05")["error"]["kind"], run.entry("05")["error"]["cell"]) == (
        "DeadKernelError",
        1,
    )


def test_a_dead_kernel_has_its_last_words_in_a_log(run: Run) -> None:
    assert f"Its last words: {run.folder}/out/notebooks/05_sixth.log" in run.printed
    assert (run.folder / "out/notebooks/05_sixth.log").exists()


def test_a_cell_that_hangs_is_a_failure(tmp_path: Path) -> None:
    path = write(tmp_path, "00_first.ipynb", "import threading\nthreading.Event().wait()")
    (lesson,) = lessons.find(tmp_path)
    outcome = runner.run(lesson, output=tmp_path / "out" / path.name, cell_timeout_s=1)
    assert outcome.error is not None
    assert outcome.error["message"] == "the cell was not done after 1 s"


def test_a_process_that_a_notebook_left_is_named_and_ended(run: Run) -> None:
    (left,) = run.entry("03")["leftovers"]
    assert left in " ".join(run.printed.split())
    assert not psutil.pid_exists(int(left.split()[0]))


def test_a_failed_notebook_keeps_what_it_did_before(run: Run) -> None:
    node = nbformat.read(run.folder / "out/notebooks/01_second.ipynb", as_version=4)
    outputs = [cell.outputs for cell in node.cells if cell.cell_type == "code"]
    assert outputs[0][0].data["text/plain"] == "'before'"
    assert outputs[2] == []


def test_a_failed_notebook_publishes_what_it_has(tmp_path: Path) -> None:
    publishing = (
        f"%%cluster\n{PUBLISH}publish(pods=3)",
        "import no_such_module\npublish(planks=1)",
        f"{PUBLISH}share = planks / boards\n"
        "publish(planks=planks, share=share, both=headline(planks / 0, 'both'))",
    )
    path = write(tmp_path, "00_first.ipynb", "planks = 7", FAILING, *publishing)
    node = nbformat.read(path, as_version=4)
    for cell in node.cells[-3:]:
        cell.metadata["tags"] = ["published"]
    nbformat.write(node, path)
    (lesson,) = lessons.find(tmp_path)
    outcome = runner.run(lesson, output=tmp_path / "executed.ipynb")
    assert outcome.error is not None
    assert outcome.error["message"] == "no such shelf"
    assert {name: item.value for name, item in outcome.published.items()} == {"planks": 7}
    executed = nbformat.read(tmp_path / "executed.ipynb", as_version=4)
    # On this machine, `%%cluster` runs nothing.
    said = [output.get("text", "") for cell in executed.cells[-3:] for output in cell.outputs]
    assert "".join(said) == (
        "not published: ModuleNotFoundError: No module named 'no_such_module'\n"
        "not published: share\nnot published: both\n"
    )


def test_the_index_says_what_failed(run: Run) -> None:
    index = (run.folder / "out/index.html").read_text()
    assert "4 of 6 notebooks did not finish" in index
    assert "no such shelf" in index


def test_results_name_the_machine_and_the_versions(run: Run) -> None:
    assert run.results["machine"]["cores"] >= 1
    assert run.results["versions"]["tensorflow"]


def test_the_page_and_the_numbers_are_named_last(run: Run) -> None:
    last = run.printed.strip().splitlines()[-2:]
    assert last == [
        f"The page: {run.folder / 'out/index.html'}",
        f"The numbers: {run.folder / 'out/results.json'}",
    ]


def test_some_notebooks_run_again_and_the_others_keep_their_pages(run: Run) -> None:
    again = call(run.folder, NOTEBOOKS="0", SIZE="8")
    assert (again.status, again.entry("00")["published"]["size"]) == (0, 8)
    assert again.entry("03")["earlier"]
    assert (run.folder / "out/03_fourth.html").exists()


def test_an_unknown_notebook_is_told_with_those_there_are(run: Run) -> None:
    answer = call(run.folder, NOTEBOOKS="00 77")
    assert answer.status == 2
    assert "there is no notebook 77" in answer.printed
    assert "\n  03  Leave the light on" in answer.printed


@pytest.mark.parametrize(("name", "value"), [("TARGET", "k8s"), ("NETWORK", "inceptionv3")])
def test_a_target_or_a_network_that_there_is_not_is_told_before_the_first_notebook(
    tmp_path: Path, name: str, value: str
) -> None:
    write(tmp_path / "notebooks", "00_first.ipynb", "1", parameters=f"{name} = 'local'")
    result = call(tmp_path, **{name: value})
    assert result.status == 2
    assert f"{name}={value} isn't known" in result.printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("NOTEBOK=00 01", "NOTEBOOKS"), ("notebooks:=00", "NOTEBOOKS"), ("SIZES=3", "SIZE")],
)
def test_a_misspelt_variable_is_refused(run: Run, typed: str, meant: str) -> None:
    name = typed.partition("=")[0].rstrip(":")
    answer = call(run.folder, MAKEFLAGS=makeflags("SIZE=7", typed, "KUBECONFIG=/a b"))
    said = f"{name} would be ignored: this command has no such variable. Did you mean {meant}?\n"
    assert (answer.status, answer.printed) == (2, said)


def test_another_programs_variable_is_not() -> None:
    flags = makeflags("KUBECONFIG=/a b", "TUTORIAL_CONTEXT=kind", "NOTEBOOKS=00 01")
    command.check_typed({"MAKEFLAGS": flags}, {"NOTEBOOKS", "CONTEXT"})


def makeflags(*words: str) -> str:
    """What make hands on of its command line."""
    makefile = "all:\n\t@printenv MAKEFLAGS\n"
    command = ["make", "--silent", "--file=-", *words]
    return subprocess.run(command, input=makefile, text=True, capture_output=True).stdout.strip()


def test_a_parameter_of_another_type_is_told(run: Run) -> None:
    answer = call(run.folder, NOTEBOOKS="00", SIZE="wide")
    assert answer.status == 2
    assert "SIZE=wide can't be used for notebook 00" in answer.printed


def test_a_folder_that_cant_be_written_is_told_before_anything_runs(tmp_path: Path) -> None:
    write(tmp_path / "notebooks", "00_first.ipynb", "1")
    (tmp_path / "out").write_text("a file where the folder goes")
    answer = call(tmp_path)
    assert answer.status == 2
    (line,) = answer.printed.splitlines()
    assert line.startswith(f"{tmp_path / 'out'} can't be written: ")
    assert line.endswith("Free some space, or change its permissions: the pages go there.")


def test_results_that_cant_be_written_are_told(tmp_path: Path) -> None:
    write(tmp_path / "notebooks", "00_first.ipynb", "1")
    (tmp_path / "out/results.json").mkdir(parents=True)
    answer = call(tmp_path)
    assert answer.status == 2
    last = answer.printed.splitlines()[-1]
    assert last.startswith(f"{tmp_path / 'out/results.json'} can't be written: ")


def test_another_error_of_a_run_is_not_taken_for_a_folder_that_cant_be_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConnectionRefusedError), command.only_writer(tmp_path / "out"):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens")


def test_a_second_run_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "notebooks", "00_first.ipynb", "1")
    (tmp_path / "out").mkdir()
    with (tmp_path / "out/.lock").open("w") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = call(tmp_path)
    assert (refused.status, refused.printed) == (
        2,
        f"Another run is writing to {tmp_path / 'out'}: it is process 4711. "
        "Wait for it, or stop it.\n",
    )
    assert not (tmp_path / "out/results.json").exists()
    assert call(tmp_path).status == 0  # what the lock of an ended process left is no lock


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupt_ends_the_kernel_and_what_it_started(
    tmp_path: Path, number: signal.Signals
) -> None:
    pid_file = tmp_path / "pids"
    write(
        tmp_path / "notebooks",
        "00_waits.ipynb",
        SLEEPER + "import os, pathlib\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(f'{{os.getpid()}} {{child.pid}}.')\n"
        "child.wait()",
    )
    runner = subprocess.Popen(
        [sys.executable, "-m", "helpers.book.tutorial", *arguments(tmp_path)],
        cwd=settings.ROOT,
        env={k: v for k, v in os.environ.items() if k not in ("NOTEBOOKS", "MAKEFLAGS")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text().endswith(".")):
        assert runner.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    runner.send_signal(number)
    printed, _ = runner.communicate(timeout=60)
    assert runner.returncode == 130
    assert "Traceback" not in printed
    # At once, and not with the line of the notebook, which comes when all of that has ended.
    assert printed.index(f"{STOPPING}\n") < printed.index("interrupted")
    assert [p for p in pid_file.read_text().strip(".").split() if psutil.pid_exists(int(p))] == []
    assert "was interrupted" in (tmp_path / "out/index.html").read_text()


def test_an_error_on_purpose_is_no_failure(tmp_path: Path) -> None:
    path = write(tmp_path / "notebooks", "00_first.ipynb", FAILING, PUBLISH + "publish(a=1)")
    node = nbformat.read(path, as_version=4)
    node.cells[1].metadata["tags"] = ["raises-exception"]
    nbformat.write(node, path)
    assert call(tmp_path).status == 0
    executed = nbformat.read(tmp_path / "out/notebooks/00_first.ipynb", as_version=4)
    assert (len(executed.cells), published(executed)) == (3, {"a": 1})


def test_stripping_removes_outputs_and_is_done_once(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "00_first.ipynb"
    executed = nbformat.read(run.folder / "out/notebooks/00_first.ipynb", as_version=4)
    folded = {"jp-MarkdownHeadingCollapsed": True, "vscode": {"languageId": "python"}}
    executed.cells[0].metadata |= folded
    nbformat.write(executed, path)
    assert [lessons.strip(path), lessons.strip(path)] == [True, False]
    node = nbformat.read(path, as_version=4)
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)
    assert {name for cell in node.cells for name in cell.metadata} == {"tags"}
