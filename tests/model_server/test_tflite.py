"""TensorFlow Lite models: requests go by the signatures in their metadata (tflite_session.cc)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from running import (
    Server,
    config_file,
    get_model_metadata_pb2,
    refusal,
    request,
    serving,
    tensor,
    until,
)


def test_tflite_is_preferred_where_asked(models: Path, tmp_path: Path) -> None:
    config = config_file(
        tmp_path / "config", {"tflite": models / "tflite"}, tflite="model_version_policy { all {} }"
    )
    flags = [f"--model_config_file={config}", "--enable_batching", "--prefer_tflite_model"]
    value = tensor([[1.0, 2.0], [3.0, 4.0]], "float32")
    tripled = [3.0, 6.0, 9.0, 12.0]
    with serving(tmp_path / "log", *flags) as running:
        until(lambda: running.states("tflite") == {1: "AVAILABLE", 2: "AVAILABLE"})
        # The first version has signatures in its metadata, by which requests go.
        sent = request("tflite", {"x": value}, version=1)
        assert list(running.predict(sent).outputs["y"].float_val) == tripled
        other = request("tflite", {"number": value}, version=1, signature="tripled")
        assert list(running.predict(other).outputs["product"].float_val) == tripled
        # The second has none: it gets one, whose aliases are the names of its tensors.
        (alias,) = signature_of(running, "tflite", 2).inputs
        assert alias == "serving_default_x"  # without its ":0"
        answer = running.predict(request("tflite", {alias: value}, version=2))
        assert [list(output.float_val) for output in answer.outputs.values()] == [tripled]
        assert "No signature def found in TFLite model. Generating one." in running.log
        wrong = request("tflite", {"x": tensor([[1.0]], "float64")}, version=1)
        assert refusal(running.prediction.Predict, wrong)[0] == "INVALID_ARGUMENT"
        assert list(running.predict(sent).outputs["y"].float_val) == tripled


def signature_of(server: Server, name: str, version: int) -> Any:
    """A model's signature `serving_default`, by GetModelMetadata."""
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name, asked.model_spec.version.value = name, version
    held = server.prediction.GetModelMetadata(asked, timeout=60).metadata["signature_def"]
    signatures = get_model_metadata_pb2.SignatureDefMap()
    held.Unpack(signatures)
    return signatures.signature_def["serving_default"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"number", b"\xff\xff\xff\xff\xff\xff", "Invalid SignatureDefs found in TfLite model"),
        (
            b"serving_default_x:0\x10",
            b"serving_default_z:0\x10",
            "Unknown tensor 'serving_default_",
        ),
    ],
)
def test_a_tflite_model_with_damaged_signatures_is_not_served(
    models: Path, tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    version = tmp_path / "tflite" / "1"
    version.mkdir(parents=True)
    whole = (models / "tflite" / "1" / "model.tflite").read_bytes()
    assert old in whole
    (version / "model.tflite").write_bytes(whole.replace(old, new))
    server = Server(
        tmp_path / "log", "--model_name=tflite", f"--model_base_path={version.parent}",
        "--prefer_tflite_model", "--max_num_load_retries=0",
    )  # fmt: skip
    assert server.wait() == 255
    assert message in server.log
