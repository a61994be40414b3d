"""Predict, Classify, Regress and MultiInference: values in, values out."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from running import (
    Server,
    classification_pb2,
    examples,
    inference_pb2,
    photo_request,
    refusal,
    regression_pb2,
    request,
    tensor,
    tensor_pb2,
    types_pb2,
)

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def test_a_photo_comes_back_as_classes_and_scores(server: Server, photo: bytes) -> None:
    outputs = server.predict(photo_request(photo)).outputs
    assert list(outputs["classes"].string_val) == [b"red", b"green", b"blue"]
    # JPEG rounds colours by a few of 255.
    assert pytest.approx(list(outputs["scores"].float_val), abs=3) == [200, 100, 50]


def test_the_answer_names_model_version_and_signature(server: Server, photo: bytes) -> None:
    spec = server.predict(photo_request(photo)).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("photos", 1, "predict_images")


def test_an_output_filter_leaves_the_other_outputs_out(server: Server, photo: bytes) -> None:
    assert list(server.predict(photo_request(photo, outputs=["scores"])).outputs) == ["scores"]


VALUES: list[tuple[str, str, list[Any]]] = [
    ("float32", "float_val", [1.5, -math.inf, 3e38]),
    ("float64", "double_val", [1.5, math.inf, 1e300]),
    ("int32", "int_val", [1, -(2**31), 2**31 - 1]),
    ("uint8", "int_val", [0, 128, 255]),
    ("int16", "int_val", [0, -(2**15), 2**15 - 1]),
    ("int8", "int_val", [0, -128, 127]),
    ("string", "string_val", [b"", b"\xff\x00", "ä".encode()]),
    ("complex64", "scomplex_val", [1.5, -2.0, 0.0, 1.0, 2.0, 3.0]),
    ("complex128", "dcomplex_val", [1.5, -2.0, 0.0, 1.0, 2.0, 3.0]),
    ("int64", "int64_val", [0, -(2**63), 2**63 - 1]),
    ("bool", "bool_val", [True, False, True]),
    ("bfloat16", "half_val", np.array([1.5, -2, 3], ml_dtypes.bfloat16).view("u2").tolist()),
    ("uint16", "int_val", [0, 1, 2**16 - 1]),
    ("float16", "half_val", np.array([1.5, -2, 3], "f2").view("u2").tolist()),
    ("uint32", "uint32_val", [0, 1, 2**32 - 1]),
    ("uint64", "uint64_val", [0, 1, 2**64 - 1]),
]
ENUM = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "HALF"}


def typed(dtype: str, field: str, values: list[Any], *shape: int) -> Any:
    enum = types_pb2.DataType.Value(f"DT_{ENUM.get(dtype, dtype.upper())}")
    proto = tensor_pb2.TensorProto(dtype=enum, **{field: values})
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(("dtype", "field", "values"), VALUES, ids=[v[0] for v in VALUES])
def test_every_dtype_goes_through_in_its_typed_field(
    server: Server, dtype: str, field: str, values: list[Any]
) -> None:
    sent = typed(dtype, field, values, 3)
    assert sent == server.predict(request("identities", {"x": sent}, signature=dtype)).outputs["y"]


@pytest.mark.parametrize(("dtype", "field", "values"), VALUES, ids=[v[0] for v in VALUES])
def test_every_dtype_is_read_from_tensor_content(
    server: Server, dtype: str, field: str, values: list[Any]
) -> None:
    expected = typed(dtype, field, values, 3)
    sent = typed(dtype, field, [], 3)
    if dtype == "string":
        sent.tensor_content = bytes(len(v) for v in values) + b"".join(values)
    elif field == "half_val":
        sent.tensor_content = np.array(values, "u2").tobytes()
    elif dtype.startswith("complex"):
        sent.tensor_content = np.array(values, "f4" if dtype == "complex64" else "f8").tobytes()
    else:
        sent.tensor_content = np.array(values, dtype).tobytes()
    answer = server.predict(request("identities", {"x": sent}, signature=dtype))
    assert expected == answer.outputs["y"]


def test_missing_values_repeat_the_last_one(server: Server) -> None:
    sent = typed("int32", "int_val", [1, 2], 2, 2)
    outputs = server.predict(request("identities", {"x": sent}, signature="int32")).outputs
    assert list(outputs["y"].int_val) == [1, 2, 2, 2]


def test_no_values_are_zeros(server: Server) -> None:
    sent = typed("float32", "float_val", [], 3)
    outputs = server.predict(request("identities", {"x": sent}, signature="float32")).outputs
    assert list(outputs["y"].float_val) == [0, 0, 0]


def test_a_large_tensor_keeps_its_shape_and_values(server: Server) -> None:
    sent = np.arange(4 * 299 * 299 * 3, dtype=np.float32).reshape(4, 299, 299, 3)
    outputs = server.predict(request("identities", {"x": sent}, signature="float32")).outputs
    assert [dim.size for dim in outputs["y"].tensor_shape.dim] == [4, 299, 299, 3]
    assert sent.ravel().tolist() == list(outputs["y"].float_val)


@pytest.mark.parametrize(("version", "expected"), [(1, 3.0), (2, 4.0), (3, 5.0), (None, 5.0)])
def test_a_version_is_chosen_by_number_and_the_newest_otherwise(
    server: Server, version: int | None, expected: float
) -> None:
    sent = request("half", {"x": tensor([[4.0]], "float32")}, version=version)
    assert [expected] == list(server.predict(sent).outputs["y"].float_val)


@pytest.mark.parametrize(("label", "version"), [("stable", 1), ("canary", 3)])
def test_a_version_is_chosen_by_label(server: Server, label: str, version: int) -> None:
    sent = request("half", {"x": tensor([[4.0]], "float32")}, label=label)
    assert version == server.predict(sent).model_spec.version.value


def test_tables_and_assets_of_tensorflow_1_work(server: Server) -> None:
    sent = request("half", {"words": [b"two", b"zero"]}, signature="lookup")
    assert list(server.predict(sent).outputs["numbers"].int64_val) == [2, 0]


def test_a_model_of_keras_3_works(server: Server) -> None:
    # The input's name comes from a counter in Keras: ask for it.
    _, metadata = server.http("/v1/models/keras/metadata")
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    (name,) = signatures["serving_default"]["inputs"]
    answer = server.predict(request("keras", {name: tensor([[1.0, 2.0]], "float32")}))
    assert list(next(iter(answer.outputs.values())).float_val) == [8.0]


def asked(kind: Any, signature: str, *values: float, context: float | None = None) -> Any:
    made = kind()
    made.model_spec.name, made.model_spec.signature_name = "half", signature
    if context is None:
        made.input.example_list.examples.extend(examples(*({"x": v} for v in values)))
    else:
        made.input.example_list_with_context.context.CopyFrom(examples({"x": context})[0])
        made.input.example_list_with_context.examples.extend(examples(*({} for _ in values)))
    return made


def test_regress_gives_a_number_an_example(server: Server) -> None:
    response = server.prediction.Regress(
        asked(regression_pb2.RegressionRequest, "regress", 4.0, 6.0), timeout=60
    )
    assert [one.value for one in response.result.regressions] == [5.0, 6.0]


def test_the_context_is_part_of_every_example(server: Server) -> None:
    response = server.prediction.Regress(
        asked(regression_pb2.RegressionRequest, "regress", 0, 0, context=2.0), timeout=60
    )
    assert [one.value for one in response.result.regressions] == [4.0, 4.0]


def test_classify_gives_labels_and_scores_an_example(server: Server) -> None:
    response = server.prediction.Classify(
        asked(classification_pb2.ClassificationRequest, "classify", 4.0, 6.0), timeout=60
    )
    found = [[(c.label, c.score) for c in one.classes] for one in response.result.classifications]
    assert found == [[("half", 5.0)], [("half", 6.0)]]


def test_classify_works_for_a_signature_of_tensorflow_2(server: Server, photo: bytes) -> None:
    made = classification_pb2.ClassificationRequest()
    made.model_spec.name = "photos"
    made.input.example_list.examples.extend(examples({"image/encoded": photo}))
    classes = server.prediction.Classify(made, timeout=60).result.classifications[0].classes
    assert [one.label for one in classes] == ["red", "green", "blue"]


def test_regress_of_a_predict_signature_is_refused(server: Server) -> None:
    made = asked(regression_pb2.RegressionRequest, "serving_default", 1.0)
    code, message = refusal(server.prediction.Regress, made)
    assert (code, "No regression inputs found" in message) == ("FAILED_PRECONDITION", True)


def multi(*tasks: tuple[str, str]) -> Any:
    made = inference_pb2.MultiInferenceRequest()
    for signature, method in tasks:
        task = made.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = "half", signature
    made.input.example_list.examples.extend(examples({"x": 4.0}))
    return made


def test_multi_inference_answers_all_tasks_with_one_input(server: Server) -> None:
    response = server.prediction.MultiInference(
        multi(("classify", CLASSIFY), ("regress", REGRESS)), timeout=60
    )
    first, second = response.results
    assert first.classification_result.classifications[0].classes[0].score == 5.0
    assert second.regression_result.regressions[0].value == 5.0


def test_multi_inference_feeds_each_signatures_input_tensor_with_the_same_examples(
    server: Server,
) -> None:
    # TensorFlow 2 gives each signature an input tensor of its own.
    made = multi(("classify", CLASSIFY), ("regress", REGRESS))
    for task in made.tasks:
        task.model_spec.name = "examples"
    made.input.example_list.examples.extend(examples({"x": 6.0}))
    first, second = server.prediction.MultiInference(made, timeout=60).results
    scores = [one.classes[0].score for one in first.classification_result.classifications]
    assert scores == [3.0, 4.0]
    assert [one.value for one in second.regression_result.regressions] == [4.0, 5.0]


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        ([("regress", REGRESS)] * 2, "INVALID_ARGUMENT",
         "Duplicate evaluation of signature: regress"),
        ([("regress", "tensorflow/serving/predict")], "UNIMPLEMENTED",
         "Unsupported signature method_name: tensorflow/serving/predict"),
        ([("guess", REGRESS)], "INVALID_ARGUMENT",
         "Requested signature not found in model graph: guess"),
    ],
)  # fmt: skip
def test_multi_inference_refuses_as_the_original_does(
    server: Server, tasks: list[tuple[str, str]], code: str, message: str
) -> None:
    assert (code, message) == refusal(server.prediction.MultiInference, multi(*tasks))
