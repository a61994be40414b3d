"""Clients written in Go: grpcurl (through reflection) and ghz.

`pytest tests/model_server/go_clients.py` runs them. A plain `pytest` doesn't collect this file,
because it needs Go and, once, the network to build the tools: asked for by name, a test either runs
or fails with the next step.
"""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

from running import Server

from benchmarks.go_tools import build


def body(photo: bytes) -> str:
    images = {
        "dtype": "DT_STRING",
        "tensorShape": {"dim": [{"size": 1}]},
        "stringVal": [base64.b64encode(photo).decode()],
    }
    spec = {"name": "photos", "signatureName": "predict_images"}
    return json.dumps({"modelSpec": spec, "inputs": {"images": images}})


def grpcurl(server: Server, *what: str, given: str = "") -> str:
    data = ["-d", "@"] if given else []
    return subprocess.run(
        [build("grpcurl"), "-plaintext", *data, f"127.0.0.1:{server.port}", *what],
        input=given, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def test_grpcurl_lists_the_services(server: Server) -> None:
    assert "tensorflow.serving.PredictionService" in grpcurl(server, "list").splitlines()


def test_grpcurl_describes_a_message_that_it_was_never_given(server: Server) -> None:
    assert "map<string, .tensorflow.TensorProto> inputs" in grpcurl(
        server, "describe", "tensorflow.serving.PredictRequest"
    )


def test_grpcurl_classifies_a_photo(server: Server, photo: bytes) -> None:
    answer = grpcurl(server, "tensorflow.serving.PredictionService/Predict", given=body(photo))
    classes = json.loads(answer)["outputs"]["classes"]["string_val"]
    assert [base64.b64decode(name) for name in classes] == [b"red", b"green", b"blue"]


def test_grpcurl_asks_for_health(server: Server) -> None:
    assert json.loads(grpcurl(server, "grpc.health.v1.Health/Check")) == {"status": "SERVING"}


def test_ghz_gets_an_answer_to_every_request(server: Server, photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text(body(photo))
    report = subprocess.run(
        [
            build("ghz"), "--insecure", "--call", "tensorflow.serving.PredictionService/Predict",
            "--data-file", tmp_path / "body.json", "--total", "500", "--concurrency", "16",
            "--connections", "4", "--format", "json", f"127.0.0.1:{server.port}",
        ],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert json.loads(report)["statusCodeDistribution"] == {"OK": 500}
