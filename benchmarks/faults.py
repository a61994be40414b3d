"""What a server was told to do wrong, beside what the load generator reports.

    python -m benchmarks faults

Each fault is decided by counting requests or computed from their due times, so that what has to
come out is known beforehand: `helpers/load/faulty_server.py`. So a figure that has a goal needs no
confidence interval: nothing in it is drawn by chance, and it is judged as it is.
"""

from __future__ import annotations

import numpy as np

from helpers import load
from helpers.load import results
from helpers.load.faulty_server import faulty_server
from helpers.load.results import Figure, Result

# A bucket of the histogram is at most 1/1024 as wide as what it holds.
PRECISION = 1 / 1024
_PHOTO = [b"x"]
_LONG_S = 4.0  # so long that its 1/1024 is more than a timer and a loopback connection take
_STALL_S = 2.0


def measure() -> Result:
    """Puts load on servers with known faults. Takes about 40 s."""
    runs: dict[str, load.Run] = {}
    with faulty_server(service_s=_LONG_S) as address:
        runs["service"] = load.open_loop(
            address, _PHOTO, rate_per_s=25, arrivals="constant", duration_s=6, warmup_s=1
        )
    with faulty_server(service_s=0.01, workers=1) as address:
        runs["throughput"] = load.closed_loop(
            address, _PHOTO, concurrency=16, duration_s=5, warmup_s=0.5
        )
    with faulty_server(service_s=0.01, workers=1) as address:
        runs["queue"] = load.open_loop(address, _PHOTO, rate_per_s=80, duration_s=8)
    with faulty_server(fail_every=100, code="INTERNAL") as address:
        runs["errors"] = load.closed_loop(
            address, _PHOTO, concurrency=8, duration_s=60, requests=2000
        )
    for name, honest in (("stall", True), ("stall, naive", False)):
        with faulty_server(service_s=0.005, stall_after=100, stall_s=_STALL_S) as address:
            if honest:
                runs[name] = load.open_loop(
                    address, _PHOTO, rate_per_s=100, arrivals="constant", duration_s=5
                )
            else:
                runs[name] = load.single_stream(address, _PHOTO, duration_s=5)
    return Result.now("faults", runs=runs, figures=_figures(runs))


def _figures(runs: dict[str, load.Run]) -> dict[str, Figure]:
    summaries = {name: run.summary() for name, run in runs.items()}
    figures = {}
    for q in ("p50", "p90", "p99"):
        found = summaries["service"].latency[q].ms or 0.0
        figures[f"{q} over the service time"] = Figure.exact(found / (1e3 * _LONG_S))
    served = summaries["throughput"].throughput_per_s
    figures["throughput over the server's"] = Figure.exact(served / 100)
    expected = _queue_ms(runs["queue"])
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        told = float(np.quantile(expected, share, method="inverted_cdf"))
        found = summaries["queue"].latency[name].ms or 0.0
        figures[f"queue: {name} over the computed one"] = Figure(found / told)
    failed = summaries["errors"].failures.get("INTERNAL", 0)
    figures["failures over those injected"] = Figure.exact(failed / 20)
    stall = 1e3 * _STALL_S
    figures["p99 over the stall"] = Figure.exact((summaries["stall"].p99_ms or 0.0) / stall)
    naive = summaries["stall, naive"].p99_ms or 0.0
    figures["naive p99 over the stall"] = Figure.exact(naive / stall)
    return figures


def _queue_ms(run: load.Run) -> np.ndarray:
    """The latency of each request in a queue with one worker, from when they were due: Lindley."""
    free, latencies = 0.0, []
    for due in run.records["due_s"]:
        free = max(free, due) + 0.01
        latencies.append(1e3 * (free - due))
    return np.array(latencies)


# Figure: the range that it has to be in.
GOALS = {
    "p50 over the service time": (1 - PRECISION, 1 + PRECISION),
    "p90 over the service time": (1 - PRECISION, 1 + PRECISION),
    "p99 over the service time": (1 - PRECISION, 1 + PRECISION),
    "throughput over the server's": (0.99, 1.01),
    "failures over those injected": (1, 1),
    "p99 over the stall": (0.95, 1.05),
    "naive p99 over the stall": (0.0, 0.1),  # it misses the stall
}


def table(result: Result) -> str:
    """A line for each figure."""
    lines = []
    for name, figure in result.figures.items():
        goal = ""
        if name in GOALS:
            low, high = GOALS[name]
            verdict = results.verdict(figure, least=low, most=high)
            goal = f" (goal {low:.4g} to {high:.4g} {verdict})"
        lines.append(f"{name}: {figure.value:.5g}{goal}")
    return "\n".join(lines)
