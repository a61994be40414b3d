"""Whatever comes in gets a code; the server stays up, others are answered, memory comes back."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from running import (
    Server,
    classification_pb2,
    photo_request,
    refusal,
    request,
    tensor_pb2,
    types_pb2,
)

INVALID = "INVALID_ARGUMENT"
# Of a request whose body comes slowly, or not at all.
HEAD = b"POST /v1/models/half:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n"
fuzz = settings(
    max_examples=150,
    deadline=None,  # the machine may be busy
    derandomize=True,  # CI sees what a developer sees
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

dimensions = st.one_of(
    st.integers(0, 4), st.sampled_from([-1, -(2**63), 2**31, 2**40, 2**62, 2**63 - 1])
)


@st.composite
def tensors(draw: st.DrawFn) -> tensor_pb2.TensorProto:
    """TensorProtos whose type, shape and values rarely belong together."""
    proto = tensor_pb2.TensorProto(dtype=draw(st.sampled_from(types_pb2.DataType.values())))
    for size in draw(st.lists(dimensions, max_size=5)):
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_shape.unknown_rank = draw(st.booleans()) and draw(st.booleans())
    fields = {
        "tensor_content": st.binary(max_size=64),
        "string_val": st.lists(st.binary(max_size=16), max_size=4),
        "float_val": st.lists(st.floats(width=32), max_size=4),
        "double_val": st.lists(st.floats(), max_size=4),
        "int_val": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
        "int64_val": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
        "half_val": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
        "scomplex_val": st.lists(st.floats(width=32), max_size=5),
        "bool_val": st.lists(st.booleans(), max_size=4),
    }
    for name in draw(st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=3)):
        value = draw(fields[name])
        if name == "tensor_content":
            proto.tensor_content = value
        else:
            getattr(proto, name).extend(value)
    return proto


@pytest.fixture(scope="module", autouse=True)
def others(server: Server, photo: bytes) -> Iterator[None]:
    """Somebody else who sends good requests all the while, over both protocols, and is answered."""
    failures: list[BaseException] = []
    answers = 0
    stop = threading.Event()

    def send() -> None:
        nonlocal answers
        while not stop.wait(0.05) and not failures:
            try:
                answered(server, photo)
                body = {"instances": [[4.0]]}
                assert server.http("/v1/models/half:predict", body) == (
                    200,
                    {"predictions": [[5.0]]},
                )
            except Exception as error:
                failures.append(error)
            answers += 1

    sender = threading.Thread(target=send)
    sender.start()
    yield
    stop.set()
    sender.join()
    assert failures == []
    assert answers > 0
    assert server.process.poll() is None


def answered(server: Server, photo: bytes) -> None:
    """A good request is, which is the point of it all."""
    outputs = server.predict(photo_request(photo)).outputs
    assert list(outputs["classes"].string_val) == [b"red", b"green", b"blue"]


def code(call: Any, sent: Any) -> str:
    try:
        call(sent, timeout=60)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


# UNAVAILABLE and UNKNOWN would be a server that fell over or did not understand its own error.
CODES = {"OK", INVALID, "FAILED_PRECONDITION", "UNIMPLEMENTED"}


@fuzz
@given(sent=tensors(), signature=st.sampled_from(["float32", "string", "int8", "float16", "bool"]))
def test_a_tensor_of_any_kind_gets_a_code(
    server: Server, sent: tensor_pb2.TensorProto, signature: str
) -> None:
    made = request("identities", {"x": sent}, signature=signature)
    assert code(server.prediction.Predict, made) in CODES


@fuzz
@given(sent=tensors())
def test_a_tensor_of_any_kind_in_place_of_photos_disturbs_no_one(
    server: Server, photo: bytes, sent: tensor_pb2.TensorProto
) -> None:
    beside = server.prediction.Predict.future(photo_request(photo), timeout=60)
    made = request("photos", {"images": sent}, signature="predict_images")
    assert code(server.prediction.Predict, made) in CODES
    assert beside.result().outputs["classes"].string_val[0] == b"red"


@fuzz
@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
def test_bytes_in_place_of_a_message_get_a_code(
    server: Server, photo: bytes, data: bytes, cut: int
) -> None:
    call = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert code(call, data) in {*CODES, "INTERNAL", "NOT_FOUND"}
    truncated = photo_request(photo).SerializeToString()[:cut]
    assert code(call, truncated) in {*CODES, "INTERNAL", "NOT_FOUND"}


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
        st.just({"b64": "AAAA"}), st.just({"b64": "%"}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["x", "images", "b64", "a"]), inner, max_size=2),
    ),
    max_leaves=8,
)  # fmt: skip


@fuzz
@given(
    body=st.dictionaries(
        st.sampled_from(["instances", "inputs", "examples", "context", "signature_name"]),
        st.one_of(json_values, st.sampled_from(["float32", "two", "predict_images", "classify"])),
        max_size=3,
    ),
    model=st.sampled_from(["half", "photos", "slow", "identities"]),
    method=st.sampled_from(["predict", "classify", "regress"]),
)
def test_json_of_any_kind_gets_a_status(server: Server, body: Any, model: str, method: str) -> None:
    status, answer = server.http(f"/v1/models/{model}:{method}", body)
    assert status in (200, 400, 501), answer


@fuzz
@given(body=st.binary(max_size=100))
def test_bytes_in_place_of_json_are_a_bad_request(server: Server, body: bytes) -> None:
    assert server.http("/v1/models/half:predict", body or b" ")[0] == 400


def jpeg(mode: str, size: tuple[int, int] = (40, 30), kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, "red" if mode != "L" else 100).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["grey", "CMYK", "PNG", "large"])
def test_other_kinds_of_photos_are_photos_too(server: Server, kind: str) -> None:
    made = {
        "grey": lambda: jpeg("L"),
        "CMYK": lambda: jpeg("CMYK"),
        "PNG": lambda: jpeg("RGB", kind="PNG"),
        "large": lambda: jpeg("RGB", (8000, 5000)),  # 40 megapixels
    }[kind]()
    assert len(server.predict(photo_request(made)).outputs["scores"].float_val) == 3


def test_a_truncated_photo_is_refused(server: Server) -> None:
    assert refusal(server.prediction.Predict, photo_request(jpeg("RGB")[:300]))[0] == INVALID


def test_examples_that_hold_no_photo_are_refused(server: Server) -> None:
    made = classification_pb2.ClassificationRequest()
    made.model_spec.name = "photos"
    made.input.example_list.examples.add()
    assert refusal(server.prediction.Classify, made)[0] == INVALID


def test_connections_that_hang_or_close_halfway_disturb_no_one(
    server: Server, photo: bytes
) -> None:
    opened = []
    beginnings = [
        (server.rest_port, HEAD + b"{"), (server.rest_port, b"GET /v1"), (server.port, b"xyz"),
        (server.port, b"PRI * HTTP/2.0\r\n\r\n"),
    ]  # fmt: skip
    for port, sent in beginnings:
        for _ in range(10):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            opened.append(connection)
            slow = socket.create_connection(("127.0.0.1", port))
            slow.sendall(sent[:3])
            opened.append(slow)
    answered(server, photo)
    assert server.http("/v1/models/half:predict", {"instances": [[4.0]]})[0] == 200
    for connection in opened:
        connection.close()


def test_clients_that_go_away_leave_nothing_running(server: Server, photo: bytes) -> None:
    for _ in range(20):
        future = server.prediction.Predict.future(photo_request(photo))
        future.cancel()
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port)
        connection.request("POST", "/v1/models/half:predict", json.dumps({"instances": [[4.0]]}))
        connection.close()
    answered(server, photo)


def test_the_length_of_a_string_has_at_most_64_bits(server: Server) -> None:
    """A length without an end would keep the event loop busy for minutes."""
    endless = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_content=b"\xff" * 5_000_000)
    endless.tensor_shape.dim.add(size=1)
    sent = request("photos", {"images": endless}, signature="predict_images")
    with pytest.raises(grpc.RpcError) as caught:
        server.prediction.Predict(sent, timeout=10)
    assert (caught.value.code().name, caught.value.details()) == (
        INVALID, "tensor parsing error: images",
    )  # fmt: skip


def test_memory_returns_to_where_it_was(server: Server, photo: bytes) -> None:
    process = psutil.Process(server.process.pid)
    call = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")

    # 2**27 floats of which one was sent would take 512 MB.
    few = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1.0])
    few.tensor_shape.dim.add(size=2**27)
    huge = request("identities", {"x": few}, signature="float32")

    def bad(count: int) -> None:
        large = os.urandom(1 << 20)
        for _ in range(count):
            code(server.prediction.Predict, photo_request(large))
            code(call, large)
            server.http("/v1/models/half:predict", large)
            code(server.prediction.Predict, request("n" * 1000, {}))
            code(server.prediction.Predict, huge)
            with socket.create_connection(("127.0.0.1", server.rest_port)) as halfway:
                halfway.sendall(HEAD + large[:1000])

    # Allocators keep some of what they once had; what leaks grows without end. A round is 90 MB
    # of requests, so a leak of one copy in ten would show.
    for _ in range(10):
        before = process.memory_info().rss
        bad(30)
        if process.memory_info().rss - before < 9 << 20:
            break
    else:
        pytest.fail("each round of bad requests takes more memory")
    answered(server, photo)
