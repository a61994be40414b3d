"""How many photos per second SavedModels classify in processes of their own, without a server.

In processes of their own, since what TensorFlow reads from the environment it reads only once.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import photos as sample_photos
from helpers.child import Child
from helpers.closing import scratch
from helpers.errors import ExportError
from helpers.machine.processor import processor_class
from helpers.progress import Line
from helpers.stats import Interval, Ratio, mean

from .record import Export

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZE = 16
ROUNDS = 5  # at least: of three, the interval is twice as wide
ONEDNN_VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
PLAIN, WITHOUT_ONEDNN = "plain", "plain, without oneDNN"


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
        """Photos per second."""
        return self.images / sum(self.batch_seconds)

    @property
    def images_per_cpu_s(self) -> float:
        """Photos per second of one core: what is left to tell on a machine that is busy."""
        return self.images / self.cpu_seconds

    def over(self, other: Speed) -> Ratio:
        """How many times as fast as another this is, from the rounds that both were measured in.

        Each round gives one quotient, so what slows the machine for a while slows both. Geometric
        mean of the quotients, with Student's t on their logarithms.
        """
        rounds = zip(other.batch_seconds, self.batch_seconds, strict=True)
        value, interval = mean([math.log(theirs / ours) for theirs, ours in rounds])
        low, high = interval.low, interval.high
        assert low is not None
        assert high is not None  # there are at least `ROUNDS`
        return Ratio(math.exp(value), Interval(math.exp(low), math.exp(high)))


@dataclass(frozen=True)
class Measures:
    """The speed of the plain form, and with each measure of the fast form added to those before.

    Attributes:
        speeds: name to speed, in the order in which they are added; the second is `PLAIN`, the
            first the same graph without oneDNN's kernels.
        processor: the class of processor that this was measured on.
    """

    speeds: Mapping[str, Speed]
    processor: str

    @property
    def ratios(self) -> dict[str, Ratio]:
        """Name to images/s ÷ the plain form's, for `plots.measures`."""
        plain = self.speeds[PLAIN]
        return {name: speed.over(plain) for name, speed in self.speeds.items() if name != PLAIN}

    @property
    def fast_over_plain(self) -> Ratio:
        """Images/s of the fast form, which takes all measures, ÷ the plain form's."""
        return list(self.ratios.values())[-1]

    @property
    def onednn(self) -> Ratio:
        """Images/s of the plain form with oneDNN's kernels ÷ without."""
        return self.speeds[PLAIN].over(self.speeds[WITHOUT_ONEDNN])

    def table(self) -> pd.DataFrame:
        """One row per form: images/s, ÷ plain with its 95 % interval, and the batches measured."""
        import pandas as pd

        rows = [
            {
                "form": name,
                "images/s": f"{speed.images_per_s:.1f}",
                "÷ plain": f"{ratios[name].value:.2f}" if name in ratios else "1",
                "95 % interval": str(ratios[name].interval) if name in ratios else "",
                "": "not told apart" if name in ratios and ratios[name].is_noise else "",
                "batches": len(speed.batch_seconds),
            }
            for ratios in [self.ratios]
            for name, speed in self.speeds.items()
        ]
        return pd.DataFrame(rows).set_index("form")


def measure(
    plain: Export,
    fast: Export,
    *,
    seconds: float = 3.0,
    precision: float = 0.0,
    batch_size: int = BATCH_SIZE,
) -> Measures:
    """Measure what each measure that a fast form takes brings over the plain form on this machine.

    Each is added to those before it, in a SavedModel of its own under a temporary directory. All
    run in the environment that `manifests/base` sets for a replica, but for one plain form without
    oneDNN's kernels. Takes about 15 s, and up to `seconds` for each form.

    Args:
        plain: a whole export of the plain form.
        fast: the fast form of the same network, made for this machine.
        seconds: for each form, on average.
        precision: ends it before, as `in_turn` says.
        batch_size: photos that are classified together.
    """
    from .exporter import model_of
    from .fast import SERVED_ENVIRONMENT, write_graph

    line = Line()
    line.show("the speed of each form: network and weights …")
    model = model_of(plain)
    forms = [
        Form(WITHOUT_ONEDNN, plain.path, {ONEDNN_VARIABLE: "0"}),
        Form(PLAIN, plain.path, SERVED_ENVIRONMENT),
    ]
    with scratch("speed") as directory:
        for count, added in enumerate(fast.measures, start=1):
            line.show(f"the speed of each form: writing {count} of {len(fast.measures)} …")
            path = Path(directory, str(count))
            if added == fast.measures[-1]:
                path = fast.path
            else:
                path.mkdir()
                write_graph(model, path, fast.measures[:count])
            forms.append(Form(f"+ {added}", path, SERVED_ENVIRONMENT))
        del model  # 100 MB that the processes may need
        speeds = in_turn(
            forms, seconds=seconds, precision=precision, batch_size=batch_size, line=line
        )
    return Measures(speeds, processor_class())


def in_turn(
    forms: Sequence[Form],
    *,
    seconds: float,
    precision: float = 0.0,
    batch_size: int = BATCH_SIZE,
    line: Line | None = None,
) -> dict[str, Speed]:
    """Classify the sample photos with several SavedModels, in rounds of a batch each.

    In turn, so that whatever else the machine does meanwhile slows all of them alike. There is a
    process for each environment; those whose turn it isn't wait.

    Args:
        forms: what to measure.
        seconds: for each of them, on average; at least `ROUNDS` rounds, however long they take.
        precision: of the ratio to the first form, the half width of the interval as a share; when
            all have reached it, the measurement ends.
        batch_size: photos that are classified together.
        line: of progress, to go on with.

    Raises:
        ExportError: a process failed; its last words are in the message.
    """
    environments = {tuple(sorted(form.environment.items())): form.environment for form in forms}
    totals = {form.name: Speed(0, (), 0.0) for form in forms}
    line, start, measured, rounds = line or Line(), time.monotonic(), 0.0, 0
    line.show(f"the speed of each form: loading {len(forms)} …")
    with ExitStack() as stack:
        processes = {
            key: stack.enter_context(
                _Process([f for f in forms if f.environment == environment], batch_size)
            )
            for key, environment in environments.items()
        }
        for process in processes.values():
            process.wait_until_loaded()  # all, or the first would be measured beside the last
        first, *others = totals
        while rounds < ROUNDS or (
            measured < seconds * len(forms)
            and any(totals[name].over(totals[first]).half_width > precision for name in others)
        ):
            rounds += 1
            for form in forms:
                line.show(
                    f"the speed of each form: round {rounds}, {form.name}, measured "
                    f"{measured:.0f} of {seconds * len(forms):.0f} s …"
                )
                took = processes[tuple(sorted(form.environment.items()))].ask(form.name)
                totals[form.name] += took
                measured += took.batch_seconds[0]
    line.show(f"the speed of {len(forms)} forms: measured in {time.monotonic() - start:.0f} s")
    line.end()
    return totals


class _Process(Child):
    """A process that has loaded some forms and classifies a batch whenever it is asked to."""

    def __init__(self, forms: Sequence[Form], batch_size: int) -> None:
        inherited = {name: value for name, value in os.environ.items() if name != ONEDNN_VARIABLE}
        task = {"paths": {f.name: str(f.path) for f in forms}, "batch_size": batch_size}
        super().__init__(
            "helpers.export.speed",
            json.dumps(task),
            failed=lambda why: ExportError(
                f"The speed of {', '.join(form.name for form in forms)} couldn't be measured",
                cause=why,
                next_step="Load it in this process with `load_in_process` to see more.",
            ),
            environment=inherited | dict(forms[0].environment),
        )

    def wait_until_loaded(self) -> None:
        self.say("")
        self.next()

    def ask(self, name: str) -> Speed:
        """Have one batch classified by a form."""
        self.say(name)
        answer = json.loads(self.next())
        return Speed(answer["images"], tuple(answer["batch_seconds"]), answer["cpu_seconds"])


def _classify_when_asked() -> None:
    from .savedmodel import load_in_process

    task = json.loads(sys.argv[1])
    samples = [photo.data for photo in sample_photos.samples()]
    batch = [samples[index % len(samples)] for index in range(task["batch_size"])]
    classify = {name: load_in_process(Path(path)) for name, path in task["paths"].items()}
    for run in classify.values():
        run(batch)  # kernels and memory for this size of batch belong to nobody's figure
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
