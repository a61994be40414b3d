"""Notebook 04 on the local target, which has no cluster, shows what it can there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import RunNotebook

from helpers.clusters import gke

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def deployed(run_notebook: RunNotebook, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    models: Path = tmp_path_factory.mktemp("exports") / "models"
    return run_notebook("04", NETWORK="light", MODELS=str(models), GPU_NODES=3)


def test_nothing_is_sent_to_a_cluster(deployed: dict[str, Any]) -> None:
    assert "refused_by_hand" not in deployed
    assert deployed["events"] == []


def test_the_rent_of_a_gpu_cluster_is_told(deployed: dict[str, Any]) -> None:
    assert deployed["gke_usd_per_hour"] == pytest.approx(gke.Gke("any", nodes=3).usd_per_hour)


def test_a_startup_probe_without_patience_stops_the_roll_out(deployed: dict[str, Any]) -> None:
    refused = "startup probe tcpSocket :8500: Connect call failed"
    assert deployed["startup_probe"].startswith(refused)
    assert deployed["served_meanwhile"] is True


def test_a_frozen_replica_loses_its_traffic_and_then_its_life(deployed: dict[str, Any]) -> None:
    assert 0 < deployed["seconds_until_unready"] < deployed["seconds_until_restarted"]


def test_nothing_is_left(deployed: dict[str, Any]) -> None:
    assert deployed["leftovers"] == []
