"""The parts of a request's time add up, and come from what the server said of itself."""

import socket

import pytest

from helpers.errors import ClusterError
from helpers.load import request_time

# ruff: noqa: E501
METRICS = """\
# TYPE :tensorflow:serving:request_latency histogram
:tensorflow:serving:request_latency_bucket{{model_name="m",API="Predict",entrypoint="GRPC",le="+Inf"}} {count}
:tensorflow:serving:request_latency_sum{{model_name="m",API="Predict",entrypoint="GRPC"}} {request}
:tensorflow:serving:request_latency_count{{model_name="m",API="Predict",entrypoint="GRPC"}} {count}
# TYPE :tensorflow:serving:runtime_latency histogram
:tensorflow:serving:runtime_latency_bucket{{model_name="m",API="Predict",runtime="TF1",le="+Inf"}} {count}
:tensorflow:serving:runtime_latency_sum{{model_name="m",API="Predict",runtime="TF1"}} {run}
:tensorflow:serving:runtime_latency_count{{model_name="m",API="Predict",runtime="TF1"}} {count}
"""
BEFORE = request_time.read(METRICS.format(count=10, request=50_000, run=40_000))
AFTER = request_time.read(METRICS.format(count=30, request=450_000, run=240_000))


def test_the_means_are_of_what_came_in_between() -> None:
    # 20 requests: 400 ms in the server, of which 200 ms in the model.
    assert AFTER.since(BEFORE) == {"request_ms": 20, "run_ms": 10, "queue_ms": 0}


def test_the_server_says_how_many_requests_it_has_answered() -> None:
    assert AFTER.requests - BEFORE.requests == 20


def test_no_request_in_between_is_an_error() -> None:
    with pytest.raises(ClusterError, match="no request in between"):
        AFTER.since(AFTER)


def test_metrics_before_the_first_request_are_zeros() -> None:
    assert AFTER.since(request_time.read(""))["request_ms"] == 15


def test_the_parts_add_up_to_the_latency() -> None:
    server = {"request_ms": 20.0, "run_ms": 15.0, "queue_ms": 5.0}
    found = request_time.parts(latency_ms=24, client_ms=0.5, server=server, decoding=0.4)
    assert found == {
        "client": 0.5, "network": 3.5, "queue": 5.0, "server": 5.0, "decode": 4.0, "layers": 6.0,
        "unaccounted": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "server",
    [
        {"request_ms": 24.5, "run_ms": 20.0, "queue_ms": 0.0},
        {"request_ms": 20.0, "run_ms": 21.0, "queue_ms": 0.0},
        {"request_ms": 20.0, "run_ms": 15.0, "queue_ms": 16.0},
    ],
    ids=["request over latency", "run over request", "queue over run"],
)
def test_what_the_clocks_disagree_about_is_said_and_not_cut_off(server: dict[str, float]) -> None:
    found = request_time.parts(latency_ms=24, client_ms=0.5, server=server, decoding=0.5)
    assert sum(found.values()) == pytest.approx(24)
    assert found["unaccounted"] == pytest.approx(-1)
    assert min(ms for part, ms in found.items() if part != "unaccounted") == 0


def test_the_run_of_a_server_elsewhere_is_one_part() -> None:
    server = {"request_ms": 20.0, "run_ms": 15.0, "queue_ms": 5.0}
    found = request_time.parts(latency_ms=24, client_ms=0.5, server=server, decoding=None)
    assert list(found) == ["client", "network", "queue", "server", "run", "unaccounted"]
    assert found["run"] == 10


def test_a_server_without_metrics_is_an_error_that_says_what_it_lacks() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        with pytest.raises(ClusterError, match="--rest_api_port"):
            request_time.times(f"127.0.0.1:{holder.getsockname()[1]}")
