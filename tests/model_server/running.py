"""A model server in a process of its own, and how these tests talk to it."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from helpers.client import protos

ROOT = Path(__file__).resolve().parents[2]
START_S = 90  # loading takes 2 s; the machine may be busy


with protos._stand_in_for_tensorflow():
    classification_pb2 = importlib.import_module("tensorflow_serving.apis.classification_pb2")
    get_model_metadata_pb2 = protos.get_model_metadata_pb2
    get_model_status_pb2 = protos.get_model_status_pb2
    inference_pb2 = importlib.import_module("tensorflow_serving.apis.inference_pb2")
    model_management_pb2 = importlib.import_module("tensorflow_serving.apis.model_management_pb2")
    prediction_log_pb2 = importlib.import_module("tensorflow_serving.apis.prediction_log_pb2")
    regression_pb2 = importlib.import_module("tensorflow_serving.apis.regression_pb2")
    predict_pb2 = protos.predict_pb2
    tensor_pb2 = protos.tensor_pb2
    types_pb2 = protos.types_pb2
    model_service_grpc = importlib.import_module("tensorflow_serving.apis.model_service_pb2_grpc")
    prediction_service_grpc = importlib.import_module(
        "tensorflow_serving.apis.prediction_service_pb2_grpc"
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`python -m helpers.model_server FLAGS`, started; `stop()` sends SIGTERM."""

    def __init__(
        self, log: Path, *flags: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.port, self.rest_port = free_port(), free_port()
        self.log_path = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "helpers.model_server", f"--port={self.port}",
                    f"--rest_api_port={self.rest_port}", *flags,
                ],
                cwd=ROOT, stdout=file, stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{self.port}", options=[("grpc.max_receive_message_length", -1)]
        )
        self.prediction = prediction_service_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_grpc.ModelServiceStub(self.channel)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_until_ready(self) -> Server:
        """Both ports open, REST last."""
        until(lambda: self.process.poll() is not None or listens(self.rest_port), START_S)
        assert self.process.poll() is None, self.log
        return self

    def wait(self) -> int:
        return self.process.wait(START_S)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.channel.close()

    def predict(self, request: Any, *, timeout_s: float = 60) -> Any:
        return self.prediction.Predict(request, timeout=timeout_s)

    def states(self, name: str) -> dict[int, str]:
        """Version to state, by GetModelStatus; empty where the model isn't known."""
        try:
            response = self.status(name)
        except grpc.RpcError:
            return {}
        enum = get_model_status_pb2.ModelVersionStatus.State
        return {v.version: enum.Name(v.state) for v in response.model_version_status}

    def status(self, name: str) -> Any:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        return self.model.GetModelStatus(request, timeout=30)

    def http(
        self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None,
        method: str | None = None,
    ) -> tuple[int, Any]:  # fmt: skip
        """The HTTP status and the body, parsed where it is JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.rest_port}{path}", data, headers or {}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                status, text, kind = response.status, response.read(), response.headers
        except urllib.error.HTTPError as error:
            status, text, kind = error.code, error.read(), error.headers
        if kind.get("Content-Type") == "application/json" and text:
            return status, json.loads(text)
        return status, text.decode(errors="replace")


@contextlib.contextmanager
def serving(log: Path, *flags: str, **settings: Any) -> Iterator[Server]:
    """A server that is ready, and stopped in the end."""
    server = Server(log, *flags, **settings)
    try:
        yield server.wait_until_ready()
    finally:
        server.stop()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Any, timeout_s: float = 60) -> None:
    """Wait for a condition, in small steps."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it didn't happen"
        time.sleep(0.02)


def tensor(values: Any, dtype: Any = None) -> Any:
    """A TensorProto from numbers, strings or bytes, made the plain way."""
    array = np.asarray(values, dtype)
    proto = tensor_pb2.TensorProto()
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if array.dtype.kind in "SUO":
        proto.dtype = types_pb2.DT_STRING
        proto.string_val.extend(
            v if isinstance(v, bytes) else str(v).encode() for v in np.asarray(values, object).flat
        )
    else:
        names = {"float32": "FLOAT", "float64": "DOUBLE"}
        name = names.get(array.dtype.name, array.dtype.name.upper())
        proto.dtype = types_pb2.DataType.Value(f"DT_{name}")
        proto.tensor_content = array.tobytes()
    return proto


def request(
    model: str, inputs: Mapping[str, Any], *, signature: str = "", version: int | None = None,
    label: str = "", outputs: Sequence[str] = (),
) -> Any:  # fmt: skip
    """A PredictRequest; values that aren't TensorProtos are made into some."""
    made = predict_pb2.PredictRequest(output_filter=outputs)
    made.model_spec.name = model
    made.model_spec.signature_name = signature
    if version is not None:
        made.model_spec.version.value = version
    if label:
        made.model_spec.version_label = label
    for name, value in inputs.items():
        proto = value if isinstance(value, tensor_pb2.TensorProto) else tensor(value)
        made.inputs[name].CopyFrom(proto)
    return made


def photo_request(*photos: bytes, **settings: Any) -> Any:
    values = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=photos)
    values.tensor_shape.dim.add(size=len(photos))
    return request("photos", {"images": values}, signature="predict_images", **settings)


def examples(*features: Mapping[str, Any]) -> list[Any]:
    """tf.Examples with one value a feature."""
    with protos._stand_in_for_tensorflow():
        example_pb2 = importlib.import_module("tensorflow.core.example.example_pb2")
    made = []
    for each in features:
        example = example_pb2.Example()
        for name, value in each.items():
            feature = example.features.feature[name]
            if isinstance(value, bytes):
                feature.bytes_list.value.append(value)
            else:
                feature.float_list.value.append(value)
        made.append(example)
    return made


def refusal(call: Any, *arguments: Any) -> tuple[str, str]:
    """The code and the message that a call is refused with."""
    try:
        call(*arguments, timeout=60)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError("it was answered")


def config_file(path: Path, models: Mapping[str, Path], **further: str) -> Path:
    """A ModelServerConfig file; `further` holds text for a model's block."""
    blocks = "".join(
        f'  config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" '
        f"{further.get(name, '')} }}\n"
        for name, base in models.items()
    )
    path.write_text(f"model_config_list {{\n{blocks}}}\n")
    return path


def masked_crc32c(data: bytes) -> int:
    """The checksum of a TFRecord (lib/hash/crc32c.h): CRC-32C, rotated, plus a constant."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
