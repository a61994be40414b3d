"""The client's parts that need no server: imports, requests, answers, errors in plain words."""

import subprocess
import sys
from typing import NamedTuple

import grpc
import pytest

from helpers import settings
from helpers.client import Classifier, Prediction, addresses, answers, protos, questions, rpc
from helpers.errors import (
    BadRequestError,
    DeadlineError,
    ModelNotFoundError,
    ServerUnavailableError,
    ServingError,
)

PHOTO = b"\xff\xd8a photo\xff\xd9"


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=settings.ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class Status(NamedTuple):
    """A gRPC error as `rpc.explain` sees it."""

    name: str
    message: str

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode[self.name]

    def details(self) -> str:
        return self.message


def explained(code: str, details: str) -> ServingError:
    status = Status(code, details)
    return rpc.explain(status, address="127.0.0.1:8500", model="inception", timeout_s=10)


def response(labels: list[bytes], scores: list[float], shape: tuple[int, int]) -> bytes:
    message = protos.predict_pb2.PredictResponse()
    classes = protos.string_tensor(labels)
    del classes.tensor_shape.dim[:]
    for size in shape:
        classes.tensor_shape.dim.add(size=size)
    message.outputs["classes"].CopyFrom(classes)
    message.outputs["scores"].dtype = protos.types_pb2.DT_FLOAT
    message.outputs["scores"].float_val.extend(scores)
    return message.SerializeToString()


def test_importing_the_client_leaves_tensorflow_out() -> None:
    code = (
        "import helpers.client, sys\n"
        "print({m.split('.')[0] for m in sys.modules} & {'tensorflow', 'keras'})"
    )
    assert run(code) == "set()"


def test_importing_the_client_is_light() -> None:
    # TensorFlow alone is 3000 modules; what the client needs is gRPC, protobuf and the standard
    # library. Counted, since seconds depend on the machine.
    loaded = int(run("import helpers.client, sys; print(len(sys.modules))"))
    assert loaded < 600


def test_messages_are_the_same_classes_when_tensorflow_comes_later() -> None:
    code = (
        "from helpers.client import protos\n"
        "import tensorflow\n"
        "from tensorflow_serving.apis import predict_pb2\n"
        "tensor = tensorflow.make_tensor_proto([b'a'])\n"
        "print(predict_pb2.PredictRequest is protos.predict_pb2.PredictRequest,"
        " type(tensor) is protos.tensor_pb2.TensorProto)"
    )
    assert run(code) == "True True"


def test_a_string_tensor_has_one_element_a_photo() -> None:
    request = protos.predict_request([b"a", b"bc"])
    tensor = request.inputs["images"]
    assert (protos.shape(tensor), list(tensor.string_val)) == ((2,), [b"a", b"bc"])


def test_strings_packed_as_tensor_content_are_read() -> None:
    long = b"x" * 200
    tensor = protos.tensor_pb2.TensorProto(dtype=protos.types_pb2.DT_STRING)
    tensor.tensor_shape.dim.add(size=2)
    tensor.tensor_content = bytes([2, 0xC8, 0x01]) + b"ab" + long
    assert protos.strings(tensor) == [b"ab", long]


def test_floats_packed_as_tensor_content_are_read() -> None:
    tensor = protos.tensor_pb2.TensorProto(dtype=protos.types_pb2.DT_FLOAT)
    tensor.tensor_content = b"\x00\x00\x80?\x00\x00\x00?"
    assert protos.floats(tensor) == [1.0, 0.5]


def test_a_version_is_a_number_or_a_label() -> None:
    number = protos.model_spec("inception", version=2)
    label = protos.model_spec("inception", version="stable")
    assert (number.version.value, label.version_label) == (2, "stable")


def test_an_answer_becomes_one_prediction_a_photo() -> None:
    answer = response([b"cat", b"dog", b"car", b"bus"], [0.75, 0.25, 0.5, 0.125], (2, 2))
    assert answers.predictions(answer) == [
        Prediction(("cat", "dog"), (0.75, 0.25)),
        Prediction(("car", "bus"), (0.5, 0.125)),
    ]


def test_an_answer_names_the_version_that_gave_it() -> None:
    answer = protos.predict_pb2.PredictResponse.FromString(response([b"cat"], [1.0], (1, 1)))
    answer.model_spec.version.value = 20
    assert [p.version for p in answers.predictions(answer.SerializeToString())] == [20]


def test_an_answer_without_classes_says_what_it_has() -> None:
    message = protos.predict_pb2.PredictResponse()
    message.outputs["logits"].dtype = protos.types_pb2.DT_FLOAT
    with pytest.raises(ServingError, match="classes and scores, but logits"):
        answers.predictions(message.SerializeToString())


def test_a_prediction_reads_as_percentages() -> None:
    prediction = Prediction(("golden retriever", "tennis ball"), (0.923, 0.031))
    assert repr(prediction) == "Prediction(golden retriever 92.3%, tennis ball 3.1%)"


def test_a_prediction_shows_itself_as_a_table_in_a_notebook() -> None:
    shown = Prediction(("Bell & Howell <projector>",), (0.5,))._repr_html_()
    assert "<table>" in shown
    assert "Bell &amp; Howell &lt;projector&gt;" in shown


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (
            "INVALID_ARGUMENT",
            "Unknown image file format. One of JPEG, PNG required.",
            "JPEG or PNG",
        ),
        ("INVALID_ARGUMENT", "input size does not match signature: 0!=1", "input names"),
        ("FAILED_PRECONDITION", 'Serving signature key "x" not found.', "signature that the model"),
        ("INVALID_ARGUMENT", "Task size 9 is larger than maximum batch size 8", "fewer photos"),
    ],
)
def test_a_refused_request_comes_with_its_own_next_step(code: str, details: str, kind: str) -> None:
    error = explained(code, details)
    assert isinstance(error, BadRequestError)
    assert kind in error.next_step


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        ("NOT_FOUND", "Servable not found for request: Latest(x)", ModelNotFoundError),
        ("UNAVAILABLE", "The batch scheduling queue … is full", ServerUnavailableError),
        ("CANCELLED", "CANCELLED", ServerUnavailableError),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", DeadlineError),
        (
            "RESOURCE_EXHAUSTED",
            "Run() timeout exceeded while waiting in batching queue",
            DeadlineError,
        ),
        ("INTERNAL", "something broke", ServingError),
    ],
)
def test_a_status_becomes_an_error_of_its_kind(
    code: str, details: str, kind: type[ServingError]
) -> None:
    error = explained(code, details)
    assert (type(error), error.code, error.details) == (kind, code, details)


def test_a_full_queue_is_told_from_a_dead_server() -> None:
    busy = explained(
        "UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full"
    )
    dead = explained("UNAVAILABLE", "failed to connect to all addresses; Connection refused")
    assert "too busy" in busy.what
    assert "Nothing answers on 127.0.0.1:8500" in dead.what


def test_waiting_that_ends_says_the_last_thing_that_was_learned() -> None:
    asked = questions.Settings("127.0.0.1:8500", "inception", None, 10, 1, "pick_first", 3)
    waiting = questions.Waiting(asked, 60)
    waiting.go_on(explained("UNAVAILABLE", "Connection refused"))
    waiting._deadline = 0
    with pytest.raises(ServerUnavailableError, match="60 s: Nothing answers on"):
        waiting.go_on(explained("DEADLINE_EXCEEDED", "cut short by the end of the wait"))


def test_several_addresses_become_one_name() -> None:
    assert addresses.target(["127.0.0.1:1", "127.0.0.2:2"]) == "ipv4:127.0.0.1:1,127.0.0.2:2"


def test_a_name_with_a_scheme_is_left_alone() -> None:
    assert addresses.target("dns:///inception.default:8500") == "dns:///inception.default:8500"


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:", ":8500", "localhost:http", "a:99999"]
)
def test_an_address_without_host_and_port_is_refused(address: str) -> None:
    with pytest.raises(ServerUnavailableError, match="host:port"):
        addresses.target(address)


@pytest.mark.parametrize(
    "wrong",
    [{"channels": 0}, {"balancing": "random"}, {"max_attempts": 6}, {"timeout_s": 0}],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Classifier("127.0.0.1:1", **wrong)  # type: ignore[arg-type]


def test_no_photo_is_refused_before_anything_is_sent() -> None:
    with Classifier("127.0.0.1:1") as classifier, pytest.raises(BadRequestError, match="no photo"):
        classifier.classify([])


def test_a_path_instead_of_a_photo_is_refused_with_the_way_to_read_it() -> None:
    with (
        Classifier("127.0.0.1:1") as classifier,
        pytest.raises(BadRequestError, match=r"photos\.read"),
    ):
        classifier.classify(["puppy.jpg"])  # type: ignore[list-item]
