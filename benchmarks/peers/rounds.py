"""The servers taking turns. Only the one that is measured runs: it is started for its turn.

What has been measured is kept in `build/peers`, and the next call goes on where it ends: a
measurement may be cut into parts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks.model import InProcess, failed, in_process
from benchmarks.peers import environments, http_load
from benchmarks.peers.servers import SERVERS, Answer, Running, running
from benchmarks.peers.table import FAST, IN_PROCESS, OPENVINO
from helpers import load, photos, settings
from helpers.child import Child
from helpers.errors import LoadError, ServingError, SetupError
from helpers.load import results
from helpers.load.results import Figure, RecordedRun, Result
from helpers.photos import FOLDER as PHOTOS

CONCURRENCY, BATCH = 64, 16
WARMUP_S = {"light": 3.0, "inception_v3": 8.0}
NAMES = {
    "light": [IN_PROCESS, *(server.name for server in SERVERS)],
    "inception_v3": [IN_PROCESS, FAST, OPENVINO, *(server.name for server in SERVERS)],
}


@dataclass(frozen=True)
class Turns:
    """What is to be measured.

    Attributes:
        network: `light` or `inception_v3`.
        rounds: turns that each gets.
        seconds: of each turn, without the warm-up.
        names: of what takes turns, in the order of a round.
        kept: the folder of what has been measured so far.
    """

    network: str
    rounds: int
    seconds: float
    names: Sequence[str]
    kept: Path = settings.BUILD / "peers"

    @property
    def file(self) -> Path:
        """What has been measured so far."""
        return self.kept / f"{self.network}.json"

    def so_far(self) -> Result:
        """What has been measured so far; at first a result without runs."""
        if self.file.exists():
            return results.read(self.file)
        result = Result.now(f"peers-{self.network.replace('_', '-')}", runs={})
        return replace(result, versions={**result.versions, **environments.versions()})

    def missing(self, result: Result) -> Iterator[tuple[str, int]]:
        """The turns to come, round by round: a name and the number of its round."""
        for number in range(1, self.rounds + 1):
            for name in self.names:
                if not {f"{name}, round {number}", f"{name}, failed"} & taken(result):
                    yield name, number

    def take(self, *, minutes: float) -> Result:
        """Measures until all turns are taken, or a further one might not fit into the time."""
        end, longest = time.monotonic() + 60 * minutes, 0.0
        result = self.so_far()
        model = self._model()
        while turn := next(self.missing(result), None):
            start = time.monotonic()
            if start + longest > end:
                break
            now = Result.now(result.name, runs={})  # the time and the revision of the last turn
            result = replace(result, taken_at=now.taken_at, git=now.git)
            result = self._with(result, model, *turn)
            self._keep(result)
            longest = max(longest, time.monotonic() - start)
        return result

    def _with(self, result: Result, model: dict[str, Any], name: str, number: int) -> Result:
        """A result with one turn more."""
        key = f"{name}, round {number}"
        print(f"{self.network}: {key} of {self.rounds}", end="", flush=True)
        server = next((server for server in SERVERS if server.name == name), None)
        if server is None:
            found = self._in_process(name, key, model["version"])
            print("".join(f", {figure.value:.4g} {figure.unit}" for figure in found.values()))
            return replace(result, figures={**result.figures, **found})
        version = Path(model["version"])
        data = [photo.data for photo in photos.samples()]
        try:
            with running(server, version=version, batch=BATCH, photo=data[0]) as it:
                run = self._load(it, data, model["answers"])
        except (SetupError, ServingError, LoadError) as error:
            print(f": {error}")
            return replace(result, figures={**result.figures, f"{name}, failed": Figure(1)})
        summary = run.summary()
        print(
            f", {summary.throughput_per_s:.4g} images/s, p99 {summary.percentile(0.99)}, "
            f"{run.settings['cpu_ms']:.3g} ms of CPU each",
            flush=True,
        )
        return replace(result, runs={**result.runs, key: RecordedRun.of(run)})

    def _load(self, server: Running, data: Sequence[bytes], expected: Sequence[Answer]) -> load.Run:
        """One turn of a server that has just been started."""
        others, worst = differences([server.ask(photo) for photo in data], expected)
        before, machine_before = server.cpu_s(), psutil.cpu_times()
        address = "{}:{}".format(*server.address)
        options: dict[str, Any] = {
            "concurrency": CONCURRENCY,
            "duration_s": self.seconds,
            "warmup_s": WARMUP_S[self.network],
        }
        asked = server.server
        if asked.path:
            requests = [
                http_load.request(asked.path, asked.body(photo), asked.headers) for photo in data
            ]
            run = http_load.closed_loop(server.address, requests, **options)
        else:
            run = load.closed_loop(address, data, **options)
        used = server.cpu_s() - before
        others_s, stolen_s = _taken_by_others(machine_before, used)
        return run.noted(
            server=asked.name,
            cpu_ms=1e3 * used / len(run.records),
            others_cpu_s=others_s,
            stolen_cpu_s=stolen_s,
            start_s=server.start_s,
            memory_mib=server.memory_mib(),
            lines=asked.lines,
            package=asked.package,
            server_settings=asked.settings,
            other_labels=others,
            worst_score=worst,
        )

    def _model(self) -> dict[str, Any]:
        """The version directory of the model, exported if need be, and its answers."""
        with in_process(self.network) as model:
            return model.hello

    def _in_process(self, name: str, key: str, version: str) -> dict[str, Figure]:
        """One turn of a model without a server, in a process that does nothing else."""
        form = "fast" if name == FAST else "plain"
        loaded = _by_openvino(version) if name == OPENVINO else in_process(self.network, form)
        with loaded as model:
            model.measure(batch=BATCH, duration_s=WARMUP_S[self.network] / 2)
            speed = model.measure(batch=BATCH, duration_s=self.seconds)
        found = {key: Figure(speed.images_per_s, unit="images/s")}
        found[f"{key}, CPU"] = Figure(speed.cpu_ms_per_image, unit="ms of CPU an image")
        if speed.network_images_per_s is not None:
            hello = model.hello
            found[f"{key}, network alone"] = Figure(speed.network_images_per_s, unit="images/s")
            found[f"{key}, worst score"] = Figure(hello["worst_score"])
            found[f"{key}, other top"] = Figure(hello["photos"] - hello["same_top"])
        return found

    def _keep(self, result: Result) -> None:
        written = results.write(result, folder=self.kept)
        written.replace(self.file)


@contextmanager
def _by_openvino(version: str) -> Iterator[InProcess]:
    """The same by OpenVINO, in an environment of its own."""
    python = environments.python("openvino")
    module = "benchmarks.peers.openvino.model"
    with Child(module, version, str(PHOTOS), failed=failed, python=python) as child:
        yield InProcess(child)


def _taken_by_others(before: Any, used_s: float) -> tuple[float, float]:
    """Processor time that went to other processes (the generator among them) and other machines."""
    now = psutil.cpu_times()
    idle = ("idle", "iowait", "guest", "guest_nice", "steal")
    busy = sum(getattr(now, f) - getattr(before, f) for f in now._fields if f not in idle)
    stolen = getattr(now, "steal", 0.0) - getattr(before, "steal", 0.0)
    return busy - used_s, stolen


def taken(result: Result) -> set[str]:
    """The turns that a result has."""
    return {*result.runs, *result.figures}


def differences(answers: Sequence[Answer], expected: Sequence[Answer]) -> tuple[int, float]:
    """Photos whose five labels are others, and the largest difference of a score as a share."""
    others = sum(list(a[0]) != list(e[0]) for a, e in zip(answers, expected, strict=True))
    worst = max(
        abs(one - other) / max(e[1])
        for a, e in zip(answers, expected, strict=True)
        for one, other in zip(a[1], e[1], strict=True)
    )
    return others, worst
