"""Notebook 08 on `local`: what was lost to each fault, and that all was well again after it."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import RunNotebook

# A whole notebook is run for the first of them, at a rate that it chose on an idle machine.
pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]

FAULTS = [  # of the plain and the resilient client
    "kill -9 of a server",
    "a server hangs (SIGSTOP)",
    "all replicas at once",
    "a poisoned request",
    "20 ms delay, 5 % loss",
    "network cut",
]
SLOW = "a slow replica"  # of three others


@pytest.fixture(scope="module")
def survived(run_notebook: RunNotebook) -> dict[str, Any]:
    """That it ends is part of it: after each fault it waits until all is well again."""
    return run_notebook("08")


def test_each_fault_was_brought_about(survived: dict[str, Any]) -> None:
    assert set(survived["faults"]) == {*FAULTS, SLOW}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_resilient_client_loses_nothing(survived: dict[str, Any], fault: str) -> None:
    assert survived["faults"][fault]["lost"]["resilient"] == 0


@pytest.mark.parametrize("fault", ["a server hangs (SIGSTOP)", "all replicas at once"])
def test_the_plain_client_loses_requests_to_the_same_fault(
    survived: dict[str, Any], fault: str
) -> None:
    assert survived["faults"][fault]["lost"]["plain"] > 0


@pytest.mark.parametrize("fault", FAULTS[:3])
def test_the_replicas_come_back(survived: dict[str, Any], fault: str) -> None:
    assert survived["faults"][fault]["ready_s"] > 0  # gone, and ready again before it went on


def test_a_poisoned_request_harms_itself_only(survived: dict[str, Any]) -> None:
    assert survived["poison_refused"]
    # Not that nothing is lost: on a machine that stalls, the plain client may miss its deadline.
    assert "INVALID_ARGUMENT" not in survived["faults"]["a poisoned request"]["why"]


def test_clients_that_eject_or_hedge_lose_nothing_to_a_slow_replica(
    survived: dict[str, Any],
) -> None:
    lost = survived["faults"][SLOW]["lost"]
    assert (lost["ejecting"], lost["hedging"]) == (0, 0)


def test_a_slow_replica_makes_a_client_hedge(survived: dict[str, Any]) -> None:
    assert survived["hedges"] > 0


def test_a_short_queue_saves_the_goodput_that_an_endless_one_loses(
    survived: dict[str, Any],
) -> None:
    # The aim is 90 % of the peak; half of it, and more than without, holds on any machine.
    assert survived["goodput_bounded"] > 0.5
    assert survived["goodput_bounded"] > survived["goodput_unbounded"]


def test_a_stranger_may_unload_the_model_of_an_unprotected_server(
    survived: dict[str, Any],
) -> None:
    assert survived["after_a_strangers_reload"].startswith("NOT_FOUND")


def test_mutual_tls_lets_one_client_of_four_in(survived: dict[str, Any]) -> None:
    assert survived["tls"] == {
        "ours": "OK",
        "another authority's": "UNAVAILABLE",
        "none": "UNAVAILABLE",
        "no TLS": "UNAVAILABLE",
    }


def test_an_expired_certificate_is_refused_until_it_is_replaced(survived: dict[str, Any]) -> None:
    assert survived["expired"] == ["UNAVAILABLE", "OK"]


def test_a_decompression_bomb_is_refused_unread(survived: dict[str, Any]) -> None:
    assert survived["bomb_refused"]


def test_nothing_is_left(survived: dict[str, Any]) -> None:
    assert survived["leftovers"] == []
