"""A form of the model without a server, in a process: it talks as `benchmarks.model` does.

    echo '[16, 10.0]' | python -m benchmarks.peers.alone "in process" light

Its first line has its answers to the sample photos too: what the servers' are compared with.
"""

from __future__ import annotations

import json
import os
import sys

from benchmarks.model import MODELS, _classify
from helpers import export, photos, settings
from helpers.errors import ExportError

IN_PROCESS, FAST = "in process", "in process, fast form"


def main(form: str, network: str) -> None:
    """Loads, says what it answers, then measures for as many seconds as each line says."""
    talk, sys.stdout = sys.stdout, sys.stderr
    models, name = (settings.MODELS_FAST, "fast") if form == FAST else (MODELS[network], "plain")
    try:
        found = export.find(models)
    except ExportError:
        found = export.export(models, network=network, weights="random", form=name)
    os.environ.update(found.environment)  # before TensorFlow is there to read it
    runner = export.load_in_process(found.path)
    data = [photo.data for photo in photos.samples()]
    labels, scores = runner(data)
    answers = [
        ([label.decode() for label in row], values.tolist())
        for row, values in zip(labels, scores, strict=True)
    ]
    print(json.dumps({"version": str(found.path), "answers": answers}), file=talk, flush=True)
    for line in sys.stdin:
        batch, duration_s = json.loads(line)
        speed = _classify(runner, data, batch=batch, duration_s=duration_s)
        print(json.dumps(speed), file=talk, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
