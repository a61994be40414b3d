"""How many photos a second a SavedModel classifies in a process of its own, without a server.

A process of its own, since what TensorFlow reads from the environment it reads once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import photos as sample_photos
from helpers.errors import ExportError
from helpers.processor import processor_class
from helpers.settings import ROOT

from .record import Export

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZE = 16
ONEDNN_VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
PLAIN = "plain"


@dataclass(frozen=True)
class Speed:
    """What was measured of one SavedModel.

    Attributes:
        images: photos classified while it was measured.
        seconds: in which they were.
        cpu_seconds: of all cores together, in the same time.
    """

    images: int
    seconds: float
    cpu_seconds: float

    @property
    def images_per_s(self) -> float:
        """Photos a second."""
        return self.images / self.seconds


@dataclass(frozen=True)
class Measures:
    """The speed with each measure of the fast form, in the order in which they are added.

    Attributes:
        speeds: name to speed; the first is the plain form.
        processor: the class of processor that this was measured on.
    """

    speeds: Mapping[str, Speed]
    processor: str

    @property
    def ratios(self) -> dict[str, float]:
        """Name to images/s ÷ the plain form's, for `plots.measures`."""
        plain = self.speeds[PLAIN].images_per_s
        return {name: speed.images_per_s / plain for name, speed in self.speeds.items()}

    @property
    def fast_over_plain(self) -> float:
        """Images/s of the fast form, which takes all measures, ÷ the plain form's."""
        return list(self.ratios.values())[-1]

    def table(self) -> pd.DataFrame:
        """A row a measure: images/s, ÷ plain, and the photos that the figures stand on."""
        import pandas as pd

        rows = [
            {
                "form": name,
                "images/s": round(speed.images_per_s, 2),
                "÷ plain": round(self.ratios[name], 2),
                "photos measured": speed.images,
            }
            for name, speed in self.speeds.items()
        ]
        return pd.DataFrame(rows).set_index("form")


def measure(plain: Export, *, seconds: float = 3.0, batch_size: int = BATCH_SIZE) -> Measures:
    """Measure what each measure of the fast form brings for a plain export on this machine.

    The forms are written to a temporary directory, since each is a SavedModel of its own; two
    processes measure them, without and with oneDNN. Takes about 20 s and `seconds` a form.

    Args:
        plain: a whole export of the plain form.
        seconds: for each form. At least one batch is always measured.
        batch_size: photos that are classified together.
    """
    from . import fast
    from .exporter import model_of

    measures = fast.measures_for(processor := processor_class())
    model = model_of(plain)
    with tempfile.TemporaryDirectory() as directory:

        def form(*taken: str) -> Path:
            path = Path(directory, str(len(taken)))
            path.mkdir()
            fast.write_graph(model, path, taken)
            return path

        folded, cropped = form(fast.FOLD), form(fast.FOLD, fast.CROP)
        paths = {PLAIN: plain.path, fast.FOLD: folded, f"+ {fast.CROP}": cropped}
        speeds = in_process(paths, seconds=seconds, batch_size=batch_size)
        if fast.ONEDNN in measures:
            paths = {f"{PLAIN}, but {fast.ONEDNN}": plain.path, f"+ {fast.ONEDNN}": cropped}
            if fast.BFLOAT16 in measures:
                paths[f"+ {fast.BFLOAT16}"] = form(*measures)
            speeds |= in_process(
                paths,
                environment=fast.ONEDNN_ENVIRONMENT,
                seconds=seconds,
                batch_size=batch_size,
            )
    return Measures(speeds, processor)


def in_process(
    paths: Mapping[str, Path],
    *,
    seconds: float,
    batch_size: int = BATCH_SIZE,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Speed]:
    """Classify the sample photos with SavedModels in one new process, batch by batch in turn.

    In turn, so that whatever else the machine does meanwhile slows all of them alike.

    Args:
        paths: name to version directory.
        seconds: for each of them. At least one batch is always measured.
        batch_size: photos that are classified together.
        environment: variables of that process; None for TensorFlow's defaults.

    Raises:
        ExportError: the process failed; its last words are in the message.
    """
    task = {
        "paths": {name: str(path) for name, path in paths.items()},
        "seconds": seconds,
        "batch_size": batch_size,
    }
    inherited = {name: value for name, value in os.environ.items() if name != ONEDNN_VARIABLE}
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=inherited | dict(environment or {}),
    )
    if done.returncode:
        raise ExportError(
            f"The speed of {', '.join(paths)} couldn't be measured",
            cause=" ".join(done.stderr.splitlines()[-1:]) or f"exit status {done.returncode}",
            next_step="Load them in this process with `load_in_process` to see more.",
        )
    answer = json.loads(done.stdout.splitlines()[-1])
    return {name: Speed(**speed) for name, speed in answer.items()}


def _measure_in_turn(
    classify: Mapping[str, Callable[[Sequence[bytes]], object]], batch: list[bytes], seconds: float
) -> dict[str, dict[str, float]]:
    for run in classify.values():
        run(batch[:2])  # grappler's rewriting and oneDNN's kernels belong to nobody's figure
    totals = {name: {"images": 0, "seconds": 0.0, "cpu_seconds": 0.0} for name in classify}
    unfinished = dict(classify)
    while unfinished:
        for name, run in list(unfinished.items()):
            started, cpu_started = time.perf_counter(), time.process_time()
            run(batch)
            took, total = time.perf_counter() - started, totals[name]
            total["images"] += len(batch)
            total["seconds"] += took
            total["cpu_seconds"] += time.process_time() - cpu_started
            if total["seconds"] + took / 2 > seconds:  # ends as near to `seconds` as it can
                del unfinished[name]
    return totals


def _main() -> None:
    from .savedmodel import load_in_process

    task = json.load(sys.stdin)
    samples = [photo.data for photo in sample_photos.samples()]
    batch = [samples[index % len(samples)] for index in range(task["batch_size"])]
    classify = {name: load_in_process(Path(path)) for name, path in task["paths"].items()}
    print(json.dumps(_measure_in_turn(classify, batch, task["seconds"])))


if __name__ == "__main__":
    _main()
