"""Load from inside the cluster: an Indexed Job whose histograms are collected and merged.

Percentiles of several generators can't be averaged; histograms can be added up. Throughputs can,
too, since all generators measure the same seconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client

from helpers import settings, stats
from helpers.clusters.kubernetes import render
from helpers.clusters.kubernetes.problems import translated
from helpers.clusters.kubernetes.target import KubernetesCluster
from helpers.clusters.progress import Line
from helpers.errors import LoadError

MANIFESTS = settings.MANIFESTS / "loadtest"
EVERY_REPLICA = f"dns:///inception-headless:{settings.GRPC_PORT}"
THE_SERVICE = f"inception:{settings.GRPC_PORT}"
_JOB = "loadtest"
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Result:
    """What a load test in the cluster found.

    Args:
        throughput_per_s: of all generators together.
        failures: by the gRPC status's name.
        histogram: the latencies of all of them.
        requests: how many requests each replica answered, the warm-up included, by pod; from the
            servers' own metrics.
        problems: why the figures can't be trusted, if they can't.
    """

    throughput_per_s: float
    failures: Mapping[str, int]
    histogram: stats.Histogram
    requests: Mapping[str, int]
    problems: tuple[str, ...]

    @property
    def busiest_share(self) -> float:
        """The part of all requests that the busiest replica answered: 1.0 is pinning."""
        return max(self.requests.values(), default=0) / max(sum(self.requests.values()), 1)

    @property
    def imbalance(self) -> float:
        """How far the furthest replica is from the mean, as a share of the mean."""
        mean = sum(self.requests.values()) / max(len(self.requests), 1)
        return max((abs(n - mean) for n in self.requests.values()), default=0.0) / max(mean, 1)

    def __repr__(self) -> str:
        failed = ", ".join(f"{n} {code}" for code, n in self.failures.items()) or "none"
        by_pod = ", ".join(f"{pod}: {count}" for pod, count in self.requests.items())
        median = self.histogram.quantile_ms(0.5) if self.histogram.count else float("nan")
        return (
            f"{self.throughput_per_s:.4g} images/s, median {median:.4g} ms, failures: {failed}\n"
            f"requests by replica: {by_pod}"
        )


def run(
    cluster: KubernetesCluster,
    address: str = EVERY_REPLICA,
    *,
    generators: int = 2,
    concurrency: int = 8,
    duration_s: float = 20,
    warmup_s: float = 5,
    lead_s: float = 12,
    image: str | None = None,
    manifests: Path = MANIFESTS,
) -> Result:
    """Runs the load test in the cluster and returns what it found.

    Args:
        cluster: whose namespace the Job runs in, beside the replicas.
        address: what each generator asks; see `manifests/loadtest/job.yaml`.
        generators: pods.
        concurrency: requests in flight, of each.
        duration_s: seconds that are measured.
        warmup_s: seconds of the same load before.
        lead_s: seconds for the generators' pods to start, before all begin at once.
        image: the generator's, in the place of the manifest's.
        manifests: the Job's.

    Raises:
        LoadError: a generator failed, or started too late to be measured with the others.
    """
    job, others = _read(manifests, cluster.namespace)
    container = job["spec"]["template"]["spec"]["containers"][0]
    if image:
        container["image"] = image
    job["spec"] |= {"completions": generators, "parallelism": generators}
    values = {
        "ADDRESS": address,
        "CONCURRENCY": str(concurrency),
        "SECONDS": f"{duration_s:g}",
        "WARMUP_SECONDS": f"{warmup_s:g}",
        "START_AT": f"{time.time() + lead_s:.3f}",
    }
    container["env"] = [{"name": name, "value": value} for name, value in values.items()]
    _remove(cluster)
    before = cluster.request_counts()
    for resource in (*others, job):
        cluster.apply_resource(resource, manifests)
    try:
        _wait(cluster, generators, timeout_s=lead_s + warmup_s + duration_s + 120)
        found = [_result(cluster, pod) for pod in _pods(cluster)]
    finally:
        _remove(cluster)
    after = cluster.request_counts()
    return _merged(found, {pod: after[pod] - before.get(pod, 0) for pod in after})


def _merged(found: list[dict[str, Any]], requests: Mapping[str, int]) -> Result:
    summaries = [stats.Summary.from_json(result["summary"]) for result in found]
    failures: dict[str, int] = {}
    for summary in summaries:
        for code, count in summary.failures.items():
            failures[code] = failures.get(code, 0) + count
    problems = [problem for result in found for problem in result["problems"]]
    problems += [
        f"generator {result['generator']} began {result['late_s']:.1f} s after the others: "
        "allow more lead_s"
        for result in found
        if result["late_s"] > 1
    ]
    return Result(
        throughput_per_s=sum(summary.throughput_per_s for summary in summaries),
        failures=failures,
        histogram=stats.Histogram.merged(summary.histogram for summary in summaries),
        requests=requests,
        problems=tuple(problems),
    )


def _read(manifests: Path, namespace: str) -> tuple[render.Resource, list[render.Resource]]:
    resources = render.prepare(render.render(manifests), namespace=namespace)
    (job,) = (resource for resource in resources if resource["kind"] == "Job")
    return job, [resource for resource in resources if resource is not job]


def _pods(cluster: KubernetesCluster) -> list[Any]:
    with translated("the load generators can't be listed", context=cluster.context):
        found = client.CoreV1Api(cluster.api).list_namespaced_pod(
            cluster.namespace,
            label_selector=f"batch.kubernetes.io/job-name={_JOB}",
            _request_timeout=_TIMEOUT_S,
        )
    return list(found.items)


def _wait(cluster: KubernetesCluster, generators: int, *, timeout_s: float) -> None:
    """Until the Job is complete; fails at once when a generator does."""
    line, start = Line(), time.monotonic()
    try:
        while True:
            with translated("the load test can't be followed", context=cluster.context):
                job = client.BatchV1Api(cluster.api).read_namespaced_job(
                    _JOB, cluster.namespace, _request_timeout=_TIMEOUT_S
                )
            if (job.status.succeeded or 0) >= generators:
                return
            for condition in job.status.conditions or ():
                if condition.type in ("Failed", "FailureTarget") and condition.status == "True":
                    raise _failed(cluster, condition.message or condition.reason)
            waited_s = time.monotonic() - start
            if waited_s > timeout_s:
                raise _failed(cluster, f"it isn't finished after {waited_s:.0f} s")
            line.show(f"load test in the cluster … {waited_s:.0f} s")
            time.sleep(0.5)
    finally:
        line.end()


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
                _request_timeout=_TIMEOUT_S,
            )
        except client.ApiException as error:
            if error.status != 404:
                raise
            return
        deadline = time.monotonic() + 60
        while _pods(cluster) and time.monotonic() < deadline:
            time.sleep(0.2)
