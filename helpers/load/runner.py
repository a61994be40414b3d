"""Starts the generator processes, lets them begin together, and collects what they saw.

The processes are started by their own command rather than by `multiprocessing`: that would import
the caller's `__main__` again, which a notebook doesn't have.
"""

from __future__ import annotations

import json
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from helpers import stats
from helpers.child import Child
from helpers.client import protos
from helpers.closing import scratch
from helpers.errors import LoadError, ServerUnavailableError
from helpers.load.run import Generator, Run
from helpers.progress import Repeated

_START_S = 60.0  # for a Python process to start on a busy machine
_LEAD_S = 0.05  # from the word to start until the warm-up begins
_SPARE_S = 30.0  # after the last deadline of a request sent late: then a generator hangs
_LOOK_S = 0.5  # how often the precision reached is looked at, and how far a load is said
_loads = Repeated("load")


@dataclass(frozen=True)
class Plan:
    """A run to be done.

    Attributes:
        connections: IP address and port of each connection that a process makes.
        authority: the server's name in requests.
        requests: serialized PredictRequests, sent in turns.
        due: when requests are due, in seconds since the start of measuring; None: closed loop.
        precision: the half width of the figure's interval, as a share, that ends the run.
        answers: requests that have to have ended in the window before it may close.
        settings: what was asked for, as plain data.
        module: the program that sends the requests.
    """

    connections: list[tuple[str, int]]
    authority: str
    requests: list[bytes]
    due: npt.NDArray[np.float64] | None
    precision: float | None
    answers: int
    settings: dict[str, Any]
    module: str = "helpers.generator"


def execute(plan: Plan) -> Run:
    """Runs a plan to its end. Leaves no process behind, however it ends.

    Raises:
        ServerUnavailableError: no connection could be made.
        LoadError: a generator failed or hung.
    """
    with scratch("load") as folder, _loads.once() as say, ExitStack() as stack:
        children = [
            stack.enter_context(_Generator(plan, i, Path(folder)))
            for i in range(plan.settings["processes"])
        ]
        _await(children, time.monotonic() + _START_S, lambda: say("the generator starts"))
        for child in children:
            child.ready(plan)
        warmup_s, duration_s = plan.settings["warmup_s"], plan.settings["duration_s"]
        zero = time.monotonic() + _LEAD_S + warmup_s
        for child in children:
            child.say(f"start {zero!r}")
        # The window may be longer by a time-out, and its last request takes one at most.
        deadline = zero + duration_s + 3 * plan.settings["timeout_s"] + _SPARE_S
        limit = "" if plan.settings["requests"] else f" of {warmup_s + duration_s:.0f}"

        def look() -> bool:
            say(f"{max(0.0, time.monotonic() - zero + warmup_s):.0f}{limit} s")
            return _is_known(children, zero, plan)

        if _await(children, deadline, look):
            for child in children:
                child.say("stop")
        ends = [child.result(deadline) for child in children]
        records = np.concatenate([child.records() for child in children])
    return _run(plan, ends, records)


def _run(plan: Plan, ends: list[dict[str, Any]], records: stats.Records) -> Run:
    records = records[np.argsort(records["due_s"], kind="stable")]
    # Up to when the first process closed its window, all of them were sending.
    duration_s = min(end["end_s"] for end in ends)
    if int((records["sent_s"] >= 0).sum()) == plan.settings["requests"]:
        # All its requests belong to a run that ends by their number: it ends with the last answer.
        duration_s = float(np.nextafter(records["done_s"].max(), np.inf))
    settings_ = plan.settings
    if plan.due is not None:
        settings_ = {**settings_, "planned": int((plan.due < duration_s).sum())}
    details = {code: text for end in ends for code, text in end["details"].items()}
    return Run(
        settings=settings_,
        records=records,
        duration_s=duration_s,
        generators=tuple(
            Generator(**{field.name: end[field.name] for field in fields(Generator)})
            for end in ends
        ),
        details={stats.code_name(int(code)): text for code, text in details.items()},
    )


def _await(
    children: Sequence[_Generator], deadline: float, look: Callable[[], bool | None]
) -> bool:
    """Waits until one of them says something, or a look is enough: then it returns True."""
    with selectors.DefaultSelector() as selector:
        for child in children:
            selector.register(child.output, selectors.EVENT_READ)
        while not selector.select(_LOOK_S) and time.monotonic() < deadline:
            if look():
                return True
    return False


def _is_known(children: Sequence[_Generator], zero: float, plan: Plan) -> bool:
    """Whether the run's figure is known as well as was asked for."""
    now = time.monotonic() - zero
    if plan.precision is None or now <= 0:
        return False
    records = np.concatenate([child.records() for child in children])
    width = stats.half_width(records, plan.settings["precision_of"], duration_s=now)
    return width is not None and width <= plan.precision


class _Generator(Child):
    """A generator process, ended with the `with` that holds it."""

    def __init__(self, plan: Plan, number: int, folder: Path) -> None:
        self._records = folder / f"records-{number}"
        path = folder / f"plan-{number}.json"
        path.write_text(json.dumps(_plan_of(plan, number, folder, self._records)))
        self._records.touch()
        super().__init__(plan.module, str(path), failed=_failed)

    def ready(self, plan: Plan) -> None:
        line = self.next(time.monotonic() + _START_S)
        if line != "ready":
            where = ", ".join(plan.settings["addresses"])
            raise ServerUnavailableError(
                f"No load can be put on {where}",
                cause=json.loads(line)["error"],
                next_step="Is the server running and ready, and is this its gRPC port?",
                code="UNAVAILABLE",
            )

    def result(self, deadline: float) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self.next(deadline))
        return result

    def records(self) -> stats.Records:
        whole = self._records.stat().st_size // stats.RECORD.itemsize
        return np.fromfile(self._records, stats.RECORD, count=whole)


def _failed(why: str) -> LoadError:
    return LoadError(
        "A load generator failed",
        cause=why,
        next_step="Run it again; if it fails again, report it with this message.",
    )


def _plan_of(plan: Plan, number: int, folder: Path, records: Path) -> Mapping[str, Any]:
    """One process's share of a plan, as its JSON."""
    requests = []
    for i, request in enumerate(plan.requests):
        path = folder / f"request-{i}"
        if not path.exists():
            path.write_bytes(request)
        requests.append(str(path))
    processes = plan.settings["processes"]
    due = None
    if plan.due is not None:
        due = folder / f"due-{number}"
        plan.due[number::processes].astype("<f8").tofile(due)
    return {
        "process": number,
        "connections": plan.connections,
        "method": protos.PREDICT,
        "authority": plan.authority,
        "timeout_s": plan.settings["timeout_s"],
        "requests": requests,
        "due": None if due is None else str(due),
        "concurrency": _share(plan.settings["concurrency"], number, processes),
        "count": _share(plan.settings["requests"], number, processes),
        "answers": -(-plan.answers // processes),
        "duration_s": plan.settings["duration_s"],
        "warmup_s": plan.settings["warmup_s"],
        "records": str(records),
    }


def _share(total: int | None, number: int, processes: int) -> int | None:
    if total is None:
        return None
    return total // processes + (number < total % processes)
