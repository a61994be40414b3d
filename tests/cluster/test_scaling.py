"""Notebook 05 on the cluster: how replicas share the requests, and how much faster four are.

It serves the light network, and has the cluster to itself: it measures.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from conftest import RunNotebook

pytestmark = pytest.mark.alone

MILLICORES = 100  # four replicas together take less than half a core from whatever else is going on


@pytest.fixture(scope="module")
def namespace() -> str:
    return f"test-scaling-{uuid.uuid4().hex[:6]}"


@pytest.fixture(scope="module")
def scaled(run: RunNotebook) -> dict[str, Any]:
    # Long loads, since a machine that others share stops now and then for a second.
    return run("05", REPLICAS=[1, 4], SECONDS=10.0, ROUNDS=5, MILLICORES=MILLICORES)


def test_one_connection_is_pinned_to_one_pod(scaled: dict[str, Any]) -> None:
    assert scaled["pinned_share"] == 1.0
    assert sorted(scaled["requests"]["one channel"].values())[:3] == [0, 0, 0]


def test_a_headless_service_gives_every_pod_its_share(scaled: dict[str, Any]) -> None:
    assert len(scaled["requests"]["round robin"]) == 4
    assert scaled["round_robin_imbalance"] < 0.1


def test_four_replicas_are_nearly_four_times_as_fast(scaled: dict[str, Any]) -> None:
    assert scaled["generator_problems"] == 0
    # Missed is what its interval says is missed, as in `make bench`: the machine is shared.
    low, high = scaled["speedup_interval"]
    assert low > 2
    assert high >= 3.6


def test_the_autoscaler_follows_the_load_up_and_down(scaled: dict[str, Any]) -> None:
    assert scaled["autoscaled_to"] >= 2
    assert scaled["autoscaled_back_to"] == 1
    assert scaled["failures_while_autoscaling"] == 0


def test_the_pod_too_many_finds_no_gpu(scaled: dict[str, Any]) -> None:
    assert "Insufficient nvidia.com/gpu" in scaled["pod_too_many"]


def test_a_drained_gpu_node_is_empty_and_the_others_took_over(scaled: dict[str, Any]) -> None:
    assert scaled["evicted"] >= 1
    by_node = scaled["pods_by_gpu_node"]
    assert (sum(by_node.values()), min(by_node.values()), max(by_node.values())) == (4, 0, 2)


def test_the_notebook_leaves_nothing(scaled: dict[str, Any]) -> None:
    assert scaled["leftovers"] == []
