"""What one request costs the server, part by part, in processor time.

    python -m benchmarks serving-parts

The server runs with clocks of its threads' processor time around its parts, and tells what they
say when it is asked by a signal. The light network, 64 requests at a time, as in
`benchmarks.serving`; what the parts add up to is the server's own processor time. The clocks
take some 5 us a request.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.model import MODELS, in_process
from benchmarks.serving import Server, model_server
from helpers import load, photos, stats
from helpers.load.results import Figure, Result

_FILE = "BENCHMARK_PARTS"  # the variable that names where the server writes what its clocks say
_PATIENCE_S = 10.0
# What each part is of, and the order of the table. A part's time is its own: without parts inside.
PARTS = {
    "receive": "gRPC: a call comes, is begun and ends",
    "core": "gRPC: the core's threads",
    "parse": "protobuf: a request is read, its photos copied",
    "queue": "look up model and signature, put into a batch",
    "take": "batch: a thread is woken up and takes it",
    "merge": "copy: rows into a batch",
    "call": "TensorFlow: the session is called",
    "write": "protobuf: answers are written",
    "answer": "batch: answers are taken apart and counted",
    "send": "gRPC: an answer is sent",
    "compute": "TensorFlow: its threads",
    "other": "all other threads",
}


class Clocks:
    """The processor time of a server's parts; it runs in the server."""

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()
        self._inside = threading.local()
        self._lock = threading.RLock()  # a signal may come in the middle

    def around(self, owner: Any, name: str, part: str) -> None:
        """Puts a clock around a function of a module or a class."""
        setattr(owner, name, self.timed(getattr(owner, name), part))

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """The function with a clock around it."""

        def timed(*arguments: Any, **options: Any) -> Any:
            outer, self._inside.ns = getattr(self._inside, "ns", 0), 0
            begun = time.thread_time_ns()
            try:
                return function(*arguments, **options)
            finally:
                whole = time.thread_time_ns() - begun
                own = whole - self._inside.ns
                self._inside.ns = outer + whole
                with self._lock:
                    self._times[part] += own
                    self._times[f"{threading.current_thread().name}: whole"] += own
                    self._times[f"{part}: times"] += 1

        return timed

    def write(self, path: Path) -> None:
        """Writes the parts' seconds, those of each thread, and how often a part ran."""
        threads = {thread.native_id: thread.name for thread in threading.enumerate()}
        with self._lock:
            said: Counter[str] = Counter(self._times)
        for thread in psutil.Process().threads():
            whole = int(1e9 * (thread.user_time + thread.system_time))
            name = threads.get(thread.id)
            if name is None:
                said[_part_of(thread.id)] += whole
            elif name.endswith("(_serve)"):
                said["receive"] += whole - said.pop(f"{name}: whole", 0)
            elif "batch_threads-" in name:
                said["answer"] += whole - said.pop(f"{name}: whole", 0)
            else:
                said["other"] += whole - said.pop(f"{name}: whole", 0)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(said))
        temporary.replace(path)


def _part_of(thread: int) -> str:
    """A thread that Python doesn't know is the core's or TensorFlow's: Linux tells by its name."""
    try:
        name = Path(f"/proc/self/task/{thread}/comm").read_text()
    except OSError:  # it ended, or this is no Linux
        return "other"
    return "core" if name.startswith(("event_engine", "grpc", "lifeguard")) else "compute"


def _serve() -> int:
    """The server with its clocks; the same flags as `python -m helpers.model_server`."""
    from google.protobuf import message_factory

    from helpers.model_server import __main__ as program
    from helpers.model_server import flags, memory

    options = flags.parse(sys.argv[1:])
    memory.prepare()
    program._skip_tensorflows_python_api()
    from helpers.model_server import (
        batching,
        direct,
        outcomes,
        servable,
        server,
        tensors,
    )

    clocks, factory = Clocks(), message_factory.GetMessageClass

    def with_clock(descriptor: Any) -> Any:
        message = factory(descriptor)
        parse = staticmethod(clocks.timed(message.FromString, "parse"))
        return type(message.__name__, (), {"FromString": parse})

    message_factory.GetMessageClass = with_clock
    clocks.around(tensors, "to_array", "parse")
    clocks.around(direct._Call, "begin", "queue")
    clocks.around(batching.Scheduler, "_take", "take")
    clocks.around(batching, "_merge", "merge")
    clocks.around(servable.SavedModel, "run", "call")
    clocks.around(outcomes, "settle", "answer")
    clocks.around(tensors, "serialized", "write")
    clocks.around(direct._Call, "finish", "send")
    file = Path(os.environ[_FILE])
    signal.signal(signal.SIGUSR1, lambda *_: clocks.write(file))
    return server.run(options)


@contextmanager
def _clocked(models: Path, batch: int) -> Iterator[tuple[Server, Callable[[], Counter[str]]]]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "clocks"
        os.environ[_FILE] = str(file)
        with model_server(models, batch=batch, module="benchmarks.parts") as server:

            def read() -> Counter[str]:
                file.unlink(missing_ok=True)
                server.process.send_signal(signal.SIGUSR1)
                deadline = time.monotonic() + _PATIENCE_S
                while not file.exists() and time.monotonic() < deadline:
                    time.sleep(0.01)
                return Counter(json.loads(file.read_text()))

            yield server, read


def measure(*, concurrency: int, batch: int, seconds: float, rounds: int) -> Result:
    """The parts of a request, in microseconds of processor time, and the whole in process.

    Args:
        concurrency: requests on their way at a time, each with one photo.
        batch: the largest batch, on both sides.
        seconds: of each round and side.
        rounds: how often the sides take turns.
    """
    runs: dict[str, load.Run] = {}
    costs: dict[str, list[float]] = {name: [] for name in (*PARTS, "served", "in process", "size")}
    with in_process("light") as model, _clocked(MODELS["light"], batch) as (server, read):
        model.measure(batch=batch, duration_s=0)
        load.offline(server.address, photos.samples(), concurrency=concurrency, duration_s=1)
        for number in range(1, rounds + 1):
            alone = model.measure(batch=batch, duration_s=seconds)
            before, cpu_s = read(), server.cpu_s()
            run = load.offline(
                server.address, photos.samples(), concurrency=concurrency, duration_s=seconds
            )
            used_s = server.cpu_s() - cpu_s
            took = read()
            took.subtract(before)
            runs[f"light, {concurrency} at a time, round {number}"] = run
            requests = took["send: times"]
            for part in PARTS:
                costs[part].append(took[part] / 1e3 / requests)
            costs["served"].append(1e6 * used_s / requests)
            costs["in process"].append(1e3 * alone.cpu_ms_per_image)
            costs["size"].append(requests / took["call: times"])
    figures = {name: Figure(*stats.mean(values), "us") for name, values in costs.items()}
    figures["size"] = Figure(*stats.mean(costs["size"]), "requests a batch")
    return Result.now("serving-parts", runs=runs, figures=figures)


def table(result: Result) -> str:
    """The parts, a line each, then the whole, in process too."""
    f = result.figures
    lines = [
        f"{words:<46} {f[part].value:6.0f} us  {f[part].interval}" for part, words in PARTS.items()
    ]
    lines += [
        f"{name:<46} {f[name].value:6.0f} us  {f[name].interval}"
        for name in ("served", "in process")
    ]
    return "\n".join([*lines, f"{f['size'].value:.3g} requests a batch"])


if __name__ == "__main__":
    sys.exit(_serve())
