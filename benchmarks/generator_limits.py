"""How far one load generator goes: requests a second, and memory over a million of them.

    python -m benchmarks generator-limits

The server does nothing (`null_server`), so that the generator is what limits the run.
"""

from __future__ import annotations

from benchmarks.null_server import null_server
from helpers import load, machine
from helpers.load import results
from helpers.load.results import Figure, Result

GOAL_GROWTH_MIB = 4.0  # of memory over all the requests: what a buffer may take, and no more
MOST_PROCESSES = 4
_PHOTO = [b"x" * 100]


def measure(*, requests: int, seconds: float) -> Result:
    """Measures one process's memory and rate, and what several processes send together.

    Args:
        requests: of the run whose memory is looked at.
        seconds: of each of the others.
    """
    runs: dict[str, load.Run] = {}
    figures: dict[str, Figure] = {}
    with null_server() as address:
        run = load.closed_loop(
            address, _PHOTO, concurrency=64, duration_s=3600, warmup_s=1, requests=requests
        )
    runs["many requests"] = run
    figures["requests_sent"] = Figure.exact(run.generators[0].sent)
    figures["memory_growth"] = Figure.exact(run.generators[0].grown_bytes / 2**20, "MiB")
    for processes in [2**i for i in range(MOST_PROCESSES.bit_length())]:
        with null_server() as address:
            run = load.closed_loop(
                address, _PHOTO, concurrency=64, duration_s=seconds, warmup_s=0.5,
                processes=processes,
            )  # fmt: skip
        runs[f"{processes} processes"] = run
        rate = run.summary().throughput_per_s
        figures[f"rate_{processes}_processes"] = Figure(rate, unit="requests/s")
        figures[f"cpu_{processes}_processes"] = Figure(run.cpu_us_per_request, unit="µs a request")
    return Result.now("generator-limits", runs=runs, figures=figures)


def table(result: Result) -> str:
    """The figures, one a line."""
    growth, sent = result.figures["memory_growth"], result.figures["requests_sent"].value
    verdict = results.verdict(growth, most=GOAL_GROWTH_MIB)
    lines = [
        f"memory grew by {growth.value:.2f} MiB over {sent:,.0f} requests "
        f"(goal {GOAL_GROWTH_MIB:g} {verdict})"
    ]
    for name, figure in result.figures.items():
        if name.startswith("rate_"):
            processes = name.split("_")[1]
            cost = result.figures[f"cpu_{processes}_processes"].value
            lines.append(
                f"{processes} processes: {figure.value:,.0f} requests/s, {cost:.1f} µs of CPU each "
                f"(on {machine.usable_cores()} cores, shared with the server)"
            )
    return "\n".join(lines)
