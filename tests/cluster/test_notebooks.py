"""The notebooks that take a target, run on the cluster by papermill, publish what is so there.

They serve the light network: what is tested is the deploying and the scaling.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from conftest import Kubectl, RunNotebook

from helpers.clusters.kubernetes import KubernetesCluster


@pytest.fixture(scope="module")
def namespace() -> str:
    return f"test-notebooks-{uuid.uuid4().hex[:6]}"


@pytest.fixture(scope="module")
def deployed(run: RunNotebook) -> dict[str, Any]:
    return run("04")


@pytest.fixture(scope="module")
def served(run: RunNotebook) -> dict[str, Any]:
    return run("02")


@pytest.fixture(scope="module")
def checked(run: RunNotebook) -> dict[str, Any]:
    return run("00")


@pytest.fixture(scope="module")
def cleaned(run: RunNotebook, context: str, namespace: str) -> dict[str, Any]:
    """After a session that was interrupted: it had applied, and never came to its last cell."""
    with KubernetesCluster(context=context, namespace=namespace) as cluster:
        cluster.apply(replicas=1)
    return run("14")


def test_nothing_blocks_the_cluster(checked: dict[str, Any]) -> None:
    assert checked["blockers"] == 0


def test_a_pod_without_a_security_context_is_refused(deployed: dict[str, Any]) -> None:
    assert 'violates PodSecurity "restricted' in deployed["refused_by_hand"]
    assert "runAsNonRoot" in deployed["refused_by_hand"]


def test_a_start_is_told_by_events(deployed: dict[str, Any]) -> None:
    assert {"Scheduled", "Pulled", "Started", "ScalingReplicaSet"} <= set(deployed["events"])
    assert deployed["seconds_to_ready"] > 0


def test_a_startup_probe_without_patience_stops_the_roll_out(deployed: dict[str, Any]) -> None:
    assert "CrashLoopBackOff" in deployed["startup_probe"]
    assert "Startup probe failed" in deployed["startup_probe"]
    assert deployed["served_meanwhile"] is True


def test_a_frozen_replica_loses_its_traffic_and_then_its_life(deployed: dict[str, Any]) -> None:
    steps = ("unready", "killed", "restarted")
    seen = [deployed[f"seconds_until_{step}"] for step in steps]
    assert seen == sorted(seen)
    for step, seconds in zip(steps[:2], seen, strict=False):
        assert seconds > deployed[f"predicted_until_{step}_s"][0] - 0.5


def test_the_deployed_network_answers_as_the_export_does(
    deployed: dict[str, Any], served: dict[str, Any]
) -> None:
    assert deployed["top_label"] == served["top_label"]


def test_the_notebook_leaves_nothing(deployed: dict[str, Any]) -> None:
    assert deployed["leftovers"] == []


def test_the_first_requests_are_answered_by_a_pod(served: dict[str, Any]) -> None:
    assert served["rest_agrees"] is True
    assert served["mistakes"]["a wrong input name"] == "INVALID_ARGUMENT"


def test_cleaning_up_finds_what_was_left_and_leaves_nothing(
    cleaned: dict[str, Any], kubectl: Kubectl, namespace: str
) -> None:
    assert cleaned["things_before"] > 5  # the Deployment, its pods, Services, …, and the Namespace
    assert (cleaned["things_after"], cleaned["usd_so_far"]) == (0, 0)
    assert namespace not in kubectl("get", "namespaces")
