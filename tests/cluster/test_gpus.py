"""What the real scheduler does with the GPU overlay, on nodes with GPUs that kwok simulates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from conftest import Kubectl, connected, namespaced

from helpers import settings
from helpers.clusters.kubernetes import KubernetesCluster, gpus
from helpers.errors import ClusterError, NotReadyError

OVERLAY = settings.MANIFESTS / "overlays" / "gke-gpu"


@pytest.fixture
def cluster(context: str) -> Iterator[KubernetesCluster]:
    """As everywhere, and no simulated node afterwards either."""
    with connected(context, "gpus") as cluster:
        yield cluster
        assert gpus.leftovers(cluster) == []


def spread(nodes: gpus.SimulatedGpus) -> list[int]:
    return [len(node.pods) for node in nodes.table()]


def test_each_gpu_gets_one_replica(cluster: KubernetesCluster) -> None:
    with gpus.SimulatedGpus(cluster, nodes=4) as nodes:
        cluster.apply(OVERLAY, replicas=4)
        cluster.wait_until_ready(timeout_s=60)
        assert spread(nodes) == [1, 1, 1, 1]


def test_the_replica_too_many_is_told_what_is_missing(cluster: KubernetesCluster) -> None:
    with gpus.SimulatedGpus(cluster, nodes=2):
        cluster.apply(OVERLAY, replicas=3)
        with pytest.raises(NotReadyError, match=r"Insufficient nvidia\.com/gpu.*Add nodes that"):
            cluster.wait_until_ready(timeout_s=60)
        assert Counter(pod.status for pod in cluster.pods()) == {"Running": 2, "Pending": 1}


def test_a_gpu_that_comes_takes_the_replica_that_waited(
    cluster: KubernetesCluster, kubectl: Kubectl
) -> None:
    with gpus.SimulatedGpus(cluster, nodes=1):
        cluster.apply(OVERLAY, replicas=2)
        with pytest.raises(NotReadyError):
            cluster.wait_until_ready(timeout_s=60)
    with gpus.SimulatedGpus(cluster, nodes=2) as nodes:
        namespaced(kubectl, cluster)("rollout", "status", "deployment/inception", "--timeout=60s")
        assert spread(nodes) == [1, 1]


def test_replicas_spread_over_zones(cluster: KubernetesCluster) -> None:
    with gpus.SimulatedGpus(cluster, nodes=4, per_node=2) as nodes:
        cluster.apply(OVERLAY, replicas=4)
        cluster.wait_until_ready(timeout_s=60)
        by_zone: Counter[str] = Counter()
        for node in nodes.table():
            by_zone[node.zone] += len(node.pods)
        assert by_zone == {"zone-1": 2, "zone-2": 2}


def test_a_roll_out_needs_no_spare_gpu(cluster: KubernetesCluster) -> None:
    with gpus.SimulatedGpus(cluster, nodes=2) as nodes:
        cluster.apply(OVERLAY, replicas=2)
        before = {pod.name for pod in cluster.wait_until_ready(timeout_s=60)}
        cluster.apply(OVERLAY, replicas=2, args=["--file_system_poll_wait_seconds=2"])
        after = {pod.name for pod in cluster.wait_until_ready(timeout_s=60)}
        assert (before & after, spread(nodes)) == (set(), [1, 1])


def test_a_drained_node_moves_its_pods_within_the_budget(cluster: KubernetesCluster) -> None:
    """One may go at a time: the second is refused until the first is ready elsewhere."""
    with gpus.SimulatedGpus(cluster, nodes=3, per_node=2) as nodes:
        cluster.apply(OVERLAY, replicas=4)
        cluster.wait_until_ready(timeout_s=60)
        full = next(node for node in nodes.table() if len(node.pods) == 2)
        moved = gpus.drain(cluster, full.name, timeout_s=60)
        assert len(cluster.wait_until_ready(timeout_s=60)) == 4
        assert {move.pod for move in moved} == set(full.pods)
        assert moved[1].evicted_s > moved[0].evicted_s
        assert sorted(spread(nodes)) == [0, 2, 2]
        assert [node.name for node in nodes.table() if node.cordoned] == [full.name]


def test_a_budget_that_is_used_up_refuses_an_eviction(
    cluster: KubernetesCluster, kubectl: Kubectl
) -> None:
    with gpus.SimulatedGpus(cluster, nodes=2) as nodes:
        cluster.apply(OVERLAY, replicas=2)
        cluster.wait_until_ready(timeout_s=60)
        namespaced(kubectl, cluster)(
            *("patch", "poddisruptionbudget", "inception", "--type=merge"),
            *("--patch", '{"spec": {"maxUnavailable": 0}}'),
        )
        with pytest.raises(ClusterError, match=r"not drained after 4 s: the disruption budget"):
            gpus.drain(cluster, nodes.names[0], timeout_s=4)
        assert spread(nodes) == [1, 1]


def test_nothing_else_lands_on_a_gpu_node(cluster: KubernetesCluster, kubectl: Kubectl) -> None:
    """They are tainted, as those of a cloud are: a pod that asks for no GPU stays away."""
    with gpus.SimulatedGpus(cluster, nodes=1) as nodes:
        cluster.apply(replicas=0)
        inside = namespaced(kubectl, cluster)
        inside("create", "-f", "-", stdin=yaml.safe_dump(plain_pod(nodes.names[0])))
        inside("wait", "--for=condition=PodScheduled=false", "pod/plain", "--timeout=30s")
        assert spread(nodes) == [0]
        inside("delete", "pod", "plain", "--now")


def plain_pod(node: str) -> dict[str, Any]:
    container = {
        "name": "plain",
        "image": "plain",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain"}, "spec": spec}
