"""What a cluster, or our role in it, doesn't allow: a sentence for each feature of a notebook."""

from __future__ import annotations

from typing import Any

from kubernetes import client

from helpers.clusters.kubernetes import gpus
from helpers.clusters.kubernetes.problems import translated
from helpers.clusters.kubernetes.target import KubernetesCluster

_METRICS = "metrics.k8s.io"  # what metrics-server answers


def limitations(cluster: KubernetesCluster) -> dict[str, str]:
    """What can't be done here, by feature: `drain`, `autoscaling`, `gpu` (simulated nodes).

    Raises:
        ClusterError: the cluster doesn't answer.
    """
    found = {}
    if not gpus.may_drain(cluster):
        found["drain"] = "Your role in this cluster doesn't allow you to drain a node."
    with translated("the cluster can't be asked what it offers", context=cluster.context):
        groups = client.ApisApi(cluster.api).get_api_versions().groups
        if _METRICS not in {group.name for group in groups}:
            found["autoscaling"] = (
                "This cluster has no metrics-server, which tells an autoscaler the processor time."
            )
        if not (gpus.may(cluster, verb="create", resource="nodes") and _has_kwok(cluster)):
            found["gpu"] = (
                "This cluster has no kwok, which keeps simulated nodes alive, or your role doesn't "
                "allow you to create nodes."
            )
    return found


def _has_kwok(cluster: KubernetesCluster) -> bool:
    """Whether kwok runs: on our own cluster beside the API server, elsewhere as its Deployment."""
    if cluster.manifests.name == "test-cluster":
        return True
    found: Any = client.AppsV1Api(cluster.api).list_namespaced_deployment(
        "kube-system", field_selector="metadata.name=kwok-controller"
    )
    return bool(found.items)
