"""What a HorizontalPodAutoscaler sees and does, over time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from kubernetes import client

from helpers import settings
from helpers.clusters import patches
from helpers.clusters.kubernetes import render
from helpers.clusters.kubernetes.problems import translated
from helpers.clusters.kubernetes.target import KubernetesCluster
from helpers.errors import NotReadyError
from helpers.progress import Line

MANIFEST = settings.MANIFESTS / "components" / "autoscaling" / "horizontalpodautoscaler.yaml"
_PERIOD_S = 1.0


@dataclass(frozen=True)
class Moment:
    """The autoscaler and its Deployment at one moment.

    Args:
        at_s: seconds since the record began.
        wanted: replicas that the autoscaler asks for.
        ready: replicas that serve.
        used: processor time used, as a share of what the replicas requested; None while there is no
            measurement.
    """

    at_s: float
    wanted: int
    ready: int
    used: float | None


def apply(cluster: KubernetesCluster, patch: Mapping[str, Any] | None = None) -> None:
    """Gives the Deployment to the autoscaler of `manifests/components/autoscaling`.

    The next `cluster.apply` of manifests without an autoscaler takes it away again.

    Args:
        cluster: with the Deployment.
        patch: merged into the manifest, see `patches`.
    """
    resource = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    cluster.apply_resource(patches.merge(resource, patch or {}), MANIFEST.parent)


def record(
    cluster: KubernetesCluster,
    until: Callable[[Moment], bool],
    *,
    since: float | None = None,
    timeout_s: float = 300,
) -> list[Moment]:
    """Looks once a second until something is so, and returns all that was seen.

    Args:
        cluster: with an autoscaler.
        until: when to stop, asked at each moment.
        since: the `time.monotonic()` that counts as 0; None for now.
        timeout_s: the longest time to look.

    Raises:
        NotReadyError: it didn't come about in time.
    """
    line, seen = Line(), []
    began = time.monotonic()
    since = began if since is None else since
    try:
        while True:
            moment = _look(cluster, time.monotonic() - since)
            seen.append(moment)
            used = "not measured yet" if moment.used is None else f"{moment.used:.0%}"
            line.show(
                f"{moment.ready} ready of {moment.wanted} wanted, processor time of the request: "
                f"{used} … {moment.at_s:.0f} s"
            )
            if until(moment):
                return seen
            if time.monotonic() - began > timeout_s:
                raise NotReadyError(
                    f"the autoscaler was watched for {timeout_s:g} s",
                    cause=f"it has {moment.ready} ready of {moment.wanted} wanted replicas, and "
                    f"sees {used}",
                    next_step="`kubectl describe hpa` says what it waits for; it needs "
                    "metrics-server.",
                )
            time.sleep(_PERIOD_S)
    finally:
        line.end()


def _look(cluster: KubernetesCluster, at_s: float) -> Moment:
    name, namespace = render.DEPLOYMENT, cluster.namespace
    with translated("the autoscaler can't be read", context=cluster.context):
        api = client.AutoscalingV2Api(cluster.api)
        autoscaler = api.read_namespaced_horizontal_pod_autoscaler(name, namespace)
        deployment = client.AppsV1Api(cluster.api).read_namespaced_deployment(name, namespace)
    measured = [
        metric.resource.current.average_utilization
        for metric in autoscaler.status.current_metrics or ()
        if metric.type == "Resource" and metric.resource.current.average_utilization is not None
    ]
    return Moment(
        at_s=at_s,
        wanted=autoscaler.status.desired_replicas or deployment.spec.replicas or 0,
        ready=deployment.status.ready_replicas or 0,
        used=measured[0] / 100 if measured else None,
    )
