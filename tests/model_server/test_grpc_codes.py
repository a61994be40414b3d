"""The original's codes and messages (reference/tensorflow-serving.md, section 6)."""

from __future__ import annotations

import grpc
import pytest
from running import (
    Server,
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    photo_request,
    predict_pb2,
    refusal,
    request,
    tensor,
    tensor_pb2,
    types_pb2,
)

INVALID, NOT_FOUND = "INVALID_ARGUMENT", "NOT_FOUND"


def named(name: str) -> predict_pb2.PredictRequest:
    return request(name, {})


def huge() -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[b""])
    proto.tensor_shape.dim.add(size=2**40)
    return proto


@pytest.mark.parametrize(
    ("sent", "code", "message"),
    [
        pytest.param(predict_pb2.PredictRequest(), INVALID, "Missing ModelSpec", id="no spec"),
        pytest.param(named(""), INVALID, "ModelSpec has no name specified.", id="no name"),
        pytest.param(
            named("nobody"), NOT_FOUND, "Servable not found for request: Latest(nobody)",
            id="unknown model",
        ),
        pytest.param(
            request("photos", {}, version=7), NOT_FOUND,
            "Servable not found for request: Specific(photos, 7)", id="unknown version",
        ),
        pytest.param(
            request("photos", {}, label="newest"), INVALID,
            "Unrecognized servable version label: newest", id="unknown label",
        ),
        pytest.param(
            request("photos", {}, signature="guess"), "FAILED_PRECONDITION",
            'Serving signature key "guess" not found.', id="unknown signature",
        ),
        pytest.param(
            request("photos", {}, signature="predict_images"), INVALID,
            "input size does not match signature: 0!=1 len({}) != len({images}). Sent extra: {}. "
            "Missing but required: {images}.", id="input missing",
        ),
        pytest.param(
            request("photos", {"images": b"", "more": b""}, signature="predict_images"), INVALID,
            "input size does not match signature: 2!=1 len({images,more}) != len({images}). Sent "
            "extra: {more}. Missing but required: {}.", id="input too many",
        ),
        pytest.param(
            request("photos", {"picture": b""}, signature="predict_images"), INVALID,
            "Signature input alias: images(feed name: predict_images_images:0) not found in "
            "request and no default value provided. Inputs expected to be in the request "
            "{picture}, or default input alias set: ", id="input misnamed",
        ),
        pytest.param(
            request("photos", {"images": huge()}, signature="predict_images"), INVALID,
            "tensor parsing error: images", id="shape without values",
        ),
        pytest.param(
            photo_request(b"", outputs=["colours"]), INVALID,
            "output tensor alias not found in signature: colours Outputs expected to be in the set "
            "{classes,scores}.", id="unknown output",
        ),
        pytest.param(
            photo_request(b"", outputs=["scores", "scores"]), INVALID,
            "duplicate output tensor alias: scores", id="output twice",
        ),
        pytest.param(
            request("photos", {"images": tensor([1.5], "float32")}, signature="predict_images"),
            INVALID, "Expects arg[0] to be string but float is provided", id="wrong dtype",
        ),
        pytest.param(
            request("photos", {"images": b"scalar"}, signature="predict_images"), INVALID,
            "Batching Run() input tensors must have at least one dimension", id="rank 0",
        ),
        pytest.param(
            request("slow", {"a": [1.0, 2.0], "b": [1.0]}, signature="two"), INVALID,
            "Expects arg[0] to be float but double is provided", id="wrong dtype, double",
        ),
        pytest.param(
            request("slow", {"a": tensor([1, 2], "float32"), "b": tensor([1], "float32")},
                    signature="two"), INVALID,
            "Batching Run() input tensors must have equal 0th-dimension size", id="unequal rows",
        ),
        pytest.param(
            photo_request(*[b""] * 9), INVALID,
            "Task size 9 is larger than maximum batch size 8", id="too many rows",
        ),
        pytest.param(
            request("slow", {"a": tensor([1], "float32"), "b": tensor([1], "float32")},
                    signature="two", outputs=["scalar"]), "FAILED_PRECONDITION",
            "Batched output tensor has 0 dimensions", id="output without rows",
        ),
        pytest.param(
            request("slow", {"a": tensor([1, 2], "float32"), "b": tensor([1, 2], "float32")},
                    signature="two", outputs=["row"]), "FAILED_PRECONDITION",
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension "
            "sizes of the input tensors", id="output of other rows",
        ),
    ],
)  # fmt: skip
def test_predict_refuses_as_the_original_does(
    server: Server, sent: predict_pb2.PredictRequest, code: str, message: str
) -> None:
    assert (code, message) == refusal(server.prediction.Predict, sent)


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (b"a text file", "Unknown image file format. One of JPEG,"),
        (b"", "Input is empty."),
        (b"\xff\xd8\xff\xe0 no more than a beginning", "Invalid JPEG"),
    ],
)
def test_what_is_no_photo_is_refused_with_tensorflows_message(
    server: Server, photo: bytes, message: str
) -> None:
    code, text = refusal(server.prediction.Predict, photo_request(photo))
    assert (code, message in text) == (INVALID, True), text


def test_an_empty_batch_gets_what_the_graph_makes_of_it(server: Server) -> None:
    outputs = server.predict(photo_request()).outputs
    assert [dim.size for dim in outputs["scores"].tensor_shape.dim] == [0, 3]


def test_a_message_that_is_no_request_is_refused(server: Server) -> None:
    call = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    code, message = refusal(call, b"\xff\xff\xff")
    assert (code, message.startswith("Failed to parse PredictRequest")) == ("INTERNAL", True)


def test_a_long_message_is_cut_to_1024_characters(server: Server) -> None:
    _, message = refusal(server.prediction.Predict, named("n" * 2000))
    assert (len(message), message.endswith("...TRUNCATED")) == (1024, True)


def test_a_method_that_does_not_exist_is_unimplemented(server: Server) -> None:
    call = server.channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
    assert refusal(call, b"")[0] == "UNIMPLEMENTED"


def test_a_deadline_that_passes_is_deadline_exceeded(server: Server) -> None:
    slow = request("slow", {"seconds": tensor([30.0], "float64")}, signature="wait")
    with pytest.raises(grpc.RpcError) as caught:
        server.predict(slow, timeout_s=0.2)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_deadline_stops_the_graph_too(server: Server) -> None:
    """Otherwise two such requests would block both batch threads for good."""
    for _ in range(4):
        with pytest.raises(grpc.RpcError):
            server.predict(
                request("slow", {"seconds": tensor([3600.0], "float64")}, signature="wait"),
                timeout_s=0.1,
            )
    short = request("slow", {"seconds": tensor([0.0], "float64")}, signature="wait")
    assert list(server.predict(short).outputs["seconds"].double_val) == [0.0]


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("nobody", None, "Could not find any versions of model nobody"),
        ("photos", 7, "Could not find version 7 of model photos"),
    ],
)
def test_the_status_of_an_unknown_model_is_not_found(
    server: Server, name: str, version: int | None, message: str
) -> None:
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = name
    if version is not None:
        asked.model_spec.version.value = version
    assert (NOT_FOUND, message) == refusal(server.model.GetModelStatus, asked)


def test_the_status_needs_a_model_spec(server: Server) -> None:
    empty = get_model_status_pb2.GetModelStatusRequest()
    assert refusal(server.model.GetModelStatus, empty) == (INVALID, "Missing ModelSpec")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["weights"], "Metadata field weights is not supported"),
    ],
)
def test_metadata_of_other_fields_is_refused(
    server: Server, fields: list[str], message: str
) -> None:
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    asked.model_spec.name = "photos"
    assert (INVALID, message) == refusal(server.prediction.GetModelMetadata, asked)


def test_metadata_holds_the_signatures(server: Server) -> None:
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "photos"
    response = server.prediction.GetModelMetadata(asked, timeout=30)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    found = signatures.signature_def["predict_images"]
    assert (list(found.inputs), sorted(found.outputs)) == (["images"], ["classes", "scores"])


def test_classify_refuses_an_unknown_signature_with_another_code(server: Server) -> None:
    asked = classification_pb2.ClassificationRequest()
    asked.model_spec.name, asked.model_spec.signature_name = "photos", "guess"
    expected = (INVALID, "No signature was found with the name: guess")
    assert expected == refusal(server.prediction.Classify, asked)


def test_classify_refuses_an_empty_input(server: Server) -> None:
    asked = classification_pb2.ClassificationRequest()
    asked.model_spec.name = "photos"
    assert refusal(server.prediction.Classify, asked) == (INVALID, "Input is empty.")
