"""Notebook 10 on `local`: who gets in, before and after each door was shut."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import RunNotebook
from solutions import Solved

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHUT_OUT = dict.fromkeys(("none", "another authority's", "no TLS"), "UNAVAILABLE")


@pytest.fixture(scope="module")
def locked(run_notebook: RunNotebook) -> dict[str, Any]:
    return run_notebook("10")


def test_a_stranger_may_unload_the_model_of_an_unprotected_server(locked: dict[str, Any]) -> None:
    assert locked["after_a_strangers_reload"].startswith("NOT_FOUND")


def test_mutual_tls_leaves_rest_open(locked: dict[str, Any]) -> None:
    assert locked["tls"] == {"ours": "OK", **SHUT_OUT, "REST": "OK"}


def test_without_a_rest_port_one_of_five_gets_in(locked: dict[str, Any]) -> None:
    assert locked["doors_shut"] == {"ours": "OK", **SHUT_OUT, "REST": "no answer"}


def test_an_expired_certificate_is_refused_until_it_is_replaced(locked: dict[str, Any]) -> None:
    assert locked["expired"] == ["UNAVAILABLE", "OK"]


def test_a_bomb_costs_the_server_thousands_of_times_its_size(locked: dict[str, Any]) -> None:
    # 100 million pixels, three bytes each, are there at once whatever else the network does.
    assert locked["bomb_memory_mb"] > 250
    assert locked["bomb_bytes"] < 20_000


def test_an_honest_client_does_not_send_it(locked: dict[str, Any]) -> None:
    assert locked["bomb_refused"]


def test_nothing_is_left(locked: dict[str, Any]) -> None:
    assert locked["leftovers"] == []


def test_the_exercises_end_as_their_solutions_say() -> None:
    with Solved("10", steps=[1, 2, 3]) as solved:
        wrong_name, second = solved.values()
    assert wrong_name[0] == "UNAVAILABLE"
    assert second == ("OK", "OK")
