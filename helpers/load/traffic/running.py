"""Starts a client's process, follows what it writes down, and ends it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from helpers import stats
from helpers.child import Child
from helpers.client import Resilience, protos
from helpers.closing import scratch
from helpers.errors import LoadError
from helpers.load.traffic.flow import Flow

_START_S = 60.0  # for a Python process to start on a busy machine
_LEAD_S = 0.05  # from the word to start until the first request is due
_SPARE_S = 30.0  # after the last deadline: then the process hangs
_LOOK_S = 0.1


def start(
    address: str | Sequence[str],
    photos: Sequence[Any],
    *,
    rate_per_s: float,
    resilience: Resilience | None = None,
    channels: int = 1,
    version: int | str | None = None,
    poisson_seed: int | None = None,
    zero: float | None = None,
) -> Traffic:
    """Starts sending. Use it in a `with`, whose end stops it.

    Args:
        address: `host:port`, or several that the client takes in turns.
        photos: JPEG or PNG bytes, or objects that hold them in `data`; sent in turns.
        rate_per_s: requests per second.
        resilience: how the client meets faults; None: as `Resilience()` does.
        channels: connections to each address.
        version: a version's number or its label; None for the newest.
        poisson_seed: for arrivals as many independent users make them; None: at even distances.
            Two clients at even distances keep meeting each other at the same distance, which
            favours one of them, so what compares two needs this.
        zero: the monotonic time at which the records' clock is 0; None: when the first is due.

    Raises:
        LoadError: the process doesn't start, or there is nothing to send.
    """
    if not rate_per_s > 0:
        raise LoadError(
            f"Requests can't be sent at {rate_per_s} a second", next_step="Pass a positive rate."
        )
    if not photos:
        raise LoadError("There is no photo to send", next_step="Pass at least one.")
    data = [bytes(getattr(photo, "data", photo)) for photo in photos]
    return Traffic(
        [protos.predict_request([d], version=version).SerializeToString() for d in data],
        plan={
            "addresses": [address] if isinstance(address, str) else list(address),
            "rate_per_s": rate_per_s,
            "channels": channels,
            "seed": poisson_seed,
            "resilience": asdict(resilience or Resilience()),
        },
        zero=zero,
    )


class Traffic:
    """Requests that are being sent, by a process of their own. `start` makes it."""

    def __init__(self, requests: list[bytes], *, plan: dict[str, Any], zero: float | None) -> None:
        self._plan = plan
        self._result: dict[str, Any] = {"details": {}, "hedges": 0, "hedges_won": 0}
        self._folder = scratch("traffic")
        folder = Path(self._folder.name)
        self._file = folder / "records"
        self._file.touch()
        for number, request in enumerate(requests):
            (folder / f"request-{number}").write_bytes(request)
        paths = [str(folder / f"request-{n}") for n in range(len(requests))]
        text = json.dumps({**plan, "requests": paths, "records": str(self._file)})
        (folder / "plan.json").write_text(text)
        plan_file = str(folder / "plan.json")
        self._child = Child("helpers.load.traffic", plan_file, failed=_failed)
        self._records: stats.Records = np.zeros(0, stats.RECORD)
        try:
            self._child.next(time.monotonic() + _START_S)
        except LoadError:
            self._end()
            raise
        own = time.monotonic() + _LEAD_S
        self.zero = own if zero is None else zero
        self._offset = own - self.zero  # its clock to ours
        self._child.say(f"start {own!r}")

    @property
    def flow(self) -> Flow:
        """What has ended so far; all of it after `stop`."""
        whole = self._file.stat().st_size // stats.RECORD.itemsize if self._file.exists() else 0
        if whole:
            records = np.fromfile(self._file, stats.RECORD, count=whole)
            for field in ("due_s", "sent_s", "done_s"):
                records[field] += self._offset
            self._records = records
        return Flow(self._records, **self._result)

    def follow(self, addresses: Sequence[str]) -> None:
        """Sends to other addresses from now on, as a client does whose resolver has news."""
        self._child.say(f"addresses {','.join(addresses)}")

    def wait(self, until: Callable[[Flow], bool], *, timeout_s: float = 120) -> Flow:
        """Waits until something is true of what has ended so far.

        Raises:
            LoadError: it isn't in time, or the process has ended.
        """
        deadline = time.monotonic() + timeout_s
        while not until(flow := self.flow):
            if self._child.ended:
                raise self._child.failed("it ended")
            if time.monotonic() > deadline:
                raise self._child.failed(
                    f"what was waited for didn't come in {timeout_s:g} s ({flow})"
                )
            time.sleep(_LOOK_S)
        return flow

    def stop(self) -> Flow:
        """Sends nothing more, and waits for the answers to what was sent. May be called again.

        Raises:
            LoadError: the process failed.
        """
        if not self._child.output.closed:
            self._child.say("stop")
            self._collect(_SPARE_S + self._plan["resilience"]["deadline_s"])
        return self.flow

    def _collect(self, timeout_s: float) -> None:
        try:
            self._result = json.loads(self._child.next(time.monotonic() + timeout_s))
            _ = self.flow
        finally:
            self._end()

    def _end(self) -> None:
        self._child.close()
        self._folder.cleanup()

    def __enter__(self) -> Traffic:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.stop()
        elif not self._child.ended:
            self._end()


def _failed(why: str) -> LoadError:
    return LoadError(
        "The client that sends requests failed",
        cause=why,
        next_step="Is the machine very busy? Send fewer requests a second.",
    )
