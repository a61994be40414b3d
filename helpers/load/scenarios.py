"""The ways to put load on a server, each a function that returns when the run is over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from helpers import settings, stats
from helpers.client import addresses, protos
from helpers.errors import LoadError
from helpers.load import schedule
from helpers.load.run import Run
from helpers.load.runner import Plan, execute
from helpers.load.schedule import Arrivals, Profile

TIMEOUT_S = 60.0  # an overloaded Inception-v3 on a laptop answers after tens of seconds


def closed_loop(
    address: str | Sequence[str],
    photos: Sequence[Any],
    *,
    concurrency: int,
    duration_s: float,
    warmup_s: float = 0.0,
    requests: int | None = None,
    precision: float | None = None,
    scenario: str = "closed_loop",
    **options: Any,
) -> Run:
    """Keeps `concurrency` requests on their way: what can the server do?

    Args:
        address: `host:port`; several take the requests in turns, as `round_robin` does; also
            `dns:///host:port` for all addresses of a name.
        photos: JPEG or PNG bytes, or objects that hold them in `data`; sent in turns.
        concurrency: requests without an answer at any time, over all processes.
        duration_s: seconds to measure, at most.
        warmup_s: seconds of the same load before measuring.
        requests: the run ends after so many requests, if that is earlier.
        precision: the run ends as soon as the 95 % confidence interval of its figure is within
            this share of it, such as 0.02, if that is earlier.
        scenario: what the run is called in results.
        **options: `precision_of` (the figure: `throughput`, or a percentile such as `p99`),
            `processes`, `channels` (connections a process and address), `timeout_s`,
            `photos_per_request`, `model`, `version`.

    Returns:
        The records, unprocessed.

    Raises:
        LoadError: this can't be run as asked.
        ServerUnavailableError: nobody listens there, or it isn't a gRPC server.
    """
    if concurrency < 1:
        raise _refused(f"{concurrency} concurrent requests", "Pass concurrency=1 or more.")
    if requests is not None and requests < 1:
        raise _refused(f"{requests} requests", "Pass requests=1 or more, or leave it out.")
    plan = _plan(
        address,
        photos,
        scenario=scenario,
        duration_s=duration_s,
        warmup_s=warmup_s,
        concurrency=concurrency,
        requests=requests,
        precision=precision,
        **options,
    )
    return execute(plan)


def single_stream(address: str | Sequence[str], photos: Sequence[Any], **options: Any) -> Run:
    """MLPerf's single stream: one request after another. Its figure is the 90th percentile.

    Args:
        address: as for `closed_loop`.
        photos: as for `closed_loop`.
        **options: as for `closed_loop`; `duration_s` is needed.
    """
    options = {"precision_of": "p90", **options}
    return closed_loop(address, photos, concurrency=1, scenario="single_stream", **options)


def multi_stream(
    address: str | Sequence[str],
    photos: Sequence[Any],
    *,
    photos_per_request: int = 8,
    **options: Any,
) -> Run:
    """MLPerf's multi-stream: one request after another, each with eight photos.

    Its figure is the 99th percentile.

    Args:
        address: as for `closed_loop`.
        photos: as for `closed_loop`.
        photos_per_request: photos in each request.
        **options: as for `closed_loop`; `duration_s` is needed.
    """
    options = {"precision_of": "p99", **options}
    return closed_loop(
        address,
        photos,
        concurrency=1,
        scenario="multi_stream",
        photos_per_request=photos_per_request,
        **options,
    )


def offline(
    address: str | Sequence[str], photos: Sequence[Any], *, concurrency: int = 64, **options: Any
) -> Run:
    """MLPerf's offline: as much as the server can do, however long each takes. In images/s.

    Args:
        address: as for `closed_loop`.
        photos: as for `closed_loop`.
        concurrency: requests without an answer at any time: enough to fill the server's batches.
        **options: as for `closed_loop`; `duration_s` is needed.
    """
    return closed_loop(address, photos, concurrency=concurrency, scenario="offline", **options)


def open_loop(
    address: str | Sequence[str],
    photos: Sequence[Any],
    *,
    rate_per_s: float | Profile,
    duration_s: float,
    warmup_s: float = 0.0,
    arrivals: Arrivals = "poisson",
    seed: int = settings.SEED,
    scenario: str = "server",
    **options: Any,
) -> Run:
    """Sends requests when they are due, whether or not the server keeps up (MLPerf's server).

    Args:
        address: as for `closed_loop`.
        photos: as for `closed_loop`.
        rate_per_s: requests a second, or a profile; see `steps` and `ramp`.
        duration_s: seconds to measure. The requests due in them are followed to their end.
        warmup_s: seconds of load before measuring.
        arrivals: `poisson` or `constant`.
        seed: of the Poisson arrivals.
        scenario: what the run is called in results.
        **options: as for `closed_loop`; also `precision`, which is of the p99 here unless
            `precision_of` says otherwise.

    Raises:
        LoadError: this can't be run as asked, for example at a rate of zero.
        ServerUnavailableError: nobody listens there, or it isn't a gRPC server.
    """
    _check_window(duration_s, warmup_s)
    if arrivals not in ("poisson", "constant"):
        raise _refused(f"{arrivals!r} arrivals", "Pass arrivals='poisson' or 'constant'.")
    due = schedule.due_times(
        rate_per_s, duration_s=duration_s, warmup_s=warmup_s, arrivals=arrivals, seed=seed
    )
    return _run_open(
        address,
        photos,
        due,
        duration_s=duration_s,
        warmup_s=warmup_s,
        scenario=scenario,
        noted={"rate_per_s": rate_per_s, "arrivals": arrivals, "seed": seed},
        **options,
    )


def replay(
    address: str | Sequence[str],
    photos: Sequence[Any],
    *,
    due_s: Sequence[float],
    duration_s: float | None = None,
    **options: Any,
) -> Run:
    """Sends requests at recorded times.

    Args:
        address: as for `closed_loop`.
        photos: as for `closed_loop`.
        due_s: when each request is due, in seconds; those below 0 are the warm-up.
        duration_s: seconds to measure; None until the last one is due.
        **options: as for `closed_loop`.
    """
    due = np.sort(np.asarray(due_s, float))
    if not due.size or not np.isfinite(due).all():
        raise _refused("an empty or unreadable trace", "Pass the due times in seconds.")
    # The window is half open: the last request is due in it, not at its end.
    duration_s = float(np.nextafter(due[-1], math.inf)) if duration_s is None else duration_s
    return _run_open(
        address,
        photos,
        due,
        duration_s=duration_s,
        warmup_s=max(0.0, -float(due[0])),
        scenario="replay",
        noted={"arrivals": "trace"},
        **options,
    )


def _run_open(
    address: str | Sequence[str],
    photos: Sequence[Any],
    due: schedule.Times,
    *,
    noted: dict[str, Any],
    **options: Any,
) -> Run:
    if not due.size:
        raise _refused("a run without a request", "Raise the rate or the duration.")
    options = {"precision_of": "p99", **options}
    return execute(_plan(address, photos, due=due, noted=noted, **options))


def _plan(
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
    due: schedule.Times | None = None,
    noted: dict[str, Any] | None = None,
    processes: int = 1,
    channels: int = 1,
    timeout_s: float = TIMEOUT_S,
    photos_per_request: int = 1,
    model: str = settings.MODEL_NAME,
    version: int | str | None = None,
) -> Plan:
    _check_window(duration_s, warmup_s)
    for name, value in [("processes", processes), ("channels", channels)]:
        if value < 1:
            raise _refused(f"{value} {name}", f"Pass {name}=1 or more.")
    if processes > min(concurrency or processes, requests or processes):
        raise _refused(
            f"{processes} processes for fewer requests",
            "Pass at most as many processes as there are requests at a time, and in all.",
        )
    if precision is not None and not precision > 0:
        raise _refused(f"a precision of {precision}", "Pass a share, such as precision=0.02.")
    if precision_of not in ("throughput", *stats.QUANTILES):
        known = ", ".join(("throughput", *stats.QUANTILES))
        raise _refused(f"the precision of {precision_of!r}", f"Pass one of {known}.")
    if not timeout_s > 0:
        raise _refused(f"a deadline of {timeout_s} s", "Pass timeout_s in seconds.")
    given = [address] if isinstance(address, str) else list(address)
    return Plan(
        connections=_connections(given) * channels,
        authority=given[0].removeprefix("dns:///"),
        requests=_requests(photos, photos_per_request, model=model, version=version),
        due=due,
        precision=precision,
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
            "planned": None if due is None else len(due),
            **(noted or {}),
        },
    )


def _connections(given: Sequence[str]) -> list[tuple[str, int]]:
    found = []
    for address in given:
        every = addresses.resolve_all(address.removeprefix("dns:///"))
        found += every if address.startswith("dns:///") else every[:1]
    if not found:
        raise _refused("no address", "Pass `host:port`, or those of the replicas.")
    return [(str(ip), port) for ip, port in found]


def _requests(
    photos: Sequence[Any], photos_per_request: int, *, model: str, version: int | str | None
) -> list[bytes]:
    """The requests, serialized once: each photo is first in one of them."""
    data = [bytes(getattr(photo, "data", photo)) for photo in photos]
    if not data or photos_per_request < 1:
        raise _refused("requests without a photo", "Pass at least one photo.")
    return [
        protos.predict_request(
            [data[(i + j) % len(data)] for j in range(photos_per_request)],
            model=model,
            version=version,
        ).SerializeToString()
        for i in range(len(data))
    ]


def _check_window(duration_s: float, warmup_s: float) -> None:
    if not 0 < duration_s < math.inf:
        raise _refused(f"a run of {duration_s} s", "Pass duration_s in seconds.")
    if not 0 <= warmup_s < math.inf:
        raise _refused(f"a warm-up of {warmup_s} s", "Pass warmup_s in seconds, or leave it out.")


def _refused(what: str, next_step: str) -> LoadError:
    return LoadError(f"A load test can't be run with {what}", next_step=next_step)
