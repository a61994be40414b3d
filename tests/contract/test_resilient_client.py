"""Resilient clients against servers that fail as told: what is sent again, and what is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from helpers import photos
from helpers.client import PLAIN, Classifier, Resilience, protos
from helpers.errors import DeadlineError, ServingError
from helpers.faults import Wire
from helpers.load import traffic
from helpers.load.faulty_server import faulty_server

PUPPY = photos.load("puppy")


class Recorder(grpc.GenericRpcHandler):
    """Refuses every request, and notes how much time each attempt was given."""

    def __init__(self) -> None:
        self.left_s: list[float] = []

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method != protos.PREDICT:
            return None  # the client's health check: there is no such service

        def refuse(request: bytes, context: Any) -> bytes:
            self.left_s.append(context.time_remaining())
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(refuse)


@contextmanager
def recording() -> Iterator[tuple[str, Recorder]]:
    server, recorder = grpc.server(ThreadPoolExecutor(2)), Recorder()
    server.add_generic_rpc_handlers((recorder,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", recorder
    finally:
        server.stop(None)


def test_the_deadline_shrinks_from_attempt_to_attempt() -> None:
    with recording() as (address, recorder):
        with (
            Classifier(address, resilience=Resilience(deadline_s=5)) as classifier,
            pytest.raises(ServingError),
        ):
            classifier.classify([PUPPY])
        assert len(recorder.left_s) == 4
        # Between the first and the last are over 0.2 s of pauses; gRPC rounds to a hundredth up.
        assert recorder.left_s[-1] < recorder.left_s[0] - 0.1


def test_a_plain_client_sends_it_once() -> None:
    with (
        faulty_server(fail_first=1) as address,
        Classifier(address, resilience=PLAIN) as client,
        pytest.raises(ServingError, match="told to fail"),
    ):
        client.classify([PUPPY])


def test_an_attempt_that_hangs_is_given_up_for_another_replica() -> None:
    with faulty_server(service_s=600) as hanging, faulty_server() as well:
        resilience = Resilience(deadline_s=120, attempt_timeout_s=0.2)
        with Classifier([hanging, well], resilience=resilience) as classifier:
            for _ in range(4):  # in turns: half of them meet the one that hangs
                assert classifier.classify([PUPPY])[0].label == "golden retriever"


def test_the_deadline_ends_it_when_all_hang() -> None:
    resilience = Resilience(deadline_s=0.5, attempt_timeout_s=0.2)
    with (
        faulty_server(service_s=600) as address,
        Classifier(address, resilience=resilience) as client,
        pytest.raises(DeadlineError),
    ):
        client.classify([PUPPY])


def test_hedging_needs_asyncio() -> None:
    with pytest.raises(ValueError, match="AsyncClassifier"):
        Classifier("127.0.0.1:1", resilience=Resilience(hedge_after_s=1))


def test_traffic_counts_what_is_lost_in_the_end() -> None:
    with (
        faulty_server(fail_every=10, code="INTERNAL") as address,
        traffic.start(address, [PUPPY], rate_per_s=200) as running,
    ):
        running.wait(lambda flow: flow.requests >= 100)
    lost = running.flow.requests // 10
    assert (running.flow.lost, running.flow.failures) == (lost, {"INTERNAL": lost})


def test_traffic_counts_what_a_retry_saved_as_answered() -> None:
    with (
        # The first ones, not one in ten: then a retry may fail again, and now and then all do.
        faulty_server(fail_first=5) as address,
        traffic.start(address, [PUPPY], rate_per_s=200) as running,
    ):
        running.wait(lambda flow: flow.requests >= 100)
    assert running.flow.lost == 0


def test_traffic_waits_for_a_late_answer_after_it_was_stopped() -> None:
    with (
        faulty_server(service_s=1.0) as address,
        traffic.start(address, [PUPPY], rate_per_s=100) as running,
    ):
        running.wait(lambda flow: flow.requests > 0)
    assert running.flow.lost == 0
    assert running.flow.requests > 50  # a second's worth was on its way


def test_traffic_follows_to_new_addresses() -> None:
    with (
        faulty_server() as old,
        faulty_server() as new,
        traffic.start(old, [PUPPY], rate_per_s=50, resilience=Resilience()) as running,
    ):
        running.wait(lambda flow: flow.requests > 5)
        running.follow([new])
        began = time.monotonic() - running.zero
        running.wait(lambda flow: (flow.records["due_s"] > began).sum() > 20)
    assert running.flow.lost == 0


def test_hedges_are_counted() -> None:
    with faulty_server(service_s=0.5) as slow, faulty_server() as quick:
        # Round robin hands out one address after the other, to hedges too: they go to the quick
        # server for certain only when no other request is due between a request and its hedge.
        resilience = Resilience(hedge_after_s=0.02, budget=1.0)
        with traffic.start([slow, quick], [PUPPY], rate_per_s=5, resilience=resilience) as running:
            running.wait(lambda flow: flow.requests >= 10)
    assert running.flow.lost == 0
    assert running.flow.hedges >= running.flow.hedges_won > 0


def test_a_cut_wire_stops_requests_until_it_is_mended() -> None:
    with faulty_server() as address, Wire([address]) as wire:
        (through,) = wire.addresses
        with Classifier(through, resilience=Resilience(deadline_s=60)) as patient:
            patient.classify([PUPPY])
            wire.set(cut=True)
            with pytest.raises(DeadlineError):
                patient.classify([PUPPY], timeout_s=0.5)
            wire.set()
            assert patient.classify([PUPPY])[0].label == "golden retriever"


def test_a_wire_delays_each_way() -> None:
    with faulty_server() as address, Wire([address]) as wire, Classifier(wire.addresses) as client:
        client.classify([PUPPY])
        wire.set(delay_s=0.2)
        began = time.monotonic()
        client.classify([PUPPY])
        assert time.monotonic() - began >= 0.4
