"""What serving costs: images a second over gRPC, over those of the same model in process.

    python -m benchmarks serving-light --set concurrencies=[16,64]

The model server and the model without a server take turns, round by round, so that the machine's
drift hits both alike; each round gives one ratio, and the interval comes from the rounds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import psutil

from benchmarks.model import MODELS, InProcess, Speed, in_process
from helpers import load, photos, settings, stats
from helpers.client import Classifier
from helpers.clusters.local.replica import free_ports
from helpers.load import results
from helpers.load.results import Figure, Result

# Of the images a second in process, and of its processor time, many at a time.
GOALS = {"inception_v3": 0.97, "light": 0.85}
ADDED_GOAL_MS = {"avx2": 2.5}  # to one request at a time
_ADDED_ELSEWHERE_MS = 1.0


@dataclass(frozen=True)
class Server:
    """A running model server."""

    address: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """The processor time that it has used, in seconds."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def batching_config(batch: int, *, timeout_us: int = 0) -> Iterator[Path]:
    """`serving/batching.config` for batches of another size, as a file."""
    text = (settings.SERVING / "batching.config").read_text()
    text = text.replace("max_batch_size { value: 32 }", f"max_batch_size {{ value: {batch} }}")
    with NamedTemporaryFile("w", suffix=".config") as file:
        file.write(text.replace("micros { value: 0 }", f"micros {{ value: {timeout_us} }}"))
        file.flush()
        yield Path(file.name)


def flags(model: Path, batching: Path, *, port: int, rest_port: int = 0) -> list[str]:
    """A server's, for one model that is batched."""
    return [
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        f"--model_name={settings.MODEL_NAME}",
        f"--model_base_path={model}",
        "--enable_batching",
        f"--batching_parameters_file={batching}",
    ]


@contextmanager
def model_server(
    models: Path,
    *,
    batch: int,
    batch_timeout_us: int = 0,
    name: str = "benchmark-server",
    module: str = "helpers.model_server",
) -> Iterator[Server]:
    """A model server with batching, as a process of its own.

    Args:
        models: a models directory.
        batch: the largest batch that it gathers.
        batch_timeout_us: how long it waits for a batch to fill, in microseconds.
        name: of its log, in build/logs.
        module: the embedded server's, or one that runs it with clocks.
    """
    (port,) = free_ports(1)
    settings.LOGS.mkdir(parents=True, exist_ok=True)
    real = os.environ.get("TENSORFLOW_MODEL_SERVER")
    program = [real] if real else [sys.executable, "-m", module]
    with (
        batching_config(batch, timeout_us=batch_timeout_us) as config,
        (settings.LOGS / f"{name}.log").open("w") as log,
    ):
        command = [*program, *flags(models / settings.MODEL_NAME, config, port=port)]
        with subprocess.Popen(command, cwd=settings.ROOT, stdout=log, stderr=log) as process:
            try:
                with Classifier(f"127.0.0.1:{port}") as classifier:
                    classifier.wait_until_ready(300)
                yield Server(f"127.0.0.1:{port}", psutil.Process(process.pid))
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()


def measure(
    network: str, *, concurrencies: Sequence[int], batch: int, seconds: float, rounds: int
) -> Result:
    """Measures one network at some concurrencies.

    Args:
        network: `light` or `inception_v3`.
        concurrencies: requests on their way at a time, each with one photo.
        batch: the largest batch, on both sides.
        seconds: of each round and side.
        rounds: how often the sides take turns.
    """
    runs: dict[str, load.Run] = {}
    figures: dict[str, Figure] = {}
    with in_process(network) as model, model_server(MODELS[network], batch=batch) as server:
        for concurrency in concurrencies:
            rounds_ = _Rounds(network, concurrency, min(batch, concurrency))
            rounds_.warm_up(model, server)
            for _ in range(rounds):
                rounds_.once(model, server, seconds)
            runs |= rounds_.runs
            figures |= rounds_.figures()
    return Result.now(f"serving-{network}", runs=runs, figures=figures)


class _Rounds:
    """The two sides taking turns at one concurrency."""

    def __init__(self, network: str, concurrency: int, batch: int) -> None:
        self.network, self.concurrency, self.batch = network, concurrency, batch
        self.photos = photos.samples()
        self.runs: dict[str, load.Run] = {}
        self.alone: list[Speed] = []
        self.served: list[Speed] = []

    def warm_up(self, model: InProcess, server: Server) -> None:
        """The first batches of a size are slow on both sides: memory is laid out for them."""
        model.measure(batch=self.batch, duration_s=0)
        self._serve(server, requests=2 * self.concurrency, duration_s=600)

    def once(self, model: InProcess, server: Server, seconds: float) -> None:
        """One round."""
        alone = model.measure(batch=self.batch, duration_s=seconds)
        before = server.cpu_s()
        run = self._serve(server, duration_s=seconds, warmup_s=min(seconds / 4, 5))
        cpu_ms = 1e3 * (server.cpu_s() - before) / len(run.records)
        served = Speed(_rate(run), cpu_ms)
        self.alone.append(alone)
        self.served.append(served)
        number = len(self.served)
        self.runs[f"served, {self.concurrency} at a time, round {number}"] = run
        print(
            f"{self.network}, {self.concurrency} at a time, round {number}: "
            f"served {served.images_per_s:.4g} images/s, {served.cpu_ms_per_image:.4g} ms of CPU "
            f"each; in process {alone.images_per_s:.4g}, {alone.cpu_ms_per_image:.4g} ms",
            flush=True,
        )

    def figures(self) -> dict[str, Figure]:
        """The figures of all rounds."""
        pairs = list(zip(self.served, self.alone, strict=True))
        added = {}
        if self.concurrency == 1:
            added["added_ms_1"] = Figure(
                *stats.mean([1e3 / s.images_per_s - 1e3 / a.images_per_s for s, a in pairs]), "ms"
            )
        return added | {
            f"served_{self.concurrency}": Figure(
                *stats.mean([s.images_per_s for s in self.served]), "images/s"
            ),
            f"in_process_{self.concurrency}": Figure(
                *stats.mean([a.images_per_s for a in self.alone]), "images/s"
            ),
            f"served_over_in_process_{self.concurrency}": Figure(
                *stats.mean([s.images_per_s / a.images_per_s for s, a in pairs])
            ),
            # The same in processor time: it stays meaningful while other programs run.
            f"cpu_in_process_over_served_{self.concurrency}": Figure(
                *stats.mean([a.cpu_ms_per_image / s.cpu_ms_per_image for s, a in pairs])
            ),
            f"generator_{self.concurrency}": Figure(
                *stats.mean([run.cpu_us_per_request for run in self.runs.values()]),
                "µs of CPU a request",
            ),
        }

    def _serve(self, server: Server, **options: Any) -> load.Run:
        return load.offline(server.address, self.photos, concurrency=self.concurrency, **options)


def _rate(run: load.Run) -> float:
    done = run.records[run.records["code"] == 0]["done_s"]
    done.sort()
    inside = done[(done >= 0) & (done < run.duration_s)]
    return stats.rate_between_pauses(inside)


def table(result: Result) -> str:
    """The figures of a result, a line for each concurrency and goal."""
    network = result.name.removeprefix("serving-")
    lines = []
    for key, share in result.figures.items():
        if not key.startswith("served_over"):
            continue
        concurrency = key.rpartition("_")[2]
        served = stats.pooled(result.rounds()[f"served, {concurrency} at a time"])
        in_cpu = result.figures[f"cpu_in_process_over_served_{concurrency}"]
        own = result.figures[f"generator_{concurrency}"]
        goal = f"goal {GOALS[network]} {results.verdict(share, least=GOALS[network])}"
        if added := result.figures.get(f"added_ms_{concurrency}"):
            most = ADDED_GOAL_MS.get(result.machine["processor_class"], _ADDED_ELSEWHERE_MS)
            reached = results.verdict(added, most=most)
            goal = f"{added.value:.3g} ms added ({added.interval}), goal {most} {reached}"
        lines.append(
            f"{network}, {concurrency} at a time: "
            f"{result.figures[f'served_{concurrency}'].value:.4g} images/s served, "
            f"{share.value:.3f} of in process ({share.interval}; {goal}), "
            f"p99 {served.percentile(0.99)} of {served.successes}, "
            f"{sum(served.failures.values())} failed"
        )
        cpu_goal = f"; goal {GOALS[network]} {results.verdict(in_cpu, least=GOALS[network])}"
        lines.append(
            f"{network}, {concurrency} at a time: {in_cpu.value:.3f} of in process in processor "
            f"time ({in_cpu.interval}{'' if added else cpu_goal})"
        )
        lines.append(
            f"{network}, {concurrency} at a time: generator {own.value:.0f} µs a request "
            f"({own.interval})"
        )
    return "\n".join(lines)
