"""From what a scenario asks for to a plan: checked, resolved, its requests serialized."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence
from typing import Any

from helpers import machine, settings, stats
from helpers.client import addresses, protos
from helpers.errors import LoadError
from helpers.load import schedule
from helpers.load.runner import Plan

TIMEOUT_S = 60.0  # an overloaded Inception-v3 on a laptop answers after tens of seconds


def plan(
    address: str | Sequence[str],
    photos: Sequence[Any],
    *,
    scenario: str,
    duration_s: float,
    warmup_s: float,
    concurrency: int | None = None,
    requests: int | None = None,
    precision: float | None = None,
    precision_of: str = "throughput",
    answers: int = 1,
    due: schedule.Times | None = None,
    noted: dict[str, Any] | None = None,
    processes: int = 1,
    channels: int = 1,
    timeout_s: float = TIMEOUT_S,
    photos_per_request: int = 1,
    model: str = settings.MODEL_NAME,
    version: int | str | None = None,
) -> Plan:
    """A plan for `runner.execute`; the arguments are those of the scenarios.

    Raises:
        LoadError: this can't be run as asked.
        ServerUnavailableError: an address has no IP address.
    """
    check_window(duration_s, warmup_s)
    for name, value in [("processes", processes), ("channels", channels)]:
        if value < 1:
            raise refused(f"{value} {name}", f"Pass {name}=1 or more.")
    if processes > min(concurrency or processes, requests or processes):
        raise refused(
            f"{processes} processes for fewer requests",
            "Pass at most as many processes as there are requests at a time, and in all.",
        )
    if precision is not None and not precision > 0:
        raise refused(f"a precision of {precision}", "Pass a share, such as precision=0.02.")
    if precision_of not in ("throughput", *stats.QUANTILES):
        known = ", ".join(("throughput", *stats.QUANTILES))
        raise refused(f"the precision of {precision_of!r}", f"Pass one of {known}.")
    if answers < 0:
        raise refused(f"{answers} answers", "Pass answers=1 or more, or leave it out.")
    if not timeout_s > 0:
        raise refused(f"a deadline of {timeout_s} s", "Pass timeout_s in seconds.")
    given = [address] if isinstance(address, str) else list(address)
    connections = connections_of(given)
    return Plan(
        connections=connections * channels,
        authority=given[0].removeprefix("dns:///"),
        requests=serialized(photos, photos_per_request, model=model, version=version),
        due=due,
        precision=precision,
        answers=answers,
        settings={
            "scenario": scenario,
            "addresses": given,
            "model": model,
            "version": version,
            "concurrency": concurrency,
            "requests": requests,
            "duration_s": duration_s,
            "warmup_s": warmup_s,
            "processes": processes,
            "channels": channels,
            "timeout_s": timeout_s,
            "photos": len(photos),
            "photos_per_request": photos_per_request,
            "precision": precision,
            "precision_of": precision_of,
            "answers": answers,
            "cores_shared": machine.usable_cores() if _here(connections) else None,
            "planned": None if due is None else len(due),
            **(noted or {}),
        },
    )


def connections_of(given: Sequence[str]) -> list[tuple[str, int]]:
    """IP address and port of each connection; raises LoadError if there is none."""
    found = []
    for address in given:
        every = addresses.resolve_all(address.removeprefix("dns:///"))
        found += every if address.startswith("dns:///") else every[:1]
    if not found:
        raise refused("no address", "Pass `host:port`, or those of the replicas.")
    return [(str(ip), port) for ip, port in found]


def _here(connections: Sequence[tuple[str, int]]) -> bool:
    """Whether a server is on this machine, as far as its address says."""
    return any(ipaddress.ip_address(ip).is_loopback for ip, _ in connections)


def serialized(
    photos: Sequence[Any], photos_per_request: int, *, model: str, version: int | str | None
) -> list[bytes]:
    """The requests, serialized once: each photo is first in one of them."""
    data = [bytes(getattr(photo, "data", photo)) for photo in photos]
    if not data or photos_per_request < 1:
        raise refused("requests without a photo", "Pass at least one photo.")
    return [
        protos.predict_request(
            [data[(i + j) % len(data)] for j in range(photos_per_request)],
            model=model,
            version=version,
        ).SerializeToString()
        for i in range(len(data))
    ]


def check_window(duration_s: float, warmup_s: float) -> None:
    """Raises LoadError unless the window has a length and the warm-up isn't negative."""
    if not 0 < duration_s < math.inf:
        raise refused(f"a run of {duration_s} s", "Pass duration_s in seconds.")
    if not 0 <= warmup_s < math.inf:
        raise refused(f"a warm-up of {warmup_s} s", "Pass warmup_s in seconds, or leave it out.")


def refused(what: str, next_step: str) -> LoadError:
    """The error that a load can't be run as asked."""
    return LoadError(f"A load test can't be run with {what}", next_step=next_step)
