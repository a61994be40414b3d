"""Faults on the cluster: what each lost, and that all was well again after it.

Notebook 09 brings most of them about; what takes a cluster's root, these tests do themselves. Every
row that was measured is in the junit report, as a property of its test. What notebook 10 locks is
tried here, too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from conftest import RUN, Kubectl, cable, connected, notebooks_namespace
from notebook_runs import published_by

from helpers.client import PLAIN, Resilience
from helpers.clusters import patches
from helpers.clusters.kubernetes import KubernetesCluster, forward
from helpers.faults import Drill, Fault, actions
from helpers.lab import wait_until

pytestmark = pytest.mark.timeout(1200)  # a whole notebook is run for the first of them

CLIENTS = {
    "plain": replace(PLAIN, balancing="round_robin"),
    "resilient": Resilience(deadline_s=60, keepalive_s=1, hedge_after_s=0.3),
}
FAULTS = [
    "kill -9 of a server",
    "a server hangs (SIGSTOP)",
    "all replicas at once",
    "a poisoned request",
    "20 ms delay, 5 % loss",
    "network cut",
    "a node drained",
    "out of memory",
]
LOCKS = [
    "none: /tmp is a volume",
    "readOnlyRootFilesystem",
    "runAsUser",
    "capabilities: drop ALL",
    "allowPrivilegeEscalation",
    "seccompProfile",
    "automountServiceAccountToken",
]
own_cluster = pytest.mark.skipif(
    not (RUN / "kube-apiserver.pid").exists(), reason="it takes the root of our own test cluster"
)


@pytest.fixture(scope="module")
def survived(context: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What notebook 09 publishes on the cluster."""
    folder = tmp_path_factory.mktemp("notebook")
    parameters = {"MODELS": str(folder / "models"), "WEIGHTS": "random"}
    with notebooks_namespace(context, "test-failures") as where:
        found = published_by("09", folder, where | parameters)
    return found | {"faults": found["faults"] | found["cluster_faults"]}


@pytest.fixture(scope="module")
def locked(context: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What notebook 10 publishes on the cluster."""
    folder = tmp_path_factory.mktemp("notebook")
    parameters = {"MODELS": str(folder / "models"), "WEIGHTS": "random"}
    with notebooks_namespace(context, "test-locks") as where:
        return published_by("10", folder, where | parameters)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_resilient_client_loses_nothing(
    survived: dict[str, Any], fault: str, record_property: Callable[[str, object], None]
) -> None:
    measured = survived["faults"][fault]
    record_property(fault, str(measured))
    assert measured["lost"]["resilient"] == 0


@pytest.mark.parametrize("fault", ["a server hangs (SIGSTOP)", "all replicas at once"])
def test_the_plain_client_loses_requests(survived: dict[str, Any], fault: str) -> None:
    assert survived["faults"][fault]["lost"]["plain"] > 0


@pytest.mark.parametrize("fault", [*FAULTS[:3], "a node drained", "out of memory"])
def test_the_replicas_come_back(survived: dict[str, Any], fault: str) -> None:
    assert survived["faults"][fault]["ready_s"] > 0


def test_a_short_queue_saves_the_goodput_that_an_endless_one_loses(
    survived: dict[str, Any],
) -> None:
    assert survived["goodput_bounded"] > survived["goodput_unbounded"]


def test_mutual_tls_leaves_rest_open_until_its_port_is_shut(locked: dict[str, Any]) -> None:
    shut = dict.fromkeys(("none", "another authority's", "no TLS"), "UNAVAILABLE")
    assert locked["tls"] == {"ours": "OK", **shut, "REST": "OK"}
    assert locked["doors_shut"] == {"ours": "OK", **shut, "REST": "no answer"}


def test_an_expired_certificate_is_refused_until_it_is_replaced(locked: dict[str, Any]) -> None:
    assert locked["expired"] == ["UNAVAILABLE", "OK"]


def test_the_pod_is_shut(locked: dict[str, Any]) -> None:
    # A lock that doesn't hold has what the pod said in its place.
    assert locked["pod_locks"] == dict.fromkeys(LOCKS, True)


def test_the_server_can_open_no_connection(locked: dict[str, Any]) -> None:
    assert locked["network_policy"] == {"with the policy": "shut", "without it": "open"}


def test_nothing_is_left(survived: dict[str, Any], locked: dict[str, Any]) -> None:
    assert (survived["leftovers"], locked["leftovers"]) == ([], [])


@pytest.fixture
def three(context: str) -> Iterator[KubernetesCluster]:
    """Three replicas over both nodes, which leave a node that is away after five seconds."""
    leave = [
        {"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute",
         "tolerationSeconds": 5}
        for why in ("unreachable", "not-ready")
    ]  # fmt: skip
    with connected(context, "test-faults") as cluster:
        small = patches.container(resources={"requests": {"cpu": "100m"}})
        cluster.apply(replicas=3, patch=patches.combine(small, patches.pod(tolerations=leave)))
        cluster.wait_until_ready(timeout_s=240)
        yield cluster


@own_cluster
def test_a_port_that_the_policy_does_not_name_is_shut(context: str, kubectl: Kubectl) -> None:
    with connected(context, "test-policy") as cluster:
        cluster.apply(replicas=1)
        cluster.wait_until_ready(timeout_s=240)
        (pod,) = cluster.pods()
        actions.inside(cluster, pod, "python3 -u -m http.server 9999 >/tmp/heard 2>&1 &")

        def opens(port: int) -> bool:
            return forward.accepts(f"{pod.address.rpartition(':')[0]}:{port}")

        def listens() -> bool:  # so that nobody else refuses
            return "Serving" in actions.inside(cluster, pod, "cat /tmp/heard")

        wait_until(listens, what="a listener on another port", timeout_s=60)
        assert (opens(8500), opens(8501), opens(9999)) == (True, True, False)
        kubectl("delete", "networkpolicy", "inception", f"--namespace={cluster.namespace}")
        wait_until(lambda: opens(9999), what="that port to open", timeout_s=60)


@pytest.mark.alone
@own_cluster
def test_requests_go_on_while_the_api_server_is_away(
    three: KubernetesCluster, record_property: Callable[[str, object], None]
) -> None:
    process = int((RUN / "kube-apiserver.pid").read_text())
    with Drill(three, CLIENTS, rate_per_s=15) as drill:
        fault = drill.fault(
            "the API server away",
            lambda: os.kill(process, signal.SIGSTOP),
            undo=lambda: os.kill(process, signal.SIGCONT),
            lasts_s=10,
        )
    record_property("measured", repr(fault))
    assert fault.requests["plain"] > 100
    assert dict(fault.lost) == {"plain": 0, "resilient": 0}


@pytest.mark.alone
@own_cluster
def test_a_node_that_is_cut_off_loses_nothing_to_a_resilient_client(
    three: KubernetesCluster, record_property: Callable[[str, object], None]
) -> None:
    assert {pod.node for pod in three.pods()} == {"node-1", "node-2"}

    with Drill(three, CLIENTS, rate_per_s=15) as drill:
        # 40 s until the node counts as away, 5 s until its pods are replaced, and they start.
        fault: Fault = drill.fault(
            "a node cut off",
            lambda: cable("down"),
            undo=lambda: cable("up"),
            lasts_s=75,
            noticed=True,
            timeout_s=240,
        )
    record_property("measured", repr(fault))
    assert fault.lost["plain"] > 0
    assert fault.lost["resilient"] == 0
