"""What a fault cost is told client by client, and whether a node may be drained is asked first."""

from __future__ import annotations

from types import SimpleNamespace as Answer
from typing import Any, cast

import pytest
from kubernetes import client

from helpers import faults
from helpers.clusters.kubernetes import KubernetesCluster, gpus
from helpers.faults import Fault

SETTING = (
    "a setting whose description is so long that a table would usually cut it off: " + "x" * 50
)


def fault(name: str = "a fault", *, ready_s: float = 0.0) -> Fault:
    return Fault(
        name=name,
        setting=SETTING,
        began_s=1.0,
        ended_s=9.0,
        requests={"plain": 80, "resilient": 81},
        lost={"plain": 7, "resilient": 0},
        p99_ms={"plain": 20.0, "resilient": 300.0},
        trouble_s={"plain": 2.5, "resilient": 0.0},
        ready_s=ready_s,
    )


def test_a_table_has_a_row_for_each_client_of_a_fault() -> None:
    table = faults.table([fault("one"), fault("other")])
    assert list(table.index) == ["one", "", "other", ""]
    assert list(table["client"]) == ["plain", "resilient"] * 2
    assert list(table["lost"]) == ["7\u00a0of\u00a080", "0\u00a0of\u00a081"] * 2
    assert list(table["trouble"]) == ["2.5 s", "0.0 s"] * 2


def test_what_is_true_of_all_clients_is_said_once() -> None:
    table = faults.table([fault(ready_s=4.25)])
    assert list(table["what made it so"]) == [SETTING, ""]
    assert list(table["all replicas back"]) == ["4.2 s", ""]
    assert list(faults.table([fault()])["all replicas back"]) == ["never gone", ""]


def test_a_table_of_nothing_has_its_columns() -> None:
    assert list(faults.table([]).columns)[:2] == ["client", "lost"]


def test_a_cell_that_ends_on_a_fault_shows_the_whole_of_its_setting() -> None:
    assert SETTING in repr(fault())
    assert SETTING in fault()._repr_html_()


@pytest.mark.parametrize("refused", ["", "nodes", "pods/eviction"])
def test_a_drain_needs_both_the_node_and_the_eviction(
    monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def review(self: Any, body: Any, **_: Any) -> Any:
        asked = body["spec"]["resourceAttributes"]
        name = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        return Answer(status=Answer(allowed=name != refused))

    api = client.AuthorizationV1Api
    monkeypatch.setattr(api, "create_self_subject_access_review", review)
    cluster = Answer(api=client.ApiClient(), context="tutorial", namespace="mine")
    assert gpus.may_drain(cast("KubernetesCluster", cluster)) is (refused == "")
