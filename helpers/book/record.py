"""`make record`: runs the notebooks that need a cluster or an engine, and keeps what they show.

    NOTEBOOKS="04"      records some of them
    CONTEXT=tutorial    the cluster, else the environment's TUTORIAL_CONTEXT; and so on for others

What their `%%cluster` and `%%engine` cells show goes to `recordings/NN.json`, where readers without
a cluster or an engine see it (`helpers/lab/recordings.py`). A notebook that fails keeps its former
recording. The exit status is 1 when one failed or a cell could not be run here, 2 for a wrong call,
130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from kubernetes import client
from rich.console import Console
from rich.markup import escape

from helpers import settings
from helpers.book import command, lessons, runner
from helpers.book.lessons import Lesson
from helpers.book.small_pictures import with_small_pictures
from helpers.clusters.kubernetes.connection import choose_context, connect_api, overlay
from helpers.lab import recordings
from helpers.lab.claims import CLAIM
from helpers.lab.publishing import PUBLISHED, published
from helpers.lab.recordings import RECORDED, SCHEMA

OUTPUT = settings.BUILD / "record"
MOST_BYTES = 3_000_000  # of all recordings: they are kept in git
# Unless the environment names others. The images are those of `make cluster-images`.
_DEFAULTS = {
    "TARGET": "kubernetes",
    "SERVING_IMAGE": "inception-model-server:1",
    "COPY_IMAGE": "localhost/tutorial-python:latest",
}
_NETWORK = "light"  # of notebooks that have a target: what they show is the cluster
_CONTROLS = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-ln-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9])")
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def needing(node: Any) -> dict[str, Any]:
    """The cells of a notebook that need a cluster or an engine, by their source below that line."""
    return {
        recordings.body(cell.source): cell
        for cell in node.cells
        if cell.cell_type == "code" and recordings.need(cell.source)
    }


def outputs_of(cell: Any) -> list[dict[str, Any]] | None:
    """What a cell of an executed notebook showed, as a recording keeps it; None if it wasn't run.

    Printed lines become plain text, and so does an error that was meant. What the cell published is
    left out, and of a claim only its sentence stays: a recording is no result of a later run.
    """
    kept: list[dict[str, Any]] = []
    if cell.execution_count is None:
        return None
    for output in cell.outputs:
        data, metadata = {}, {}
        if output.output_type == "stream":
            data = {"text/plain": output.text}
            if kept and kept[-1].get("printed"):
                kept[-1]["data"]["text/plain"] += output.text
                continue
        elif output.output_type == "error":
            data = {"text/plain": f"{output.ename}: {output.evalue}"}
        else:
            data, metadata = dict(output.data), dict(output.metadata)
        if RECORDED in data:
            return None
        if PUBLISHED in data:
            continue
        data.pop(CLAIM, None)
        printed = output.output_type == "stream"
        kept.append({"data": data, "metadata": metadata} | ({"printed": True} if printed else {}))
    for output in kept:
        if output.pop("printed", False):
            output["data"]["text/plain"] = as_a_terminal_leaves_it(output["data"]["text/plain"])
    return [with_small_pictures(output) for output in kept]


def as_a_terminal_leaves_it(text: str) -> str:
    """Printed text with its colours, but without what was written over and other controls."""
    lines = _CONTROLS.sub("", text).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines).rstrip("\n")


def recorded(node: Any, *, where: str, former: Mapping[str, Any]) -> dict[str, Any]:
    """A notebook's recording, from the notebook as it was executed.

    Args:
        node: the executed notebook.
        where: on what it was run, and when, in words.
        former: its recording so far, or nothing: cells that this run couldn't run, since they need
            what isn't here, keep what was recorded of them.
    """
    kept = {cell["source"]: cell for cell in former.get("cells", ())}
    cells = []
    for source, cell in needing(node).items():
        outputs = outputs_of(cell)
        if outputs is not None:
            cells.append({"source": source, "outputs": outputs})
        elif source in kept:
            cells.append({"where": former["where"]} | kept[source])
    return {"schema": SCHEMA, "where": where, "cells": cells, "published": published(node)}


def place(needs: set[str], *, context: str | None) -> str:
    """On what a notebook is run, and when, in the words that stand above each recorded output.

    Args:
        needs: `cluster`, `engine` or both.
        context: the cluster's; None for the environment's.

    Raises:
        SetupError: the context can't be used.
        ClusterError: nothing answers.
    """
    parts = [_cluster_in_words(context)] if "cluster" in needs else []
    if "engine" in needs:
        version = _said("docker", "version", "--format", "{{.Server.Version}}")
        parts.append(f"Docker {version.partition('+')[0]}")
    today = datetime.now(timezone.utc)
    changed = _said("git", "status", "--porcelain", "--", "helpers", "manifests", "notebooks")
    revision = "revision " + _said("git", "rev-parse", "--short", "HEAD")
    return ", ".join(
        [*parts, f"{today:%-d %B %Y}", revision + (" with changes" if changed else "")]
    )


def _cluster_in_words(context: str | None) -> str:
    name = choose_context(context, kubeconfig=None, confirmed=False)
    api = connect_api(name, kubeconfig=None)
    version = client.VersionApi(api).get_code()
    nodes = client.CoreV1Api(api).list_node().items
    real = sum("kwok.x-k8s.io/node" not in (node.metadata.annotations or {}) for node in nodes)
    count = _NUMBERS[real] if real < len(_NUMBERS) else str(real)
    kind = "test cluster" if overlay(name) in ("test-cluster", "kind") else "cluster"
    return f"the {count}-node {kind}, Kubernetes {version.major}.{version.minor.rstrip('+')}"


def _said(*command: str) -> str:
    done = subprocess.run(
        command, cwd=settings.ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def record(lesson: Lesson, *, parameters: Mapping[str, Any], console: Console) -> bool:
    """Runs a notebook and writes its recording, with a line that says what came of it.

    Returns:
        Whether all of its cells that need a cluster or an engine were run.

    Raises:
        SetupError: the cluster can't be used.
        ClusterError: nothing answers.
    """
    node = lessons.read(lesson.path)
    wanted = {recordings.need(cell.source)[0] for cell in needing(node).values()}  # type: ignore[index]
    where = place(wanted, context=parameters.get("CONTEXT"))
    executed = OUTPUT / lesson.path.name
    outcome = runner.run(lesson, output=executed, parameters=parameters)
    if outcome.error is not None:
        message = f"{outcome.error['kind']}: {outcome.error['message']}"
        cell = outcome.error["cell"]
        _say(console, lesson, f"failed at code cell {cell}, nothing was recorded. {message}")
        return False
    path = settings.RECORDINGS / f"{lesson.number}.json"
    former = recordings.read(path) if path.exists() else {}
    found = recorded(lessons.read(executed), where=where, former=former)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    anew = sum("where" not in cell for cell in found["cells"])
    told = f"{anew} of {len(needing(node))} cells in {outcome.seconds:.0f} s, {where}"
    _say(console, lesson, f"{told}: {path} ({path.stat().st_size / 1000:.0f} kB)")
    return anew == len(needing(node))


def _say(console: Console, lesson: Lesson, text: str) -> None:
    console.print(f"{lesson.number}  {escape(text)}", soft_wrap=True, highlight=False)


def missing(lesson: Lesson) -> list[str]:
    """The sources of a notebook's cells that need a cluster or an engine and have no recording."""
    cells = needing(lessons.read(lesson.path)).items()
    return [source for source, cell in cells if recordings.find(cell.source) is None]


def parameters_of(lesson: Lesson, environ: Mapping[str, str]) -> dict[str, Any]:
    """The parameters that a notebook is recorded with.

    Raises:
        NotebookError: a value of the environment can't be read.
    """
    network = {"NETWORK": _NETWORK} if "TARGET" in lesson.parameters else {}
    return lessons.from_environment(lesson, _DEFAULTS | network | dict(environ))


def run(environ: Mapping[str, str], *, folder: Path, console: Console) -> int:
    """Records what the environment asks for; returns the exit status.

    Raises:
        TutorialError: the environment names a notebook or a value that there is not, or a cluster
            that can't be used.
    """
    found = lessons.find(folder)
    command.check_typed(environ, {"NOTEBOOKS", *lessons.variables(found)})
    chosen = lessons.choose(found, environ.get("NOTEBOOKS", ""))
    chosen = [lesson for lesson in chosen if needing(lessons.read(lesson.path))]
    names = ", ".join(lesson.number for lesson in chosen) or "nothing: no cell needs it"
    console.print(f"Recording {names}", highlight=False)
    done = [
        record(lesson, parameters=parameters_of(lesson, environ), console=console)
        for lesson in chosen
    ]
    size = sum(path.stat().st_size for path in settings.RECORDINGS.glob("*.json"))
    console.print(f"All recordings: {size / 1e6:.2f} MB of {MOST_BYTES / 1e6:g}", highlight=False)
    return 0 if all(done) and size <= MOST_BYTES else 1


def main(arguments: Sequence[str] | None = None, *, environ: Mapping[str, str] = os.environ) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m helpers.book.record", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.parse_args(arguments)
    return command.call(lambda: run(environ, folder=settings.NOTEBOOKS, console=command.console()))


if __name__ == "__main__":
    sys.exit(main())
