"""The ways to put load on a server, each a function that returns when the run is over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from helpers import settings
from helpers.load import schedule
from helpers.load.plans import TIMEOUT_S, check_window, plan, refused
from helpers.load.run import Run
from helpers.load.runner import execute
from helpers.load.schedule import Arrivals, Profile


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
        duration_s: seconds to measure; longer only if nothing is answered in them, see `answers`.
        warmup_s: seconds of the same load before measuring.
        requests: the run ends after so many requests, if that is earlier.
        precision: the run ends as soon as the 95 % confidence interval of its figure is within
            this share of it, such as 0.02, if that is earlier. `Run.notes` says if it isn't.
        scenario: what the run is called in results.
        **options: `precision_of` (the figure: `throughput`, or a percentile such as `p99`),
            `answers` (the window stays open until so many requests have ended in it, by a time-out
            at most; 1 unless said otherwise), `processes`, `channels` (connections per process and
            address), `timeout_s`, `photos_per_request`, `model`, `version`.

    Returns:
        The records, unprocessed.

    Raises:
        LoadError: this can't be run as asked.
        ServerUnavailableError: nobody listens there, or it isn't a gRPC server.
    """
    if concurrency < 1:
        raise refused(f"{concurrency} concurrent requests", "Pass concurrency=1 or more.")
    if requests is not None and requests < 1:
        raise refused(f"{requests} requests", "Pass requests=1 or more, or leave it out.")
    asked = plan(
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
    return execute(asked)


def single_stream(address: str | Sequence[str], photos: Sequence[Any], **options: Any) -> Run:
    """MLPerf's single stream: one request after another. Its figure is the 90th percentile.

    The options are those of `closed_loop`; `duration_s` is needed.
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

    Its figure is the 99th percentile. The options are those of `closed_loop`; `duration_s` is
    needed.
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

    By default enough requests are on their way to fill the server's batches. The options are those
    of `closed_loop`; `duration_s` is needed.
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
        **options: as for `closed_loop`, but for `answers`, which is 0 here: the requests of the
            window are followed to their end anyway. Also `precision`, which is of the p99 here
            unless `precision_of` says otherwise.

    Raises:
        LoadError: this can't be run as asked, for example at a rate of zero.
        ServerUnavailableError: nobody listens there, or it isn't a gRPC server.
    """
    check_window(duration_s, warmup_s)
    if arrivals not in ("poisson", "constant"):
        raise refused(f"{arrivals!r} arrivals", "Pass arrivals='poisson' or 'constant'.")
    # A window that waits for its answers goes on at the same rate, by a time-out at most.
    more_s = options.get("timeout_s", TIMEOUT_S) if options.get("answers") else 0.0
    due = schedule.due_times(
        rate_per_s, duration_s=duration_s + more_s, warmup_s=warmup_s, arrivals=arrivals, seed=seed
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
        raise refused("an empty or unreadable trace", "Pass the due times in seconds.")
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
    if not (due >= 0).any():
        raise refused("no request due in its window", "Raise the rate or the duration.")
    options = {"precision_of": "p99", "answers": 0, **options}
    return execute(plan(address, photos, due=due, noted=noted, **options))
