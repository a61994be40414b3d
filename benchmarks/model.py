"""A model in a process of its own, to be measured without a server:
`python -m benchmarks.model NETWORK FORM`.

It exports the network if it isn't there, loads it the way the server does, says where it is and
what it answers to the sample photos, and then classifies batches for as many seconds as each line
of its standard input says.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from helpers import settings
from helpers.child import Child
from helpers.errors import ExportError

MODELS = {network: settings.models_of(network) for network in ("light", "inception_v3")}
_LEAST_BATCHES = 3


class Speed(NamedTuple):
    """How fast a model is: photos a second, what a photo costs, and what is in it of OpenVINO."""

    images_per_s: float
    cpu_ms_per_image: float
    network_images_per_s: float | None = None


class InProcess:
    """The other side of the process: `measure` runs the model there.

    Attributes:
        hello: what it said when it had loaded the model: its version directory, its answers.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self.hello: dict[str, Any] = json.loads(child.next())

    def measure(self, *, batch: int, duration_s: float) -> Speed:
        """Classifies one batch of `batch` photos after another."""
        self._child.say(json.dumps([batch, duration_s]))
        return Speed(*json.loads(self._child.next()))


@contextmanager
def in_process(network: str, form: str = "plain") -> Iterator[InProcess]:
    """Loads a network, `light` or `inception_v3`, in a process that ends with the `with`."""
    with Child("benchmarks.model", network, form, failed=failed) as child:
        yield InProcess(child)


def failed(why: str) -> ExportError:
    """The error of a process that couldn't run a model."""
    next_step = "Export it again: run notebook 01."
    return ExportError("The model couldn't be run in process", cause=why, next_step=next_step)


def _classify(runner: Any, data: Sequence[bytes], *, batch: int, duration_s: float) -> Speed:
    photos = itertools.cycle(data)
    batches, start, cpu = 0, time.perf_counter(), time.process_time()
    while batches < _LEAST_BATCHES or time.perf_counter() - start < duration_s:
        runner([next(photos) for _ in range(batch)])
        batches += 1
    images = batches * batch
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    return Speed(images / seconds, 1e3 * cpu_s / images)


def main(network: str, form: str) -> None:
    """The process: exports, loads, and measures when told to."""
    from helpers import export, photos

    talk, sys.stdout = sys.stdout, sys.stderr  # what exporting says isn't part of the conversation
    models = settings.MODELS_FAST if form == "fast" else MODELS[network]
    try:
        found = export.find(models)
    except ExportError:
        # Random weights cost as much time as trained ones, and need no network.
        found = export.export(models, network=network, weights="random", form=form)
    os.environ.update(found.environment)  # before TensorFlow is there to read it
    runner = export.load_in_process(found.path)
    data = [photo.data for photo in photos.samples()]
    answers = [
        ([label.decode() for label in labels], scores.tolist())
        for labels, scores in zip(*runner(data), strict=True)
    ]
    print(json.dumps({"version": str(found.path), "answers": answers}), file=talk, flush=True)
    for line in sys.stdin:
        batch, duration_s = json.loads(line)
        speed = _classify(runner, data, batch=batch, duration_s=duration_s)
        print(json.dumps(speed), file=talk, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
