"""A model in a process of its own, to be measured without a server: `python -m benchmarks.model`.

It exports the network if it isn't there, loads it the way the server does, says where it is, and
then classifies batches for as many seconds as each line of its standard input says.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from helpers import settings
from helpers.errors import ExportError

MODELS = {network: settings.models_of(network) for network in ("light", "inception_v3")}
_LEAST_BATCHES = 3


class Speed(NamedTuple):
    """How fast a model is: photos a second, and what a photo costs."""

    images_per_s: float
    cpu_ms_per_image: float


def light_model() -> Path:
    """The models directory of the light network, which is exported first if it isn't there."""
    from helpers import export

    models = MODELS["light"]
    try:
        export.find(models)
    except ExportError:
        export.export(models, network="light", weights="random")
    return models


class InProcess:
    """The other side of the process: `measure` runs the model there."""

    def __init__(self, process: subprocess.Popen[str], version: Path) -> None:
        self._process = process
        self.version = version  # the version directory that it has loaded

    def measure(self, *, batch: int, duration_s: float) -> Speed:
        """Classifies one batch of `batch` photos after another."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([batch, duration_s]) + "\n")
        self._process.stdin.flush()
        return Speed(*_said(self._process))


@contextmanager
def in_process(network: str) -> Iterator[InProcess]:
    """Loads a network, `light` or `inception_v3`, in a process that ends with the `with`."""
    command = [sys.executable, "-m", "benchmarks.model", network]
    settings.LOGS.mkdir(parents=True, exist_ok=True)
    with (
        (settings.LOGS / "benchmark-in-process.log").open("w") as log,
        subprocess.Popen(
            command,
            cwd=settings.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield InProcess(process, Path(_said(process)["version"]))
        finally:
            process.kill()


def _said(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise ExportError(
            "The model couldn't be run in process",
            next_step=f"Read {settings.LOGS / 'benchmark-in-process.log'}.",
        )
    return json.loads(line)


def _classify(runner: Any, data: Sequence[bytes], *, batch: int, duration_s: float) -> Speed:
    photos = itertools.cycle(data)
    batches, start, cpu = 0, time.perf_counter(), time.process_time()
    while batches < _LEAST_BATCHES or time.perf_counter() - start < duration_s:
        runner([next(photos) for _ in range(batch)])
        batches += 1
    images = batches * batch
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    return Speed(images / seconds, 1e3 * cpu_s / images)


def main(network: str) -> None:
    """The process: exports, loads, and measures when told to."""
    from helpers import export, photos

    talk = sys.stdout
    sys.stdout = sys.stderr  # what exporting says isn't part of the conversation
    try:
        found = export.find(MODELS[network])
    except ExportError:
        # Random weights cost as much time as trained ones, and need no network.
        found = export.export(MODELS[network], network=network, weights="random")
    runner = export.load_in_process(found.path)
    data = [photo.data for photo in photos.samples()]
    runner(data)
    print(json.dumps({"version": str(found.path)}), file=talk, flush=True)
    for line in sys.stdin:
        batch, duration_s = json.loads(line)
        speed = _classify(runner, data, batch=batch, duration_s=duration_s)
        print(json.dumps(speed), file=talk, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
