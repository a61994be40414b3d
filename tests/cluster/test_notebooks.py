"""The notebooks that take a target, run on the cluster by papermill, publish what is so there.

They serve the light network: what is tested is the deploying and the scaling.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Kubectl
from notebook_runs import published_by

from helpers import lessons
from helpers.clusters.kubernetes import KubernetesCluster

RunNotebook = Callable[..., dict[str, Any]]
NAMESPACE = f"test-notebooks-{uuid.uuid4().hex[:6]}"
MILLICORES = 100  # four replicas together take less than half a core from whatever else is going on


@pytest.fixture(scope="module")
def run(context: str, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> RunNotebook:
    """`run("04")`: what notebook 04 publishes on the cluster, in a namespace of these tests."""
    found = {lesson.number: lesson for lesson in lessons.find()}
    models = tmp_path_factory.mktemp("exports") / "models"
    shared = {"NETWORK": "light", "WEIGHTS": "random", "MODELS": str(models)}
    shared |= {"TARGET": "kubernetes", "CONTEXT": context, "NAMESPACE": NAMESPACE}

    def run_it(number: str, **parameters: Any) -> dict[str, Any]:
        taken = found[number].parameters
        known = {name: value for name, value in shared.items() if name in taken}
        with pytest.MonkeyPatch.context() as patch:
            # For a notebook that leaves the two to the environment.
            patch.setenv("TUTORIAL_CONTEXT", context)
            patch.setenv("TUTORIAL_NAMESPACE", NAMESPACE)
            patch.delenv("DOCKER_HOST", raising=False)  # other tests' containers aren't ours
            return published_by(number, tmp_path_factory.mktemp("notebook"), known | parameters)

    return run_it


@pytest.fixture(scope="module")
def deployed(run: RunNotebook) -> dict[str, Any]:
    return run("04")


@pytest.fixture(scope="module")
def scaled(run: RunNotebook) -> dict[str, Any]:
    # Long loads, since a machine that others share stops now and then for a second.
    return run("05", REPLICAS=[1, 4], SECONDS=10.0, ROUNDS=6, MILLICORES=MILLICORES)


@pytest.fixture(scope="module")
def served(run: RunNotebook) -> dict[str, Any]:
    return run("02")


@pytest.fixture(scope="module")
def checked(run: RunNotebook) -> dict[str, Any]:
    return run("00")


@pytest.fixture(scope="module")
def cleaned(run: RunNotebook, context: str) -> dict[str, Any]:
    """After a session that was interrupted: it had applied, and never came to its last cell."""
    with KubernetesCluster(context=context, namespace=NAMESPACE) as cluster:
        cluster.apply(replicas=1)
    return run("10")


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
    assert 0 < deployed["seconds_until_unready"] < deployed["seconds_until_restarted"]


def test_the_deployed_network_answers_as_the_export_does(
    deployed: dict[str, Any], served: dict[str, Any]
) -> None:
    assert deployed["top_label"] == served["top_label"]


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


def test_the_notebooks_leave_nothing(deployed: dict[str, Any], scaled: dict[str, Any]) -> None:
    assert (deployed["leftovers"], scaled["leftovers"]) == ([], [])


def test_the_first_requests_are_answered_by_a_pod(served: dict[str, Any]) -> None:
    assert served["rest_agrees"] is True
    assert served["mistakes"]["a wrong input name"] == "INVALID_ARGUMENT"


def test_cleaning_up_finds_what_was_left_and_leaves_nothing(
    cleaned: dict[str, Any], kubectl: Kubectl
) -> None:
    assert cleaned["things_before"] > 5  # the Deployment, its pods, Services, …, and the Namespace
    assert (cleaned["things_after"], cleaned["usd_so_far"]) == (0, 0)
    assert NAMESPACE not in kubectl("get", "namespaces")
