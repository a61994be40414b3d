"""How many photos a second SavedModels classify in processes of their own, without a server.

In processes of their own, since what TensorFlow reads from the environment it reads only once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import photos as sample_photos
from helpers.closing import scratch
from helpers.errors import ExportError
from helpers.machine.processor import processor_class
from helpers.progress import Line
from helpers.settings import ROOT

from .record import Export

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZE = 16
ONEDNN_VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
PLAIN = "plain"


@dataclass(frozen=True)
class Form:
    """A SavedModel, and the environment of the process that it is measured in.

    Attributes:
        name: what its figures are called by.
        path: its version directory.
        environment: variables on top of this process's; none are TensorFlow's defaults.
    """

    name: str
    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Speed:
    """What was measured of one SavedModel.

    Attributes:
        images: photos classified while it was measured.
        batch_seconds: what each batch of them took.
        cpu_seconds: of all cores together, in the same time.
    """

    images: int
    batch_seconds: tuple[float, ...]
    cpu_seconds: float

    def __add__(self, other: Speed) -> Speed:
        return Speed(
            self.images + other.images,
            self.batch_seconds + other.batch_seconds,
            self.cpu_seconds + other.cpu_seconds,
        )

    @property
    def images_per_s(self) -> float:
        """Photos a second."""
        return self.images / sum(self.batch_seconds)

    @property
    def images_per_cpu_s(self) -> float:
        """Photos for a second of one core: what is left to tell on a machine that is busy."""
        return self.images / self.cpu_seconds


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


def measure(
    plain: Export, fast: Export, *, seconds: float = 3.0, batch_size: int = BATCH_SIZE
) -> Measures:
    """Measure what each measure that a fast form takes brings over the plain form on this machine.

    Each is added to those before it, in a SavedModel of its own under a temporary directory.
    Takes about 15 s, and `seconds` for each form.

    Args:
        plain: a whole export of the plain form.
        fast: the fast form of the same network, made for this machine.
        seconds: for each form. At least one batch is always measured.
        batch_size: photos that are classified together.
    """
    from .exporter import model_of
    from .fast import ONEDNN, write_graph

    line = Line()
    line.show("the speed of each form: network and weights …")
    model = model_of(plain)
    forms = [Form(PLAIN, plain.path)]
    with scratch("speed") as directory:
        for count, added in enumerate(fast.measures, start=1):
            line.show(f"the speed of each form: writing {count} of {len(fast.measures)} …")
            path, environment = Path(directory, str(count)), forms[-1].environment
            if added == ONEDNN:  # the graph stays as it is
                path, environment = forms[-1].path, fast.environment
            elif added == fast.measures[-1]:
                path = fast.path
            else:
                path.mkdir()
                write_graph(model, path, fast.measures[:count])
            forms.append(Form(added if count == 1 else f"+ {added}", path, environment))
        del model  # 100 MB that the processes may need
        speeds = in_turn(forms, seconds=seconds, batch_size=batch_size, line=line)
    return Measures(speeds, processor_class())


def in_turn(
    forms: Sequence[Form],
    *,
    seconds: float,
    batch_size: int = BATCH_SIZE,
    line: Line | None = None,
) -> dict[str, Speed]:
    """Classify the sample photos with several SavedModels, a batch each in turn.

    In turn, so that whatever else the machine does meanwhile slows all of them alike. There is a
    process for each environment; those whose turn it isn't wait.

    Args:
        forms: what to measure.
        seconds: for each of them. At least one batch is always measured.
        batch_size: photos that are classified together.
        line: of progress, to go on with.

    Raises:
        ExportError: a process failed; its last words are in the message.
    """
    environments = {tuple(sorted(form.environment.items())): form.environment for form in forms}
    totals = {form.name: Speed(0, (), 0.0) for form in forms}
    unfinished, line, start = list(forms), line or Line(), time.monotonic()
    line.show(f"the speed of each form: loading {len(forms)} …")
    with ExitStack() as stack:
        processes = {
            key: stack.enter_context(
                _process([f for f in forms if f.environment == environment], batch_size)
            )
            for key, environment in environments.items()
        }
        for process in processes.values():
            process.wait_until_loaded()  # all, or the first would be measured beside the last
        while unfinished:
            for form in list(unfinished):
                process = processes[tuple(sorted(form.environment.items()))]
                measured = sum(sum(total.batch_seconds) for total in totals.values())
                line.show(
                    f"the speed of each form: {form.name}, measured "
                    f"{measured:.0f} of {seconds * len(forms):.0f} s …"
                )
                took = process.ask(form.name)
                total = totals[form.name] = totals[form.name] + took
                if sum(total.batch_seconds) + took.batch_seconds[0] / 2 > seconds:  # nearest to it
                    unfinished.remove(form)
    line.show(f"the speed of {len(forms)} forms: measured in {time.monotonic() - start:.0f} s")
    line.end()
    return totals


@dataclass(frozen=True)
class _Process:
    forms: Sequence[Form]
    process: subprocess.Popen[str]
    log: Path

    def wait_until_loaded(self) -> None:
        self._say_and_hear("")

    def ask(self, name: str) -> Speed:
        """Have one batch classified by a form."""
        answer = json.loads(self._say_and_hear(name))
        return Speed(answer["images"], tuple(answer["batch_seconds"]), answer["cpu_seconds"])

    def _say_and_hear(self, word: str) -> str:
        said, heard = self.process.stdin, self.process.stdout
        assert said is not None
        assert heard is not None
        with suppress(OSError):
            said.write(word + "\n")
            said.flush()
        if line := heard.readline():
            return line
        last_words = self.log.read_text(errors="replace").splitlines()[-1:]
        raise ExportError(
            f"The speed of {', '.join(form.name for form in self.forms)} couldn't be measured",
            cause=" ".join(last_words) or f"the process ended with {self.process.wait()}",
            next_step="Load it in this process with `load_in_process` to see more.",
        )


@contextmanager
def _process(forms: Sequence[Form], batch_size: int) -> Iterator[_Process]:
    """A process that has loaded some forms and classifies a batch whenever it is asked to."""
    inherited = {name: value for name, value in os.environ.items() if name != ONEDNN_VARIABLE}
    task = json.dumps({"paths": {f.name: str(f.path) for f in forms}, "batch_size": batch_size})
    with tempfile.NamedTemporaryFile("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "helpers.export.speed", task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            env=inherited | dict(forms[0].environment),
        )
        try:
            yield _Process(forms, process, Path(log.name))
        finally:
            process.kill()
            process.communicate()


def _classify_when_asked() -> None:
    from .savedmodel import load_in_process

    task = json.loads(sys.argv[1])
    samples = [photo.data for photo in sample_photos.samples()]
    batch = [samples[index % len(samples)] for index in range(task["batch_size"])]
    classify = {name: load_in_process(Path(path)) for name, path in task["paths"].items()}
    for run in classify.values():
        run(batch[:2])  # grappler's rewriting and oneDNN's kernels belong to nobody's figure
    for name in map(str.strip, sys.stdin):
        if not name:
            print("loaded", flush=True)
            continue
        started, cpu_started = time.perf_counter(), time.process_time()
        classify[name](batch)
        answer = {
            "images": len(batch),
            "batch_seconds": [time.perf_counter() - started],
            "cpu_seconds": time.process_time() - cpu_started,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _classify_when_asked()
