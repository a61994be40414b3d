"""What the load generator itself costs: its CPU per request, beside grpcio's.

    python -m benchmarks load-generator

The server answers after 50 ms and computes nothing. Rounds of ours and of clients made with grpcio
take turns, each kind of loop with its like: as many requests at a time, or the same arrivals. A
slower machine, and other programs on it, make every one of them dearer, so the ratio to grpcio's
asyncio client is the goal; microseconds are for information, the least of the rounds as the nearest
to what the code itself needs.
"""

from __future__ import annotations

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

GOAL = 0.4  # of grpcio's asyncio client, which is the cheaper one of its two
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
            for name, (load_of, _) in CLIENTS.items():
                much = concurrency if load_of == "closed_loop" else rate_per_s
                costs.setdefault(name, []).append(_grpcio(name, address, much, seconds))
    figures = {}
    for name, values in costs.items():
        figures[f"{name}_us"] = Figure(*stats.mean(values), "µs of CPU per request")
        figures[f"{name}_least_us"] = Figure(min(values), unit="µs of CPU per request")
    for name, (loop, _) in CLIENTS.items():
        # By the ratio of each round: what slowed one down slowed down the other.
        pairs = zip(costs[loop], costs[name], strict=True)
        known = stats.ratio_of_rounds([ours / theirs for ours, theirs in pairs], [1.0, 1.0])
        figures[f"{loop}_over_{name}"] = Figure(known.value, known.interval)
    return Result.now("load-generator", runs=runs, figures=figures)


def _grpcio(name: str, address: str, much: float, seconds: float) -> float:
    """Microseconds of CPU per request of a grpcio client, in a process of its own as ours is."""
    plan = json.dumps([name, address, much, seconds])
    command = [sys.executable, "-m", "benchmarks.load_generator", plan]
    done = subprocess.run(command, cwd=settings.ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def _client_threads(address: str, body: bytes, concurrency: float, seconds: float) -> int:
    """A blocking call in each of `concurrency` threads: what most load scripts do."""
    threads = int(concurrency)
    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(threads) as pool:
        call = channel.unary_unary(protos.PREDICT, None, None)
        end = time.monotonic() + seconds

        def work(_: int) -> int:
            count = 0
            while time.monotonic() < end:
                call(body, timeout=10)
                count += 1
            return count

        return sum(pool.map(work, range(threads)))


def _client_asyncio(address: str, body: bytes, concurrency: float, seconds: float) -> int:
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

            return sum(await asyncio.gather(*(one() for _ in range(int(concurrency)))))

    return asyncio.run(work())


def _client_asyncio_open(address: str, body: bytes, rate_per_s: float, seconds: float) -> int:
    """A task for each request when it is due, at the arrivals of our open loop."""

    async def work() -> int:
        due = load.due_times(rate_per_s, duration_s=seconds, seed=settings.SEED)
        async with grpc.aio.insecure_channel(address) as channel:
            call = channel.unary_unary(protos.PREDICT, None, None)

            async def one() -> None:
                await call(body, timeout=10)

            start = time.monotonic()
            tasks = []
            for at in due:
                if (wait_s := start + at - time.monotonic()) > 0:
                    await asyncio.sleep(wait_s)
                tasks.append(asyncio.ensure_future(one()))
            await asyncio.gather(*tasks)
        return len(due)

    return asyncio.run(work())


# By name: which of our loops it is measured against, and what runs it.
CLIENTS: Mapping[str, tuple[str, Callable[[str, bytes, float, float], int]]] = {
    "grpcio_threads": ("closed_loop", _client_threads),
    "grpcio_asyncio": ("closed_loop", _client_asyncio),
    "grpcio_asyncio_open": ("open_loop", _client_asyncio_open),
}


def _run_client(plan: str) -> None:
    name, address, much, seconds = json.loads(plan)
    client = CLIENTS[name][1]
    body = protos.predict_request([photos.samples()[0].data]).SerializeToString()
    client(address, body, much, 0.5)
    before = time.process_time()
    count = client(address, body, much, seconds)
    print((time.process_time() - before) / count * 1e6)


def table(result: Result) -> str:
    """The figures, one a line."""
    lines = []
    for name in ("closed_loop", "open_loop", *CLIENTS):
        mean, least = result.figures[f"{name}_us"], result.figures[f"{name}_least_us"]
        lines.append(
            f"{name}: {mean.value:.0f} µs per request ({mean.interval}), "
            f"{least.value:.0f} in the best round"
        )
    for name, (loop, _) in CLIENTS.items():
        ratio = result.figures[f"{loop}_over_{name}"]
        goal = f"; goal {GOAL} {results.verdict(ratio, most=GOAL)}" if "asyncio" in name else ""
        lines.append(f"{loop} over {name}: {ratio.value:.2f} ({ratio.interval}{goal})")
    return "\n".join(lines)


if __name__ == "__main__":
    _run_client(sys.argv[1])
