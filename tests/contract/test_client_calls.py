"""The clients against a server that fails as told: retries, deadlines, balancing, waiting."""

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from helpers.client import AsyncClassifier, Classifier, Prediction, protos
from helpers.errors import DeadlineError, ServerUnavailableError, ServingError
from helpers.load.faulty_server import faulty_server

PHOTO = b"\xff\xd8a photo\xff\xd9"
EXPECTED = Prediction(("golden retriever", "tennis ball"), (0.75, 0.25))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with faulty_server() as address:
        yield address


@pytest.fixture
def unused_address() -> Iterator[str]:
    """An address that nobody listens on, held so that nobody else takes it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"


def test_photos_become_predictions_in_their_order(address: str) -> None:
    with Classifier(address) as classifier:
        assert classifier.classify([PHOTO, PHOTO, PHOTO]) == [EXPECTED] * 3


def test_the_async_client_answers_the_same(address: str) -> None:
    async def classify() -> list[Prediction]:
        async with AsyncClassifier(address) as classifier:
            await classifier.wait_until_ready(10)
            return await classifier.classify([PHOTO])

    assert asyncio.run(classify()) == [EXPECTED]


def test_one_client_serves_several_threads(address: str) -> None:
    with Classifier(address, channels=2) as classifier, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: classifier.classify([PHOTO]), range(32)))
    assert answers == [[EXPECTED]] * 32


def test_status_lists_the_versions(address: str) -> None:
    with Classifier(address) as classifier:
        assert [(v.version, v.state) for v in classifier.status()] == [(1, "AVAILABLE")]


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
def test_what_was_not_computed_is_tried_again_until_it_answers(code: str) -> None:
    with faulty_server(fail_first=2, code=code) as address, Classifier(address) as classifier:
        assert classifier.classify([PHOTO]) == [EXPECTED]


def test_the_async_client_tries_again_too() -> None:
    async def classify(address: str) -> list[Prediction]:
        async with AsyncClassifier(address) as classifier:
            return await classifier.classify([PHOTO])

    with faulty_server(fail_first=2) as address:
        assert asyncio.run(classify(address)) == [EXPECTED]


def test_a_request_of_megabytes_is_tried_again_too() -> None:
    # gRPC forgets a request that is larger than its retry buffer, 256 kB unless told otherwise.
    photos = [PHOTO + bytes(100_000)] * 30
    with faulty_server(fail_first=1) as address, Classifier(address) as classifier:
        assert len(classifier.classify(photos)) == 30


def test_attempts_end_at_their_number() -> None:
    with (
        faulty_server(fail_first=3) as address,
        Classifier(address, max_attempts=3) as classifier,
        pytest.raises(ServerUnavailableError, match="told to fail"),
    ):
        classifier.classify([PHOTO])


@pytest.mark.parametrize("code", ["INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED"])
def test_nothing_else_is_tried_again(code: str) -> None:
    with (
        faulty_server(fail_first=1, code=code) as address,
        Classifier(address) as classifier,
        pytest.raises(ServingError) as raised,
    ):
        classifier.classify([PHOTO])
    assert (raised.value.code, raised.value.details) == (code, "told to fail")


def test_the_deadline_covers_all_attempts() -> None:
    # Every attempt takes 0.4 s: one fits into 0.6 s, five don't.
    with (
        faulty_server(service_s=0.4, fail_every=1) as address,
        Classifier(address, timeout_s=0.6, max_attempts=5) as classifier,
        pytest.raises(DeadlineError, match=r"0\.6 s"),
    ):
        classifier.classify([PHOTO])


def test_a_call_can_have_a_deadline_of_its_own() -> None:
    with (
        faulty_server(service_s=30) as address,
        Classifier(address, timeout_s=30) as classifier,
        pytest.raises(DeadlineError, match=r"0\.2 s"),
    ):
        classifier.classify([PHOTO], timeout_s=0.2)


def test_an_address_nobody_listens_on_is_named(unused_address: str) -> None:
    with (
        Classifier(unused_address) as classifier,
        pytest.raises(ServerUnavailableError, match=f"Nothing answers on {unused_address}"),
    ):
        classifier.classify([PHOTO])


def test_round_robin_takes_the_replicas_in_turns() -> None:
    # Each replica fails its first request with a code that isn't tried again: two replicas, two
    # failures, however the turns begin.
    with (
        faulty_server(fail_first=1, code="INTERNAL") as first,
        faulty_server(fail_first=1, code="INTERNAL") as second,
        Classifier([first, second], balancing="round_robin") as classifier,
    ):
        failures = 0
        for _ in range(8):
            try:
                classifier.classify([PHOTO])
            except ServingError:
                failures += 1
    assert failures == 2


def test_pick_first_stays_with_one_replica() -> None:
    with (
        faulty_server() as first,
        faulty_server(fail_every=1, code="INTERNAL") as second,
        Classifier([first, second]) as classifier,
    ):
        assert [classifier.classify([PHOTO]) for _ in range(8)] == [[EXPECTED]] * 8


def test_a_replica_that_died_is_left_out(address: str, unused_address: str) -> None:
    with Classifier([address, unused_address], balancing="round_robin") as classifier:
        assert [classifier.classify([PHOTO]) for _ in range(8)] == [[EXPECTED]] * 8


def test_a_replica_that_says_it_is_not_serving_gets_no_requests(address: str) -> None:
    with not_serving() as sick, Classifier([address, sick], balancing="round_robin") as classifier:
        assert [classifier.classify([PHOTO]) for _ in range(8)] == [[EXPECTED]] * 8


def test_waiting_ends_when_the_model_is_loaded() -> None:
    with faulty_server(loading_asks=2) as address, Classifier(address) as classifier:
        classifier.wait_until_ready(30)
        assert classifier.status()[0].state == "AVAILABLE"


def test_waiting_for_nobody_says_so(unused_address: str) -> None:
    with (
        Classifier(unused_address) as classifier,
        pytest.raises(ServerUnavailableError, match=r"not ready in 0\.5 s: Nothing answers"),
    ):
        classifier.wait_until_ready(0.5)


class not_serving:  # noqa: N801  # reads as the condition that it makes
    """A replica whose health service says NOT_SERVING, and that fails whoever asks all the same."""

    def __enter__(self) -> str:
        servicer = health.HealthServicer()
        servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        self.server = grpc.server(ThreadPoolExecutor(4))
        health_pb2_grpc.add_HealthServicer_to_server(servicer, self.server)
        self.server.add_generic_rpc_handlers((_Fails(),))
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        return f"127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        self.server.stop(None).wait()


class _Fails(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> object:
        if handler_call_details.method != protos.PREDICT:
            return None
        return grpc.unary_unary_rpc_method_handler(
            lambda _, context: context.abort(grpc.StatusCode.INTERNAL, "not serving")
        )
