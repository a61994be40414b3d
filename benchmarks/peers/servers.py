"""The servers: how each is started, what it is asked and what it answers."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers import environments
from benchmarks.serving import batching_config, flags
from helpers import settings
from helpers.client import Classifier
from helpers.clusters.local.replica import free_ports
from helpers.errors import ServerUnavailableError, ServingError

# A photo's five labels and scores, best first.
Answer = tuple[list[str], list[float]]

START_S = 180.0
_STOP_S = 20.0
_LOOK_S = 0.05
JPEG = {"Content-Type": "image/jpeg"}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Server:
    """A server that can be measured.

    Attributes:
        name: what it is called in results.
        path: of its HTTP endpoint; empty for gRPC.
        body: a photo as the body of a request.
        answer: the body of an answer as labels and scores.
        headers: of a request.
        environment: the name of its environment and folder; empty for this project's.
        command: what is run in its folder; `python` stands for its environment's.
        package: whose version is told; empty: this project's TensorFlow.
        settings: what it is told beside the size of a batch, in words.
        variables: of the environment of its process.
    """

    name: str
    path: str
    body: Callable[[bytes], bytes] = lambda photo: photo
    answer: Callable[[bytes], Answer] = lambda body: _flat(json.loads(body))
    headers: dict[str, str] = field(default_factory=lambda: JPEG)
    environment: str = ""
    command: Sequence[str] = ("python", "server.py")
    package: str = "tensorflow"
    settings: str = "takes what waits"
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def lines(self) -> int:
        """Lines of code that a user of it writes: neither blank nor comment; settings too."""
        if not self.environment:
            return 0  # a SavedModel is all that it needs
        folder = environments.FOLDER / self.environment
        files = [folder / "server.py", *folder.glob("*.json")]
        return sum(_lines(file.read_text()) for file in files)


@dataclass(frozen=True)
class Running:
    """A server that has given its first answer.

    Attributes:
        server: which one.
        address: IP address and port.
        process: the first of its processes.
        start_s: seconds from its start to its first answer.
    """

    server: Server
    address: tuple[str, int]
    process: psutil.Process
    start_s: float

    def family(self) -> list[psutil.Process]:
        """Its processes: the first and all that descend from it."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_s(self) -> float:
        """Processor time that its processes have used so far, in seconds."""
        total = 0.0
        for process in self.family():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def memory_mib(self) -> float:
        """Memory that is its own: what its processes share counts once (PSS where there is one)."""
        total = 0
        for process in self.family():
            with suppress(psutil.Error):
                full = process.memory_full_info()
                total += getattr(full, "pss", full.rss)
        return total / 2**20

    def ask(self, photo: bytes) -> Answer:
        """One photo, one answer."""
        return _ask(self.server, self.address, photo)


@contextmanager
def running(server: Server, *, version: Path, batch: int, photo: bytes) -> Iterator[Running]:
    """Starts a server and waits for its first answer; ends it and all its processes.

    Args:
        server: which one.
        version: the version directory of the model.
        batch: photos that it may gather, at most.
        photo: the first that it is asked for.

    Raises:
        ServerUnavailableError: it ended, or gave no answer in time.
    """
    (port,) = free_ports(1)
    settings.LOGS.mkdir(parents=True, exist_ok=True)
    log = settings.LOGS / f"peer-{server.name.replace(' ', '-').lower()}.log"
    with batching_config(batch) as batching, log.open("w") as output:
        command, folder = _command(server, version, port, batching)
        environment = {**os.environ, "MODEL": str(version), "PORT": str(port), "BATCH": str(batch)}
        environment |= server.variables
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # its folder is part of a source tree
        if server.environment == "mlserver":
            environment |= _mlserver_ports(port)
        start = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        first = psutil.Process(process.pid)
        try:
            address = ("127.0.0.1", port)
            _wait(server, address, process, photo, log)
            yield Running(server, address, first, time.monotonic() - start)
        finally:
            _end(process, first)


def _command(server: Server, version: Path, port: int, batching: Path) -> tuple[list[str], Path]:
    if server.environment:
        python = environments.python(server.environment)
        words = [python.with_name(server.command[0]), *server.command[1:]]
        if server.environment == "bentoml":
            words += ["--host", "127.0.0.1", "--port", str(port)]
        return [str(word) for word in words], environments.FOLDER / server.environment
    grpc, rest = (free_ports(1)[0], port) if server.path else (port, 0)
    own = flags(version.parent, batching, port=grpc, rest_port=rest)
    return [sys.executable, "-m", "helpers.model_server", *own], settings.ROOT


def _wait(
    server: Server,
    address: tuple[str, int],
    process: subprocess.Popen[bytes],
    photo: bytes,
    log: Path,
) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            _ask(server, address, photo)
            return
        except (OSError, ValueError, KeyError, ServingError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerUnavailableError(
                    f"{server.name} gave no answer",
                    cause=str(error),
                    next_step=f"Read {log}, or leave it out with --only.",
                    code="UNAVAILABLE",
                ) from error
        time.sleep(_LOOK_S)


def _ask(server: Server, address: tuple[str, int], photo: bytes) -> Answer:
    if not server.path:
        with Classifier("{}:{}".format(*address)) as classifier:
            found = classifier.classify([photo])[0]
        return list(found.labels), [float(score) for score in found.scores]
    url = "http://{}:{}{}".format(*address, server.path)
    request = urllib.request.Request(url, server.body(photo), server.headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return server.answer(answer.read())


def _end(process: subprocess.Popen[bytes], first: psutil.Process) -> None:
    """Ends a server as an operator does, then whatever it left behind."""
    family = [first]
    with suppress(psutil.Error):
        family += first.children(recursive=True)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    for left in family:
        with suppress(psutil.Error):  # most have ended by now
            left.kill()
    process.wait()
    psutil.wait_procs(family, timeout=_STOP_S)


def _mlserver_ports(port: int) -> dict[str, str]:
    grpc, metrics = map(str, free_ports(2))
    return {
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": grpc,
        "MLSERVER_METRICS_PORT": metrics,
    }


def _lines(text: str) -> int:
    lines = [line.strip() for line in text.splitlines()]
    return sum(bool(line) and not line.startswith("#") for line in lines)


def _base64(photo: bytes) -> str:
    return base64.b64encode(photo).decode()


def _flat(answer: Any) -> Answer:
    return list(answer["classes"]), list(answer["scores"])


def _v2(body: bytes) -> Answer:
    """An answer of the Open Inference Protocol."""
    found = {output["name"]: output["data"] for output in json.loads(body)["outputs"]}
    classes = found["classes"]
    return (classes[0].split("\n") if len(classes) == 1 else classes), found["scores"]


def _to_rest(photo: bytes) -> bytes:
    instances = [{"b64": _base64(photo)}]
    asked = {"signature_name": settings.PREDICT_SIGNATURE, "instances": instances}
    return json.dumps(asked).encode()


def _to_mlserver(photo: bytes) -> bytes:
    images = {"name": "images", "shape": [1, 1], "datatype": "BYTES", "data": [_base64(photo)]}
    return json.dumps({"inputs": [images | {"parameters": {"content_type": "base64"}}]}).encode()


def _to_triton(photo: bytes) -> bytes:
    """A JSON head, then the tensor's bytes: Triton's binary extension of the protocol."""
    return _triton_head(len(photo) + 4) + len(photo).to_bytes(4, "little") + photo


def _triton_head(size: int) -> bytes:
    images = {"name": "images", "shape": [1, 1], "datatype": "BYTES"}
    # Every photo's head has the same length, which the headers tell.
    text = json.dumps({"inputs": [images | {"parameters": {"binary_data_size": size}}]})
    return text.encode().ljust(_TRITON_HEAD)


_TRITON_HEAD = 160

RAY_SERVE = Server(
    "Ray Serve",
    path="/classify",
    environment="ray_serve",
    package="ray",
    settings="waits 10 ms; 128 requests at once",
)

OURS_GRPC, OURS_REST = "ours, gRPC", "ours, REST"

SERVERS = (
    Server(OURS_GRPC, path=""),
    Server(
        OURS_REST,
        path=f"/v1/models/{settings.MODEL_NAME}:predict",
        body=_to_rest,
        answer=lambda body: _flat(json.loads(body)["predictions"][0]),
        headers=JSON,
    ),
    Server(
        "LitServe",
        path="/predict",
        environment="litserve",
        package="litserve",
        settings="waits 10 ms",
    ),
    Server(
        "MLServer",
        path="/v2/models/inception/infer",
        body=_to_mlserver,
        answer=_v2,
        headers=JSON,
        environment="mlserver",
        command=("mlserver", "start", "."),
        package="mlserver",
        settings="waits 10 ms",
    ),
    Server(
        "BentoML",
        path="/classify",
        body=lambda photo: json.dumps({"photos": [_base64(photo)]}).encode(),
        answer=lambda body: _flat(json.loads(body)[0]),
        headers=JSON,
        environment="bentoml",
        command=("bentoml", "serve", "server:Classifier"),
        package="bentoml",
        settings="waits as it learns to",
    ),
    RAY_SERVE,
    # As its documentation has it since 2.56: HAProxy, which comes as a package, is in front.
    replace(
        RAY_SERVE,
        name="Ray Serve, HAProxy",
        settings="high throughput: HAProxy in front; waits 10 ms",
        variables={"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"},
    ),
    Server(
        "Triton",
        path="/v2/models/inception/infer",
        body=_to_triton,
        answer=_v2,
        headers={
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(_TRITON_HEAD),
        },
        environment="triton",
        package="nvidia-pytriton",
        settings="waits 10 ms",
    ),
)
