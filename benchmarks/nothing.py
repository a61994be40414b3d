"""What the server itself costs: a model that does nothing, and a profile that says what stops it.

    python -m benchmarks.nothing

The model answers `predict_images` with constants, so that whatever a request takes is gRPC, the
server and the load generator. Rounds without a profiler give the figures; one more, under
cProfile, says where the main thread (the event loop) spends its time, with the profiler's own cost.
"""

from __future__ import annotations

import argparse
import pstats
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.serving import Server, _rate, model_server
from helpers import load, photos, settings, stats
from helpers.load import results
from helpers.load.results import Figure, Result

MODELS = settings.ROOT / "build" / "models-nothing"
_EXPORT = """
import sys
import tensorflow as tf

class Nothing(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def predict_images(self, images):
        rows = tf.shape(images)[0]
        return {"classes": tf.fill([rows, 5], "nothing"), "scores": tf.zeros([rows, 5])}

module = Nothing()
tf.saved_model.save(module, sys.argv[1], signatures={"predict_images": module.predict_images})
"""
# Where a function is, and what it belongs to; the first that fits.
_PARTS = {
    "helpers/model_server": "the server's own modules",
    "grpc/": "grpcio",
    "tensorflow": "TensorFlow",
    "asyncio/": "asyncio",
    "google/protobuf": "protobuf",
    "method 'poll'": "waiting for work",
    "of '_thread.lock'": "handing batches to threads",
    "method 'run' of '_contextvars.Context'": "grpcio (in Cython, called by the event loop)",
    "SerializeToString": "protobuf",
    "FromString": "protobuf",
}


def _models() -> Path:
    version = MODELS / settings.MODEL_NAME / "1"
    if not version.exists():
        subprocess.run([sys.executable, "-c", _EXPORT, str(version)], check=True)
    return MODELS


def _round(server: Server, *, concurrency: int, seconds: float) -> tuple[load.Run, float]:
    """A run, and the server's processor time a request, in microseconds."""
    before = server.cpu_s()
    run = load.offline(
        server.address, photos.samples(), concurrency=concurrency, duration_s=seconds, warmup_s=1
    )
    return run, 1e6 * (server.cpu_s() - before) / len(run.records)


def _times(profile: Path) -> Counter[str]:
    times: Counter[str] = Counter()
    for (file, _, name), entry in pstats.Stats(str(profile)).stats.items():  # type: ignore[attr-defined]
        place = f"{file} {name}"
        part = next((part for key, part in _PARTS.items() if key in place), "the rest")
        times[part] += entry[2]  # its own time, in seconds
    return times


def shares(*, idle: Path, busy: Path) -> dict[str, float]:
    """The share of the main thread's working time that each part takes while it serves.

    Functions that belong to no part are left out: they are what starting up takes, which differs
    from start to start by more than they would add.

    Args:
        idle: the profile of a server that only started and stopped; what it took is left out.
        busy: of one that served.
    """
    times = _times(busy) - _times(idle)
    del times["waiting for work"], times["the rest"]
    total = sum(times.values())
    return {part: seconds / total for part, seconds in times.most_common()}


def measure(*, concurrency: int, seconds: float, rounds: int) -> Result:
    """Requests a second of a model that does nothing, and what they cost.

    Args:
        concurrency: requests on their way at a time.
        seconds: of each round.
        rounds: without the profiler.
    """
    runs: dict[str, load.Run] = {}
    costs = []
    with model_server(_models(), batch=16) as server:
        _round(server, concurrency=concurrency, seconds=2)
        for number in range(1, rounds + 1):
            run, cost_us = _round(server, concurrency=concurrency, seconds=seconds)
            runs[f"nothing, {concurrency} at a time, round {number}"] = run
            costs.append(cost_us)
    figures = {
        "requests_per_s": Figure(*stats.mean([_rate(run) for run in runs.values()]), "1/s"),
        "server_cpu_us": Figure(*stats.mean(costs), "us"),
    }
    with TemporaryDirectory() as folder:
        idle, busy = Path(folder) / "idle", Path(folder) / "busy"
        with model_server(_models(), batch=16, profile=idle):
            pass
        with model_server(_models(), batch=16, profile=busy) as server:
            _round(server, concurrency=concurrency, seconds=seconds)
        for part, share in shares(idle=idle, busy=busy).items():
            figures[f"share of the event loop: {part}"] = Figure(share)
    return Result.now("serving-nothing", runs=runs, figures=figures)


def table(result: Result) -> str:
    """The figures of a result, a line each."""
    figures = result.figures.items()
    return "\n".join(f"{name}: {f.value:.4g} {f.unit} ({f.interval})" for name, f in figures)


def main() -> None:
    """Measures, writes the result, prints it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    result = measure(
        concurrency=options.concurrency, seconds=options.seconds, rounds=options.rounds
    )
    path = results.write(result)
    print(table(result))
    print(path)


if __name__ == "__main__":
    main()
