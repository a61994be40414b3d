"""Load from inside the cluster: several generators as one, and what happens when one can't run."""

from __future__ import annotations

import time

import pytest
from conftest import Kubectl, namespaced

from helpers.clusters.kubernetes import KubernetesCluster, loadtest
from helpers.errors import LoadError


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
