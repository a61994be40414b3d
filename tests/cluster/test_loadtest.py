"""Load from inside the cluster: several generators as one, and what happens when one can't run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Kubectl, namespaced

from helpers.clusters.kubernetes import KubernetesCluster, loadtest
from helpers.errors import LoadError


class Recorder:
    """Stands in for a cluster: keeps what is applied."""

    context, namespace, api = "none", "here", None

    def __init__(self) -> None:
        self.applied: list[dict[str, Any]] = []

    def request_counts(self) -> dict[str, int]:
        return {"a": 1}

    def apply_resource(self, resource: dict[str, Any], folder: Path) -> None:
        self.applied.append(resource)


def test_a_load_test_is_a_job_with_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loadtest, "_remove", lambda cluster: None)
    cluster = Recorder()
    loadtest.start(
        cluster,  # type: ignore[arg-type]
        "service",
        generators=3,
        channels=2,
        duration_s=4,
        rounds=5,
    )
    (job,) = (r for r in cluster.applied if r["kind"] == "Job")
    env = {e["name"]: e["value"] for e in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (3, 3)
    assert (env["ADDRESS"], env["CHANNELS"]) == ("inception:8500", "2")
    assert (env["SECONDS"], env["ROUNDS"]) == ("4", "5")
    assert float(env["START_AT"]) > 0  # three that begin at once


def test_generators_begin_at_once_and_their_results_merge(
    serving: KubernetesCluster, kubectl: Kubectl
) -> None:
    with loadtest.start(
        serving, generators=2, concurrency=2, duration_s=3, warmup_s=1, lead_s=15
    ) as running:
        result = running.result()
    assert result.problems == ()
    assert result.summary.failures == {}
    # The warm-up is in the servers' counts, and what was on its way at the end.
    assert result.summary.successes <= sum(result.requests.values())
    assert result.summary.histogram.count == result.summary.successes > 0
    assert (
        namespaced(kubectl, serving)("get", "jobs,pods", "-l", "app.kubernetes.io/name=loadtest")
        == ""
    )


def test_a_generator_without_an_image_fails_at_once(
    serving: KubernetesCluster, kubectl: Kubectl
) -> None:
    start = time.monotonic()
    with (
        loadtest.start(serving, duration_s=60, image="localhost:1/nowhere:1") as running,
        pytest.raises(LoadError, match=r"ImagePullBackOff.*Build inception-loadtest:1"),
    ):
        running.result()
    assert time.monotonic() - start < 60  # the kubelet itself takes some 15 s to give up
    assert namespaced(kubectl, serving)("get", "jobs") == ""


def test_a_generator_that_finds_nobody_says_so(serving: KubernetesCluster) -> None:
    serving.scale(0)
    serving.wait_until_ready(timeout_s=60)
    try:
        with (
            loadtest.start(serving, "service", duration_s=2) as running,
            pytest.raises(LoadError, match=r"backoff limit; loadtest-0-\w+: .*inception:8500"),
        ):
            running.result()
    finally:
        serving.scale(1)
        serving.wait_until_ready(timeout_s=180)
