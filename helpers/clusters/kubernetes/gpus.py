"""GPU nodes that aren't there, and the draining of nodes, there or not.

What a cluster with GPUs does with our pods is decided by its scheduler, and the scheduler sees of
a node only what the API says of it. So nodes that exist in the API alone are enough to watch it
decide: kwok (on the test cluster) keeps them alive and calls the pods on them running. Such pods
run nothing and answer nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from kubernetes import client

from helpers.closing import Closing
from helpers.clusters.kubernetes import render
from helpers.clusters.kubernetes.problems import translated
from helpers.clusters.kubernetes.target import KubernetesCluster
from helpers.errors import ClusterError, SetupError

RESOURCE = "nvidia.com/gpu"
PREFIX = "simulated-gpu"
_READY_S = 20  # kwok answers within a second or two
_ZONES = 2
# What GKE calls a node with an L4, so that the overlay for GKE finds its nodes here too; and what
# NVIDIA's GPU operator calls it elsewhere.
_LABELS = {"cloud.google.com/gke-accelerator": "nvidia-l4", "nvidia.com/gpu.product": "NVIDIA-L4"}


@dataclass(frozen=True)
class GpuNode:
    """A node with GPUs, as the scheduler sees it.

    Args:
        name: of the node.
        zone: where it stands.
        gpus: how many it offers.
        pods: the pods on it that asked for some.
        cordoned: whether it takes no more pods.
    """

    name: str
    zone: str
    gpus: int
    pods: tuple[str, ...] = ()
    cordoned: bool = False


@dataclass(frozen=True)
class Eviction:
    """How a pod left a node that was drained.

    Args:
        pod: its name.
        refused: how often the eviction was refused, since the disruption budget was used up.
        evicted_s: seconds from the drain's start until it was granted.
    """

    pod: str
    refused: int
    evicted_s: float


class SimulatedGpus(Closing):
    """GPU nodes that exist in the API only; a context manager that removes them.

    They carry the taint that real ones do, so nothing lands on them that doesn't tolerate it.

    Args:
        cluster: where; its credentials have to allow making nodes.
        nodes: how many.
        per_node: GPUs of each.

    Raises:
        SetupError: nothing in this cluster keeps such nodes alive (kwok does).
        ClusterError: they can't be made.
    """

    def __init__(self, cluster: KubernetesCluster, *, nodes: int, per_node: int = 1) -> None:
        self._cluster = cluster
        self._core = client.CoreV1Api(cluster.api)
        self.names = [f"{PREFIX}-{number + 1}" for number in range(nodes)]
        remove(cluster)
        try:
            with translated("the simulated nodes can't be made", context=cluster.context):
                for number, name in enumerate(self.names):
                    body = _node(name, zone=f"zone-{number % _ZONES + 1}", gpus=per_node)
                    self._core.create_node(body, field_manager=render.MANAGER)
            self._await_ready()
        except BaseException:
            self.close()
            raise

    def table(self) -> list[GpuNode]:
        """The nodes, and which of the cluster's pods are on them."""
        nodes = _simulated(self._cluster)
        with translated("the pods can't be listed", context=self._cluster.context):
            pods = self._core.list_namespaced_pod(self._cluster.namespace).items
        return [
            GpuNode(
                name=node.metadata.name,
                zone=node.metadata.labels["topology.kubernetes.io/zone"],
                gpus=int(node.status.allocatable[RESOURCE]),
                pods=tuple(
                    sorted(p.metadata.name for p in pods if p.spec.node_name == node.metadata.name)
                ),
                cordoned=bool(node.spec.unschedulable),
            )
            for node in nodes
        ]

    def close(self) -> None:
        """Removes the nodes; the pods on them go with them. May be called again."""
        remove(self._cluster)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        while not all(_is_ready(node) for node in _simulated(self._cluster)):
            if time.monotonic() > deadline:
                raise SetupError(
                    f"simulated nodes don't become ready on {self._cluster.context}",
                    cause="no kwok answers for them",
                    next_step="Use the test cluster (`make cluster-up`), which has kwok, or "
                    "install it: kwok.sigs.k8s.io.",
                )
            time.sleep(0.1)


def drain(cluster: KubernetesCluster, node: str, *, timeout_s: float = 180) -> list[Eviction]:
    """Cordons a node and evicts the cluster's pods from it, as `kubectl drain` does.

    An eviction is a request: the API server refuses it for as long as it would leave fewer pods
    ready than the PodDisruptionBudget wants, and it is asked again until it agrees. Only pods of
    the cluster's namespace are evicted. `uncordon` takes the node into use again.

    Returns:
        The evictions, in the order in which they were granted.

    Raises:
        ClusterError: there is no such node, or pods are still on it after that time.
    """
    core = client.CoreV1Api(cluster.api)
    refused: Counter[str] = Counter()
    granted: dict[str, Eviction] = {}
    start = time.monotonic()
    with translated(f"{node} can't be drained", context=cluster.context):
        _cordon(core, node, True)
        while left := _names_on(core, cluster.namespace, node):
            for pod in left:
                if pod in granted:
                    continue  # it is on its way
                if _evict(core, cluster.namespace, pod):
                    granted[pod] = Eviction(pod, refused[pod], time.monotonic() - start)
                else:
                    refused[pod] += 1
            if time.monotonic() - start > timeout_s:
                held = [pod for pod in left if pod not in granted]
                raise ClusterError(
                    f"{node} is not drained after {timeout_s:g} s",
                    cause=f"the disruption budget doesn't let {', '.join(held)} go"
                    if held
                    else f"{', '.join(left)} takes long to end",
                    next_step="Pods that were evicted before must be ready elsewhere first: see "
                    "`pods()`. `uncordon` takes the node into use again.",
                )
            time.sleep(0.5)
    return list(granted.values())


def may_drain(cluster: KubernetesCluster) -> bool:
    """Whether the credentials may drain a node: change it, and evict pods from it.

    The API server is asked, as `kubectl auth can-i` does, so that nothing has to be tried. In a
    namespace of a shared cluster they usually may not.

    Raises:
        ClusterError: the cluster doesn't answer.
    """
    evict = {"verb": "create", "resource": "pods", "subresource": "eviction"}
    with translated("the rights to drain a node can't be asked for", context=cluster.context):
        return may(cluster, verb="patch", resource="nodes") and may(
            cluster, namespace=cluster.namespace, **evict
        )


def may(cluster: KubernetesCluster, **attributes: str) -> bool:
    """Whether the credentials allow something, in the words of a SelfSubjectAccessReview."""
    review = client.AuthorizationV1Api(cluster.api).create_self_subject_access_review(
        {"spec": {"resourceAttributes": attributes}}
    )
    return bool(review.status.allowed)


def uncordon(cluster: KubernetesCluster, node: str) -> None:
    """Lets pods onto a node again."""
    with translated(f"{node} can't be taken into use", context=cluster.context):
        _cordon(client.CoreV1Api(cluster.api), node, False)


def leftovers(cluster: KubernetesCluster) -> list[str]:
    """The simulated nodes that are still there, a line each."""
    return [f"Node {node.metadata.name}" for node in _simulated(cluster)]


def remove(cluster: KubernetesCluster) -> None:
    """Removes the simulated nodes with the pods on them, and waits until they are gone."""
    core = client.CoreV1Api(cluster.api)
    with translated("the simulated nodes can't be removed", context=cluster.context):
        while nodes := _simulated(cluster):
            for name in [node.metadata.name for node in nodes]:
                with contextlib.suppress(client.exceptions.NotFoundException):
                    # Cordoned, or what owns the pods would put the next ones there. The pods of a
                    # node that is gone would stay for a minute, and hold up their namespace's end.
                    _cordon(core, name, True)
                    _delete_pods(core, name)
                    core.delete_node(name)
            time.sleep(0.1)


def _node(name: str, *, zone: str, gpus: int) -> dict[str, Any]:
    # Plenty of all else, so that it is GPUs that run out.
    offers = {"cpu": "64", "memory": "256Gi", "pods": "32", RESOURCE: str(gpus)}
    return {
        "metadata": {
            "name": name,
            "labels": {
                render.OWNED: render.MANAGER,
                "kubernetes.io/hostname": name,
                "topology.kubernetes.io/zone": zone,
                **_LABELS,
            },
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "spec": {"taints": [{"key": RESOURCE, "value": "present", "effect": "NoSchedule"}]},
        "status": {"capacity": offers, "allocatable": offers},
    }


def _simulated(cluster: KubernetesCluster) -> list[Any]:
    with translated("the nodes can't be listed", context=cluster.context):
        found = client.CoreV1Api(cluster.api).list_node(label_selector=render.SELECTOR)
    return list(found.items)


def _is_ready(node: Any) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in node.status.conditions or ())


def _cordon(core: client.CoreV1Api, node: str, cordoned: bool) -> None:
    core.patch_node(node, {"spec": {"unschedulable": cordoned}})


def _delete_pods(core: client.CoreV1Api, node: str) -> None:
    """Ends the pods of a simulated node at once: there is nothing in them to end."""
    for pod in core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={node}").items:
        name, namespace = pod.metadata.name, pod.metadata.namespace
        with contextlib.suppress(client.exceptions.NotFoundException):
            core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)


def _names_on(core: client.CoreV1Api, namespace: str, node: str) -> list[str]:
    found = core.list_namespaced_pod(namespace, field_selector=f"spec.nodeName={node}")
    return [pod.metadata.name for pod in found.items]


def _evict(core: client.CoreV1Api, namespace: str, pod: str) -> bool:
    """Whether the eviction was granted; a pod that is gone already counts as evicted."""
    body = {"metadata": {"name": pod, "namespace": namespace}}
    try:
        core.create_namespaced_pod_eviction(pod, namespace, body)
    except client.ApiException as error:
        if error.status == 429:  # the budget is used up; so says the server, whatever the client
            return False
        if error.status != 404:
            raise
    return True
