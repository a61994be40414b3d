"""What a fault cost is told client by client, and whether a node may be drained is asked first."""

from __future__ import annotations

from types import SimpleNamespace as Answer
from typing import Any, cast

import pytest
from kubernetes import client

from helpers import faults
from helpers.clusters.kubernetes import KubernetesCluster, gpus
from helpers.faults import Fault

SAVED = "a hedge whose description is so long that a table would usually cut it off: " + "x" * 50


def fault(name: str = "a fault", *, ready_s: float = 0.0, **changed: Any) -> Fault:
    values: dict[str, Any] = {
        "saved_by": {"resilient": SAVED},
        "began_s": 1.0,
        "ended_s": 9.0,
        "requests": {"plain": 80, "resilient": 81},
        "lost": {"plain": 7, "resilient": 0},
        "p90_ms": {"plain": 1801.4, "resilient": None},
        "disturbed_s": {"plain": 2.5, "resilient": 0.0},
        "took_s": 0.1,
    }
    return Fault(name=name, ready_s=ready_s, **(values | changed))


def test_a_table_has_a_row_for_each_fault_and_a_group_of_columns_for_each_client() -> None:
    table = faults.table([fault("one"), fault("other")])
    assert list(table.index) == ["one", "other"]
    assert list(table["plain", "lost"]) == ["7\u00a0of\u00a080"] * 2
    assert list(table["resilient", "lost"]) == ["0\u00a0of\u00a081"] * 2
    assert list(table["plain", "disturbed for"]) == ["2.5\u00a0s"] * 2
    assert list(table["plain", "p90"]) == ["1,801\u00a0ms"] * 2
    assert list(table["resilient", "p90"]) == ["too\u00a0few"] * 2


def test_what_saved_a_client_is_beside_the_client_that_it_saved() -> None:
    table = faults.table([fault("one"), fault("other", saved_by={})])
    assert list(table["resilient", "what saved it"]) == [SAVED, ""]
    assert ("plain", "what saved it") not in table.columns


def test_replicas_that_were_never_away_have_a_dash() -> None:
    table = faults.table([fault(ready_s=4.25), fault()])
    assert list(table["replicas", "all back after"]) == ["4.2\u00a0s", "–"]


def test_a_client_that_had_no_part_in_a_fault_has_an_empty_cell() -> None:
    lost, p90 = {"hedging": 0}, {"hedging": None}
    other = fault("other", lost=lost, requests={"hedging": 5}, p90_ms=p90, disturbed_s=p90 | lost)
    table = faults.table([fault("one"), other])
    assert list(table["plain", "lost"]) == ["7\u00a0of\u00a080", ""]
    assert list(table["hedging", "lost"]) == ["", "0\u00a0of\u00a05"]


def test_a_table_of_nothing_says_when_the_replicas_were_back() -> None:
    assert list(faults.table([]).columns) == [("replicas", "all back after")]


def test_a_cell_that_ends_on_a_fault_shows_the_whole_of_what_saved_it() -> None:
    assert SAVED in repr(fault())
    assert SAVED in fault()._repr_html_()


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
