"""The kubernetes target does on a real cluster what the interface promises."""

from __future__ import annotations

import time

import grpc
import pytest
from conftest import Kubectl, namespaced

from helpers import photos
from helpers.client import Classifier
from helpers.clusters.kubernetes import KubernetesCluster, render


def classify(address: str) -> int:
    with Classifier(address) as classifier:
        return len(classifier.classify([photos.samples()[0]], timeout_s=20)[0].labels)


def test_a_prediction_comes_through_the_load_balancer(serving: KubernetesCluster) -> None:
    assert classify(serving.load_balancer) == 5


def test_the_replicas_can_be_asked_directly(serving: KubernetesCluster) -> None:
    assert [classify(address) for address in serving.addresses()] == [5]


def test_a_port_is_forwarded_where_the_pods_are_out_of_reach(serving: KubernetesCluster) -> None:
    routes = serving._routes
    direct, routes.direct = routes.direct, False
    try:
        (address,) = serving.addresses()
        assert (address.split(":")[0], classify(address)) == ("127.0.0.1", 5)
    finally:
        routes.direct = direct
        routes.close()


def test_requests_are_counted_by_replica(serving: KubernetesCluster) -> None:
    before = serving.request_counts()
    classify(serving.load_balancer)
    after = serving.request_counts()
    assert [after[pod] - before[pod] for pod in after] == [1]


def test_pods_show_where_they_run(serving: KubernetesCluster, kubectl: Kubectl) -> None:
    (pod,) = serving.pods()
    nodes = {node["metadata"]["name"] for node in kubectl.json("get", "nodes")["items"]}
    assert (pod.ready, pod.status, pod.restarts, pod.node in nodes) == (True, "Running", 0, True)


def test_a_replicas_log_can_be_read(serving: KubernetesCluster) -> None:
    assert "Running gRPC ModelServer" in serving.logs(serving.pods()[0])


def test_a_start_is_told_step_by_step(serving: KubernetesCluster) -> None:
    (start,) = serving.starts()
    steps = [start.scheduled_s, start.pulled_s, start.started_s, start.ready_s]
    assert steps == sorted(steps)
    assert {"Scheduled", "Pulled", "Started"} <= {event.reason for event in serving.events()}


def test_applying_twice_changes_nothing(serving: KubernetesCluster, kubectl: Kubectl) -> None:
    deployment = namespaced(kubectl, serving)
    before = deployment.json("get", "deployment", "inception")["metadata"]["generation"]
    serving.apply(replicas=1)
    assert deployment.json("get", "deployment", "inception")["metadata"]["generation"] == before


def test_it_applies_what_it_scaled_itself(serving: KubernetesCluster) -> None:
    serving.scale(2)
    serving.apply(replicas=1)
    assert serving.progress().wanted == 1
    assert len(serving.wait_until_ready(timeout_s=180)) == 1


def test_flags_are_added_to_the_containers(serving: KubernetesCluster, kubectl: Kubectl) -> None:
    serving.apply(replicas=0, args=["--max_num_load_retries=1", "--enable_model_warmup=false"])
    spec = namespaced(kubectl, serving).json("get", "deployment", "inception")["spec"]
    args = spec["template"]["spec"]["containers"][0]["args"]
    assert [a for a in args if "retries" in a or "warmup" in a] == [
        "--max_num_load_retries=1",
        "--enable_model_warmup=false",
    ]
    serving.apply(replicas=1)
    serving.wait_until_ready(timeout_s=180)


def test_a_roll_out_loses_no_request(serving: KubernetesCluster) -> None:
    """A new revision comes up before the old one goes, and the old one drains."""
    serving.apply(replicas=1, args=["--file_system_poll_wait_seconds=2"])
    codes: dict[str, int] = {}
    deadline = time.monotonic() + 180
    while not (state := serving.progress()).done:
        assert (state.stuck, time.monotonic() < deadline) == ("", True)
        try:
            classify(serving.load_balancer)
            codes["OK"] = codes.get("OK", 0) + 1
        except Exception as error:
            codes[type(error).__name__] = codes.get(type(error).__name__, 0) + 1
    assert set(codes) == {"OK"}


def test_closing_keeps_the_replicas(serving: KubernetesCluster, context: str) -> None:
    with KubernetesCluster(context=context, namespace=serving.namespace) as again:
        assert len(again.pods()) == 1
    assert len(serving.pods()) == 1


def test_delete_leaves_nothing(context: str, kubectl: Kubectl) -> None:
    with KubernetesCluster(
        context=context, namespace="test-delete", overlay="test-cluster"
    ) as cluster:
        cluster.apply(replicas=1)
        assert "Deployment test-delete/inception" in cluster.leftovers()
        cluster.delete()
        assert cluster.leftovers() == []
    assert "test-delete" not in kubectl("get", "namespaces")


def test_delete_spares_what_others_made(context: str, kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "test-shared")
    shared = Kubectl(context, "test-shared")
    try:
        shared("create", "configmap", "theirs")
        with KubernetesCluster(context=context, namespace="test-shared") as cluster:
            cluster.apply(replicas=0)
            cluster.delete()
            assert cluster.leftovers() == []
        assert "theirs" in shared("get", "configmaps")
        assert shared("get", "deployments,services,serviceaccounts", "-l", render.SELECTOR) == ""
    finally:
        kubectl("delete", "namespace", "test-shared")


def test_what_an_earlier_overlay_had_is_pruned(
    cluster: KubernetesCluster, kubectl: Kubectl, tmp_path: object
) -> None:
    from pathlib import Path

    from conftest import kustomization

    folder = kustomization(Path(str(tmp_path)), components=["autoscaling"])
    cluster.apply(folder)
    assert "inception" in namespaced(kubectl, cluster)("get", "hpa")
    cluster.apply(replicas=0)
    assert namespaced(kubectl, cluster)("get", "hpa") == ""


def test_kubernetes_own_grpc_probe_is_answered(serving: KubernetesCluster) -> None:
    """The kubelet's probes ask the health service; so may anybody."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(serving.load_balancer) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=20
        )
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("replicas", [-1])
def test_there_are_no_negative_replicas(serving: KubernetesCluster, replicas: int) -> None:
    from helpers.errors import ClusterError

    with pytest.raises(ClusterError, match="there can't be -1 replicas"):
        serving.scale(replicas)
