"""Load from inside the cluster: an Indexed Job whose histograms are collected and merged.

Percentiles of several generators can't be averaged; histograms can be added up. Throughputs can,
too, since all generators measure the same seconds.
"""

from __future__ import annotations

import json
import time
from typing import Any

from kubernetes import client

from helpers import settings, stats
from helpers.closing import Closing
from helpers.clusters.kubernetes import render, rollout
from helpers.clusters.kubernetes.problems import translated
from helpers.clusters.kubernetes.target import KubernetesCluster
from helpers.clusters.load_result import Result, Through, difference
from helpers.errors import LoadError
from helpers.progress import Line

MANIFESTS = settings.MANIFESTS / "loadtest"
ADDRESSES = {
    "service": f"inception:{settings.GRPC_PORT}",
    "replicas": f"dns:///inception-headless:{settings.GRPC_PORT}",
}
_JOB = "loadtest"
_SPARE_S = 120  # for the generators' pods to start in, and to write their results


def start(
    cluster: KubernetesCluster,
    through: Through = "replicas",
    *,
    generators: int = 1,
    channels: int = 1,
    concurrency: int = 8,
    duration_s: float = 20,
    warmup_s: float = 5,
    rounds: int = 1,
    only: int | None = None,
    lead_s: float = 12,
    image: str | None = None,
) -> LoadTest:
    """Starts a load test in the cluster and returns at once.

    Args:
        cluster: whose namespace the Job runs in, beside the replicas.
        through: `service` or `replicas`, see `clusters.loadtest.run`.
        generators: pods.
        channels: connections to each address, of each.
        concurrency: requests in flight, of each.
        duration_s: seconds that are measured.
        warmup_s: seconds of the same load before.
        rounds: how often; each looks the address up again, and finds the replicas that are new.
        only: of `replicas`, the first so many that are ready; None for all.
        lead_s: seconds for the pods of several generators to start, before all begin at once.
        image: the generator's, in the place of the manifest's.

    Raises:
        ClusterError: the Job can't be made.
    """
    job, others = _read(cluster.namespace)
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["image"] = image or container["image"]
    job["spec"] |= {"completions": generators, "parallelism": generators}
    lead_s = lead_s if generators > 1 else 0.0
    pods = [pod.address for pod in cluster.pods() if pod.ready][:only] if only else []
    values = {
        "ADDRESS": ",".join(pods) or ADDRESSES[through],
        "CHANNELS": str(channels),
        "CONCURRENCY": str(concurrency),
        "SECONDS": f"{duration_s:g}",
        "WARMUP_SECONDS": f"{warmup_s:g}",
        "ROUNDS": str(rounds),
        "START_AT": f"{time.time() + lead_s:.3f}" if lead_s else "0",
    }
    container["env"] = [{"name": name, "value": value} for name, value in values.items()]
    _remove(cluster)
    before = cluster.request_counts()
    for resource in (*others, job):
        cluster.apply_resource(resource, MANIFESTS)
    return LoadTest(cluster, generators, before, lead_s + warmup_s + rounds * duration_s + _SPARE_S)


class LoadTest(Closing):
    """A load test that runs in the cluster. Leaving its `with` block removes it.

    Args:
        cluster: where.
        generators: how many pods it has.
        before: the replicas' request counts at its start.
        timeout_s: how long it may take.
    """

    def __init__(
        self,
        cluster: KubernetesCluster,
        generators: int,
        before: dict[str, int],
        timeout_s: float,
    ) -> None:
        self._cluster, self._generators, self._before = cluster, generators, before
        self._started, self._timeout_s = time.monotonic(), timeout_s

    @property
    def done(self) -> bool:
        """Whether all generators have written their results.

        Raises:
            LoadError: one of them failed, or never will start; or it takes too long.
        """
        cluster = self._cluster
        with translated("the load test can't be followed", context=cluster.context):
            job = client.BatchV1Api(cluster.api).read_namespaced_job(_JOB, cluster.namespace)
        if (job.status.succeeded or 0) >= self._generators:
            return True
        for condition in job.status.conditions or ():
            if condition.type in ("Failed", "FailureTarget") and condition.status == "True":
                raise _failed(cluster, condition.message or condition.reason)
        # A Job's own controller waits on.
        if any(_waits_for(pod) in rollout.STUCK for pod in _pods(cluster)):
            raise _failed(cluster, "a generator can't start")
        waited_s = time.monotonic() - self._started
        if waited_s > self._timeout_s:
            raise _failed(cluster, f"it isn't finished after {waited_s:.0f} s")
        return False

    def result(self) -> Result:
        """Waits for the end, removes the Job, and returns what it found.

        Raises:
            LoadError: a generator failed.
        """
        line = Line()
        try:
            while not self.done:
                line.show(f"load test in the cluster … {time.monotonic() - self._started:.0f} s")
                time.sleep(0.5)
            found = [_result(self._cluster, pod) for pod in _pods(self._cluster)]
        finally:
            line.end()
            self.close()
        requests = difference(self._cluster.request_counts(), self._before)
        late = [
            f"generator {one['generator']} began {one['late_s']:.1f} s after the others: allow "
            "more lead_s"
            for one in found
            if one["late_s"] > 1
        ]
        summaries = [stats.Summary.from_json(one["summary"]) for one in found]
        return Result(
            stats.pooled(summaries, at_once=True),
            requests,
            (*(problem for one in found for problem in one["problems"]), *late),
        )

    def close(self) -> None:
        """Removes the Job and its pods. May be called again."""
        _remove(self._cluster)


def _read(namespace: str) -> tuple[render.Resource, list[render.Resource]]:
    resources = render.prepare(render.render(MANIFESTS), namespace=namespace)
    (job,) = (resource for resource in resources if resource["kind"] == "Job")
    return job, [resource for resource in resources if resource is not job]


def _pods(cluster: KubernetesCluster) -> list[Any]:
    with translated("the load generators can't be listed", context=cluster.context):
        found = client.CoreV1Api(cluster.api).list_namespaced_pod(
            cluster.namespace, label_selector=f"batch.kubernetes.io/job-name={_JOB}"
        )
    return list(found.items)


def _waits_for(pod: Any) -> str:
    """The reason why a generator's container doesn't run; empty when it does, or soon will."""
    for status in pod.status.container_statuses or ():
        if status.state.waiting is not None:
            return status.state.waiting.reason or ""
    return ""


def _failed(cluster: KubernetesCluster, reason: str) -> LoadError:
    words = []
    for pod in _pods(cluster):
        for status in pod.status.container_statuses or ():
            waiting = status.state.waiting
            if waiting is not None and waiting.reason:
                words.append(f"{pod.metadata.name} is in {waiting.reason}: {waiting.message}")
            elif not status.ready and status.state.terminated is not None:
                last = cluster.logs(pod.metadata.name).strip().splitlines()[-1:]
                words.append(f"{pod.metadata.name}: {' '.join(last)}")
    return LoadError(
        f"the load test in {cluster.namespace} failed",
        cause="; ".join([reason, *words]),
        next_step="Build inception-loadtest:1 from manifests/loadtest/Dockerfile if its image is "
        "missing; otherwise see that replicas are ready.",
    )


def _result(cluster: KubernetesCluster, pod: Any) -> dict[str, Any]:
    log = cluster.logs(pod.metadata.name).strip()
    try:
        result: dict[str, Any] = json.loads(log.splitlines()[-1])
        result["summary"]["histogram"]
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise LoadError(
            f"{pod.metadata.name} left no result",
            cause=f"its log ends: {log[-200:]}",
            next_step="Read manifests/loadtest/generate.py, which writes it.",
        ) from error
    return result


def _remove(cluster: KubernetesCluster) -> None:
    """Deletes the Job of an earlier run, and waits until its pods are gone."""
    with translated("an earlier load test can't be removed", context=cluster.context):
        try:
            client.BatchV1Api(cluster.api).delete_namespaced_job(
                _JOB,
                cluster.namespace,
                propagation_policy="Foreground",
                grace_period_seconds=0,
            )
        except client.ApiException as error:
            if error.status != 404:
                raise
            return
        deadline = time.monotonic() + 60
        while _pods(cluster) and time.monotonic() < deadline:
            time.sleep(0.2)
