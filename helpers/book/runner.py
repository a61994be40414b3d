"""Runs one notebook by papermill and says what became of it, leaving no process behind."""

from __future__ import annotations

import ast
import os
import signal
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

import nbformat
import papermill
import psutil
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from helpers.book.lessons import Lesson, read, step_of, tags
from helpers.clusters.local.supervisor_client import RUN, carrying, python_environment
from helpers.lab import recordings
from helpers.lab.claims import Claim, claims
from helpers.lab.publishing import Published, published_items

STOPPING = "Stopping: the notebook's kernel and the servers that it started are ending …"
CELL_TIMEOUT_S = 900  # no cell of ours takes a tenth of it; a hung one must not hang CI

# JSON of a cell's place and of its error, as in `results.json`.
Error = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a notebook in a run.

    Args:
        status: `ok`, `failed`, `skipped` (what it needs failed) or `interrupted`.
        seconds: from the kernel's start to its end.
        published: what it published, by name.
        claims: the sentences that it checked against itself, in order.
        error: None, or `cell` (the code cell's number, from 1), `step` (the heading above),
            `source`, `kind` and `message`.
        leftovers: processes that it left running, which the runner then ended.
    """

    lesson: Lesson
    status: str
    seconds: float = 0.0
    published: Mapping[str, Published] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    error: Error | None = None
    leftovers: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    finished: str = ""


class _Client(PapermillNotebookClient):
    """Papermill's client; a notebook that fails half-way still publishes what it has."""

    def papermill_execute_cells(self) -> None:
        try:
            super().papermill_execute_cells()
        except KeyboardInterrupt:
            with suppress(OSError):  # after SIGHUP there is no terminal to say it on
                print(STOPPING, file=sys.stderr, flush=True)
            raise
        for index, cell in enumerate(self.nb.cells):
            if "published" in tags(cell) and not cell.outputs and self.nb_man.stopped:
                whole = cell.source
                # First what makes `%%cluster` known, which a notebook may not have come to.
                for cell.source in ("import helpers.lab", publishing_what_there_is(whole)):
                    try:
                        self.execute_cell(cell, index)
                    except CellExecutionError as second:
                        # Papermill reports the last error that it finds; it has to be the first.
                        told = f"not published: {second.ename}: {second.evalue}\n"
                        output = nbformat.v4.new_output("stream", name="stdout", text=told)
                        cell.outputs = [output]
                cell.source = whole


def publishing_what_there_is(source: str) -> str:
    """A cell that publishes value by value, and passes over those that the run didn't come to."""
    if recordings.need(source):
        first, _, rest = source.partition("\n")
        return f"{first}\n{publishing_what_there_is(rest)}"
    body = ast.parse(source).body
    calls = [n.value for n in body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
    lines = []
    # Whatever it is that isn't there: the notebook's own error is the one to be seen.
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            lines += [ast.unparse(node)]
        elif not isinstance(node, ast.Expr):  # what needs it isn't published either, and is named
            lines += ["try:", textwrap.indent(ast.unparse(node), "    "), "except Exception: pass"]
    for call in calls:
        for keyword in call.keywords:
            lines += [
                f"try:\n    {ast.unparse(call.func)}({ast.unparse(keyword)})",
                f"except Exception:\n    print({f'not published: {keyword.arg}'!r})",
            ]
    return "\n".join(lines)


class _Engine(NBClientEngine):
    """Papermill's engine with an environment and a log for the kernel, and word of each cell."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        *,
        environment: Mapping[str, str],
        kernel_log: TextIO,
        on_cell: Callable[[int, Any], None],
        on_failure: Callable[[], None],
        cell_timeout_s: int,
        **_: Any,
    ) -> Any:
        start, fail, nb_man.stopped = nb_man.cell_start, nb_man.cell_exception, False

        def cell_start(cell: Any, index: int, **rest: Any) -> None:
            on_cell(index, nb_man.nb)
            start(cell, index, **rest)

        def cell_exception(cell: Any, **rest: Any) -> None:
            on_failure()
            nb_man.stopped = True
            fail(cell, **rest)

        nb_man.cell_start, nb_man.cell_exception = cell_start, cell_exception
        client = _Client(
            nb_man, kernel_name=kernel_name, timeout=cell_timeout_s, startup_timeout=120
        )
        return client.execute(env=environment, stdout=kernel_log, stderr=kernel_log)


papermill_engines.register("tutorial", _Engine)


def run(
    lesson: Lesson,
    *,
    output: Path,
    parameters: Mapping[str, Any] | None = None,
    on_cell: Callable[[int, int], None] = lambda done, of: None,
    cell_timeout_s: int = CELL_TIMEOUT_S,
) -> Outcome:
    """Runs one notebook and says what became of it; its own errors are part of the answer.

    Args:
        lesson: the notebook.
        output: where the executed notebook goes.
        parameters: papermill's parameters.
        on_cell: called with the number of cells done and of all, before each cell.
        cell_timeout_s: the longest that a cell may take, in seconds.

    Raises:
        KeyboardInterrupt: Ctrl-C. The kernel and what it started are gone by then.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    log_file = output.with_suffix(".log")
    mark, start = f"{os.getpid()}-{uuid.uuid4().hex}", time.monotonic()
    error: Error | None = None
    stopped: list[bool] = []  # by an error in a cell that isn't tagged `raises-exception`
    place: Error = {"cell": None, "step": "", "source": ""}

    def report(index: int, node: Any) -> None:
        place.update(_place(node, index))
        on_cell(index, len(node.cells))

    def outcome(status: str) -> Outcome:
        return Outcome(
            lesson,
            status,
            seconds=round(time.monotonic() - start, 2),
            published=published_items(output) if output.exists() else {},
            claims=tuple(claims(output)) if output.exists() else (),
            error=error,
            leftovers=left,
            parameters=dict(parameters or {}),
            finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )

    left: tuple[str, ...] = ()
    try:
        with log_file.open("w") as log:
            papermill.execute_notebook(
                read(lesson.path),
                output,
                dict(parameters or {}),
                engine_name="tutorial",
                kernel_name="python3",
                language="python",
                cwd=lesson.path.parent,
                progress_bar=False,
                environment=_environment(mark),
                kernel_log=log,
                on_cell=report,
                on_failure=lambda: stopped.append(True),
                cell_timeout_s=cell_timeout_s,
            )
    except PapermillExecutionError as failed:
        if stopped:
            error = place | {"kind": failed.ename, "message": failed.evalue}
        else:
            _remove_markers(output)
    except CellTimeoutError:
        message = f"the cell was not done after {cell_timeout_s} s"
        error = place | {"kind": "CellTimeoutError", "message": message}
    except DeadKernelError:
        message = f"the kernel died: a crash, or no memory left. Its last words: {log_file}"
        error = place | {"kind": "DeadKernelError", "message": message}
    except Exception as failed:  # a broken file, no kernel of that name: all are outcomes
        message = str(failed).strip() or type(failed).__name__
        error = place | {"kind": type(failed).__name__, "message": message}
    finally:
        left = _end_processes(mark)
    return outcome("failed" if error else "ok")


def _environment(mark: str) -> dict[str, str]:
    # A user's MPLBACKEND=Agg would leave the pages without pictures.
    backend = "module://matplotlib_inline.backend_inline"
    return python_environment() | {RUN: mark, "MPLBACKEND": backend}


def _remove_markers(output: Path) -> None:
    """Papermill takes an error that a cell raises on purpose for a failure, and marks it so."""
    node = read(output)
    node.cells = [cell for cell in node.cells if "papermill-error-cell-tag" not in tags(cell)]
    nbformat.write(node, output)


def _place(node: Any, index: int) -> Error:
    """Where the run is: the number of the code cell as JupyterLab counts them, its step."""
    own = [c for c in node.cells[: index + 1] if "injected-parameters" not in tags(c)]
    return {
        "cell": sum(cell.cell_type == "code" for cell in own),
        "step": step_of(node, index),
        "source": node.cells[index].source,
    }


def _end_processes(mark: str, *, grace_s: float = 2.0) -> tuple[str, ...]:
    """Ends what a run left running, and says what that was.

    Servers whose kernel was killed notice it within `grace_s`; they are no leftovers.
    """
    with _uninterrupted():
        deadline = time.monotonic() + grace_s
        while (alive := _of_run(mark)) and time.monotonic() < deadline:
            time.sleep(0.1)
        names = tuple(_describe(process) for process in alive)
        left = alive
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in left:
                with suppress(psutil.Error):  # it ended by itself
                    process.send_signal(number)
            _, left = psutil.wait_procs(left, timeout=5)
    return names


def _of_run(mark: str) -> list[psutil.Process]:
    return [process for process, environment in carrying(RUN) if environment[RUN] == mark]


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:120]}"
    except psutil.Error:
        return str(process.pid)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second Ctrl-C must not stop the cleaning up, which ends within seconds."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
