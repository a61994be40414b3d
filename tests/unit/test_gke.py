"""Google Cloud's commands and bill; nothing is run."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from typing import Any

import pytest

from helpers.clusters import gke
from helpers.clusters.kubernetes import connection
from helpers.errors import ClusterError, SetupError

GOOGLE = gke.Gke("my-project", zone="europe-west4-a", nodes=3)


@pytest.mark.parametrize("command", ["create", "get_credentials", "describe", "delete"])
def test_every_command_names_project_and_zone(command: str) -> None:
    words = getattr(GOOGLE, command)
    assert words[:3] == ["gcloud", "container", "clusters"]
    assert {"--project=my-project", "--zone=europe-west4-a"} <= set(words)


def test_the_nodes_have_an_l4_and_its_driver() -> None:
    assert "--num-nodes=3" in GOOGLE.create
    assert "--accelerator=type=nvidia-l4,count=1,gpu-driver-version=default" in GOOGLE.create


def test_its_context_may_be_changed_and_gets_the_overlay_for_gpus() -> None:
    assert GOOGLE.context == "gke_my-project_europe-west4-a_inception-tutorial"
    assert any(fnmatchcase(GOOGLE.context, p) for p in connection.allowed_contexts())
    assert connection.overlay(GOOGLE.context) == "gke-gpu"


def test_an_hour_costs_the_nodes_and_the_cluster() -> None:
    assert GOOGLE.usd_per_hour == pytest.approx(gke.CLUSTER_USD + 3 * gke.node_usd())


def test_the_cost_so_far_is_by_time_and_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
    found: list[dict[str, Any]] = [
        {"name": gke.NAME, "createTime": made.isoformat(), "currentNodeCount": 3}
    ]
    monkeypatch.setattr(gke.Gke, "clusters", lambda self: found)
    assert GOOGLE.usd_so_far(made + timedelta(hours=2)) == pytest.approx(2 * GOOGLE.usd_per_hour)


def test_without_a_cluster_nothing_is_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gke, "run", lambda command: "[]")
    assert GOOGLE.usd_so_far() == 0


def test_a_missing_gcloud_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SetupError, match="there is no `gcloud` on PATH"):
        gke.run(GOOGLE.create)


def test_gclouds_own_words_are_kept() -> None:
    with pytest.raises(ClusterError, match="quota of nothing"):
        gke.run(["sh", "-c", "echo quota of nothing >&2; exit 1"])
