"""Warming meets every replica, model and batch size, once each, and says what it couldn't warm."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager

import grpc
import pytest
from small_servers import predicting

from helpers import load, settings
from helpers.client import protos
from helpers.errors import LoadError
from helpers.load.faulty_server import faulty_server


class Replica:
    """A server with a largest batch that writes down what it was asked."""

    def __init__(self, *, most: int = 64, models: tuple[str, ...] = ("inception",)) -> None:
        self.most, self.models = most, models
        self.asked: list[tuple[str, int]] = []

    def predict(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        message = protos.predict_pb2.PredictRequest.FromString(request)
        size = protos.shape(message.inputs[settings.PREDICT_INPUT])[0]
        self.asked.append((message.model_spec.name, size))
        if message.model_spec.name not in self.models:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        if size > self.most:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "larger than maximum batch size")
        return b"answer"

    def running(self) -> AbstractContextManager[str]:
        return predicting(self.predict, threads=4)


PHOTOS = [b"\xff\xd8one", b"\xff\xd8two"]


def test_each_replica_gets_each_model_in_each_size_once() -> None:
    models = ("inception", "light")
    replicas = [Replica(models=models) for _ in range(3)]
    with replicas[0].running() as a, replicas[1].running() as b, replicas[2].running() as c:
        load.warm([a, b, c], PHOTOS, up_to=20, models=models)
    expected = Counter((model, size) for model in models for size in (1, 2, 4, 8, 16))
    assert [Counter(replica.asked) for replica in replicas] == [expected] * 3


def test_a_size_beyond_the_servers_largest_batch_is_no_error() -> None:
    replica = Replica(most=4)
    with replica.running() as address:
        run = load.warm(address, PHOTOS, up_to=8)
    assert dict(run.summary().failures) == {"INVALID_ARGUMENT": 1}


def test_a_model_that_is_not_there_is_an_error() -> None:
    with Replica().running() as address, pytest.raises(LoadError, match="no such model"):
        load.warm(address, PHOTOS, up_to=2, models=("inception", "unknown"))


def test_a_slow_server_is_warmed_whole() -> None:
    """The time-out is of each request, not of all of them together."""
    with faulty_server(service_s=0.3) as address:
        run = load.warm(address, PHOTOS, up_to=32, timeout_s=1.0)
    assert len(run.records) == 6  # 1, 2, 4, …, 32 photos


def test_nothing_to_warm_is_an_error() -> None:
    with pytest.raises(LoadError, match="nothing to warm"):
        load.warm("127.0.0.1:1", PHOTOS, up_to=0)
