"""What this machine has, what each part of the tutorial needs, and what to do about the rest.

Nothing here fails: what can't be found out becomes a row that says so. A check asks for at most
two seconds, and all of them run at once.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml

from helpers import settings
from helpers.clusters import TARGETS, no_target
from helpers.container import engine
from helpers.errors import SetupError
from helpers.export import weights
from helpers.lab.processors import PROCESSORS
from helpers.machine import GIB, usable_cores, version
from helpers.machine.processor import processor_class

OK, MISSING, WARNING = "OK", "missing", "warning"
# Dark on light in either theme, since no colour stands out enough from both grounds.
_FINE, _NOT_FINE = "color: #0a5c3b; background: #e2f4ea", "color: #7a4100; background: #fbeed9"
LIMIT_S = 2.0  # for one check


@dataclass(frozen=True)
class Check:
    """One row of the table.

    Args:
        name: what was looked for.
        status: `OK`; `missing`: what needs it can't be done; `warning`: it can, with a drawback.
        found: what there is, in words.
        needed_for: which part of the tutorial uses it.
        what_to_do: the next step; empty when there is none.
        needed_by: the targets that can't do without it.
    """

    name: str
    status: str
    found: str
    needed_for: str
    what_to_do: str = ""
    needed_by: tuple[str, ...] = ()

    def blocks(self, target: str) -> bool:
        """Whether it has to be fixed before the notebooks run on a target."""
        return self.status == MISSING and target in self.needed_by


class Found(NamedTuple):
    """What a check's function answers."""

    status: str
    found: str
    what_to_do: str = ""


@dataclass(frozen=True)
class _Task:
    name: str
    needed_for: str
    needed_by: tuple[str, ...]
    find_out: Callable[[], Found]


_TASKS: list[_Task] = []  # in the order of the table, which is that of this file


def _check(
    name: str, *, needed_for: str, needed_by: tuple[str, ...] = ()
) -> Callable[[Callable[[], Found]], Callable[[], Found]]:
    def register(find_out: Callable[[], Found]) -> Callable[[], Found]:
        _TASKS.append(_Task(name, needed_for, needed_by, find_out))
        return find_out

    return register


def run(*, target: str = "local") -> tuple[Check, ...]:
    """All checks, those first that block the target; one that is late is left behind.

    Raises:
        SetupError: there is no such target.
    """
    if target not in TARGETS:
        raise no_target(target)
    answers: dict[str, Found] = {}

    def answer(task: _Task) -> None:
        try:
            found = task.find_out()
        except Exception as error:  # a strange machine must not end the notebook
            words = f"could not be found out: {type(error).__name__}: {error}"
            found = Found(WARNING, words[:200])
        answers[task.name] = found

    threads = [threading.Thread(target=answer, args=[task], daemon=True) for task in _TASKS]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 2 * LIMIT_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = Found(WARNING, f"no answer in {2 * LIMIT_S:.0f} s", "Run this cell again.")
    checks = []
    for task in _TASKS:
        status, found, to_do = answers.get(task.name, late)
        checks.append(Check(task.name, status, found, task.needed_for, to_do, task.needed_by))
    return tuple(sorted(checks, key=lambda check: not check.blocks(target)))


@dataclass(frozen=True)
class Table:
    """Checks as a table, in a notebook or in a terminal."""

    checks: tuple[Check, ...]

    def _repr_html_(self) -> str:
        left, names = 'style="text-align: left"', ("", "", "found", "needed for", "what to do")
        # A path is wider than its column on a small screen.
        breaks = 'style="text-align: left; overflow-wrap: anywhere"'
        head = "".join(f'<th scope="col" {left}>{name}</th>' for name in names)
        marks, rows = {OK: "✓", MISSING: "○", WARNING: "!"}, []
        for check in self.checks:
            style = _FINE if check.status == OK else _NOT_FINE
            word = f"{marks[check.status]}&nbsp;{check.status}"
            texts = (check.name, check.found, check.needed_for, check.what_to_do)
            pairs = zip(texts, (left, breaks) * 2, strict=True)
            cells = "".join(f"<td {how}>{escape(text)}</td>" for text, how in pairs)
            status = f'<td class="status {check.status.lower()}" {left}>'
            rows.append(f'<tr>{status}<b style="{style}">{word}</b></td>{cells}</tr>')
        body = "".join(rows)
        return f'<table class="checks"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'

    def __repr__(self) -> str:
        width = max((len(check.name) for check in self.checks), default=0)
        return "\n".join(
            f"{check.status:8}{check.name:{width}}  {check.found}"
            + (f"\n{'':8}{'':{width}}  → {check.what_to_do}" if check.what_to_do else "")
            for check in self.checks
        )


def table(checks: Sequence[Check] | None = None) -> Table:
    """The checks as a table, for a cell to end on."""
    return Table(tuple(run() if checks is None else checks))


def _output(*command: str) -> str | None:
    """What a command prints, or None when there is none of that name or it fails."""
    if shutil.which(command[0]) is None:
        return None
    try:
        answer = subprocess.check_output(
            command, text=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.strip()


@_check("Python", needed_for="everything", needed_by=tuple(TARGETS))
def python() -> Found:
    """The interpreter's version, and whether it is one of an environment of its own."""
    found = f"{platform.python_version()} in {sys.prefix}"
    fine = (3, 10) <= sys.version_info[:2] <= (3, 13)
    to_do = "" if fine else "Install Python 3.10 to 3.13, then: make setup PYTHON=/path/to/it"
    return Found(OK if fine else MISSING, found, to_do)


@_check("Packages", needed_for="everything", needed_by=tuple(TARGETS))
def packages() -> Found:
    """The direct dependencies of pyproject.toml against what is installed."""
    text = (settings.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = text.split("dependencies = [", 1)[1].split("\n]", 1)[0]
    pins = dict(re.findall(r'"([\w-]+)==([\w.]+)"', listed))
    absent = [name for name in pins if version(name) is None]
    other = [
        f"{name} {version(name)} instead of {pin}"
        for name, pin in pins.items()
        if version(name) not in (None, pin)
    ]
    found = f"{len(pins) - len(absent) - len(other)} of {len(pins)} as pinned"
    found += "".join(f"; {text}" for text in [*(f"no {name}" for name in absent), *other][:4])
    status = MISSING if absent else WARNING if other else OK
    to_do = "" if status == OK else "Run make setup, then restart the kernel."
    return Found(status, found, to_do)


@_check("Cores", needed_for="05 to 10: replicas, load")
def cores() -> Found:
    """How many cores this process may use."""
    count = usable_cores()
    few = count < 2
    to_do = "Scaling over replicas will show no gain on one core." if few else ""
    found = f"{count} usable of {os.cpu_count()}"
    return Found(WARNING if few else OK, found, to_do)


@_check("Processor", needed_for="01 to 10: every speed")
def processor() -> Found:
    """The processor's class, which decides the figures that this machine will show."""
    name = processor_class()
    old = name == "x86"
    to_do = "TensorFlow's packages need AVX: use another machine." if old else ""
    return Found(WARNING if old else OK, f"{PROCESSORS[name].title} ({name})", to_do)


@_check("Memory", needed_for="02 to 10: 1 GiB per replica")
def memory() -> Found:
    """Memory that is free for use."""
    free, total = (getattr(psutil.virtual_memory(), name) / GIB for name in ("available", "total"))
    found = f"{free:.1f} of {total:.1f} GiB free"
    low = free < 3
    to_do = "Close something: a replica takes about 1 GiB, notebook 05 runs four." if low else ""
    return Found(WARNING if low else OK, found, to_do)


@_check("Disk", needed_for="01 to 10: exports, logs")
def disk() -> Found:
    """Room for exports, logs and the built page."""
    free = shutil.disk_usage(settings.ROOT).free / GIB
    low = free < 2
    to_do = "Free 2 GiB; make clean removes what earlier runs left." if low else ""
    return Found(WARNING if low else OK, f"{free:.0f} GiB free", to_do)


@_check("Trained weights", needed_for="01 and 02: Inception-v3's own labels")
def trained_weights() -> Found:
    """Whether Inception-v3's ImageNet weights are here or can be downloaded."""
    chosen = os.environ.get(weights.VARIABLE)
    if chosen:
        found, to_do = f"{weights.VARIABLE}={chosen}", f"Unset {weights.VARIABLE} for real labels."
        if chosen == weights.RANDOM:
            return Found(WARNING, found, to_do)
        if chosen != weights.IMAGENET and not Path(chosen).is_file():
            return Found(MISSING, f"{found}: no such file", to_do)
        return Found(OK, found)
    if weights.cached().is_file():
        return Found(OK, str(weights.cached()))
    if weights.reachable(timeout_s=LIMIT_S):
        return Found(OK, "can be downloaded, 96 MB")
    to_do = f"Go on: the same graph at the same speed. Or set {weights.VARIABLE} to a weights file."
    return Found(WARNING, "out of reach: labels will be EfficientNet-Lite2's", to_do)


@_check("Ports", needed_for="03: the container's ports")
def ports() -> Found:
    """Whether this process may listen on the loopback address, and the usual ports are free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
    taken = [port for port in (settings.GRPC_PORT, settings.REST_PORT) if _in_use(port)]
    if taken:
        found = f"{' and '.join(map(str, taken))} in use, which does no harm: others are taken"
    else:
        found = f"{settings.GRPC_PORT} and {settings.REST_PORT} are free"
    return Found(OK, found)


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@_check("Container engine", needed_for="03: building the container")
def container_engine() -> Found:
    """Whether notebook 03 can build: the command `docker`, and an engine that answers it."""
    try:
        version = engine.version()
    except SetupError as error:
        found = f"{error.what}: {error.cause}".rstrip(": ")
        return Found(MISSING, found, f"Nothing: local needs none. For 03: {error.next_step}")
    return Found(OK, f"docker {version}")


@_check("kubectl", needed_for="04 to 10 with TARGET=kubernetes", needed_by=("kubernetes",))
def kubectl() -> Found:
    """The command for Kubernetes clusters."""
    answer = _output("kubectl", "version", "--client", "--output=json")
    if answer is None:
        return Found(MISSING, "not on PATH", "Nothing: the local target needs none.")
    return Found(OK, json.loads(answer)["clientVersion"]["gitVersion"])


@_check(
    "Kubernetes contexts", needed_for="04 to 10 with TARGET=kubernetes", needed_by=("kubernetes",)
)
def contexts() -> Found:
    """The contexts of the kubeconfig; no cluster is spoken to."""
    files = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    names: list[str] = []
    for file in filter(None, files.split(os.pathsep)):
        path = Path(file).expanduser()
        if path.is_file():
            content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            names += [str(context["name"]) for context in content.get("contexts") or []]
    if not names:
        to_do = "Nothing: the local target needs none. For a cluster: kubeconfig or KUBECONFIG."
        return Found(MISSING, f"none in {files}", to_do)
    found = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return Found(OK, found, "Name the one to use: CONTEXT=…; none is taken silently.")


@_check("GPU", needed_for="none: for your own speeds")
def gpu() -> Found:
    """NVIDIA GPUs that the driver lists."""
    names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    if names:
        return Found(OK, "; ".join(names.splitlines()))
    to_do = "Nothing: every figure is then this processor's."
    return Found(MISSING, "no NVIDIA driver answers", to_do)
