"""What the load generator itself costs: microseconds of its CPU a request, beside grpcio's.

    python -m benchmarks.load_generator

The server answers after 50 ms and computes nothing. Rounds of ours and of two clients made with
grpcio take turns. Other programs on the machine make every one of them dearer (caches, siblings on
a core), so the ratio is the figure. The goal is judged by the mean of all rounds; the least of them
is shown beside it, as the nearest to what the code itself needs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc

from helpers import load, photos, settings, stats
from helpers.client import protos
from helpers.load import results
from helpers.load.faulty_server import faulty_server
from helpers.load.results import Figure, Result

GOAL_US = 150.0
SERVICE_S = 0.05


def measure(*, rate_per_s: float, seconds: float, rounds: int) -> Result:
    """Measures ours and grpcio's at one rate.

    Args:
        rate_per_s: requests a second, about; the concurrency is chosen to give it.
        seconds: of each round.
        rounds: how often they take turns.
    """
    concurrency = max(1, round(rate_per_s * SERVICE_S))
    costs: dict[str, list[float]] = {}
    runs: dict[str, load.Run] = {}
    with faulty_server(service_s=SERVICE_S) as address:
        for i in range(rounds):
            closed = load.closed_loop(
                address, photos.samples(), concurrency=concurrency, duration_s=seconds, warmup_s=0.5
            )
            opened = load.open_loop(
                address, photos.samples(), rate_per_s=rate_per_s, duration_s=seconds, warmup_s=0.5
            )
            for name, run in [("closed_loop", closed), ("open_loop", opened)]:
                runs[f"{name}, round {i + 1}"] = run
                costs.setdefault(name, []).append(run.cpu_us_per_request)
            for name in CLIENTS:
                cost = _grpcio(name, address, concurrency, seconds)
                costs.setdefault(name, []).append(cost)
    figures = {}
    for name, values in costs.items():
        figures[f"{name}_us"] = Figure(*stats.mean(values), "µs of CPU a request")
        figures[f"{name}_least_us"] = Figure(min(values), unit="µs of CPU a request")
    for name in CLIENTS:
        pairs = zip(costs["closed_loop"], costs[name], strict=True)
        figures[f"closed_loop_over_{name}"] = Figure(
            *stats.mean([ours / theirs for ours, theirs in pairs])
        )
    return Result.now("load-generator", runs=runs, figures=figures)


def _grpcio(name: str, address: str, concurrency: int, seconds: float) -> float:
    """Microseconds of CPU a request of a grpcio client, in a process of its own as ours is."""
    plan = json.dumps([name, address, concurrency, seconds])
    command = [sys.executable, "-m", "benchmarks.load_generator", "--client", plan]
    done = subprocess.run(command, cwd=settings.ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def _client_threads(address: str, body: bytes, concurrency: int, seconds: float) -> int:
    """A blocking call in each of `concurrency` threads: what most load scripts do."""
    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(concurrency) as pool:
        call = channel.unary_unary(protos.PREDICT, None, None)
        end = time.monotonic() + seconds

        def work(_: int) -> int:
            count = 0
            while time.monotonic() < end:
                call(body, timeout=10)
                count += 1
            return count

        return sum(pool.map(work, range(concurrency)))


def _client_asyncio(address: str, body: bytes, concurrency: int, seconds: float) -> int:
    """`concurrency` tasks on one event loop."""

    async def work() -> int:
        async with grpc.aio.insecure_channel(address) as channel:
            call = channel.unary_unary(protos.PREDICT, None, None)
            end = time.monotonic() + seconds

            async def one() -> int:
                count = 0
                while time.monotonic() < end:
                    await call(body, timeout=10)
                    count += 1
                return count

            return sum(await asyncio.gather(*(one() for _ in range(concurrency))))

    return asyncio.run(work())


CLIENTS: Mapping[str, Callable[[str, bytes, int, float], int]] = {
    "grpcio_threads": _client_threads,
    "grpcio_asyncio": _client_asyncio,
}


def _run_client(plan: str) -> None:
    name, address, concurrency, seconds = json.loads(plan)
    body = protos.predict_request([photos.samples()[0].data]).SerializeToString()
    CLIENTS[name](address, body, concurrency, 0.5)
    before = time.process_time()
    count = CLIENTS[name](address, body, concurrency, seconds)
    print((time.process_time() - before) / count * 1e6)


def table(result: Result) -> str:
    """The figures, one a line."""
    lines = []
    for name in ("closed_loop", "open_loop", *CLIENTS):
        mean, least = result.figures[f"{name}_us"], result.figures[f"{name}_least_us"]
        goal = ""
        if name.endswith("_loop"):
            goal = f"; goal {GOAL_US:.0f} {results.verdict(mean, most=GOAL_US)}"
        lines.append(
            f"{name}: {mean.value:.0f} µs a request ({mean.interval}{goal}), "
            f"{least.value:.0f} in the best round"
        )
    for name in CLIENTS:
        ratio = result.figures[f"closed_loop_over_{name}"]
        lines.append(f"ours over {name}: {ratio.value:.2f} ({ratio.interval})")
    return "\n".join(lines)


def main() -> None:
    """Measures, writes the result, prints it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        _run_client(options.client)
        return
    result = measure(rate_per_s=options.rate, seconds=options.seconds, rounds=options.rounds)
    path = results.write(result)
    print(table(result))
    print(path)


if __name__ == "__main__":
    main()
