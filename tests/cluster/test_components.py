"""Each component and overlay does on a real cluster what it is there for."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from conftest import Kubectl, edited, kustomization, namespaced
from grpc_health.v1 import health_pb2, health_pb2_grpc

from helpers import photos, settings
from helpers.client import Classifier
from helpers.clusters import connect, files
from helpers.clusters.kubernetes import KubernetesCluster, gpus, loadtest, render
from helpers.errors import ClusterError, NotReadyError

COMPONENTS = settings.MANIFESTS / "components"
WORKSHOP = settings.MANIFESTS / "overlays" / "workshop" / "namespace"


def classify(address: str) -> tuple[str, ...]:
    with Classifier(address) as classifier:
        return classifier.classify([photos.samples()[0]], timeout_s=20)[0].labels


def from_comment(file: Path, *, starts: str) -> str:
    """The commands in a file's comment, from the one that starts so: what readers are told."""
    lines = file.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith(f"#   {starts}"))
    rest = lines[first:]
    commands = takewhile(lambda line: line.startswith("#   "), rest)
    return "\n".join(line.removeprefix("#   ") for line in commands)


def test_the_model_can_come_from_an_image_of_its_own(
    cluster: KubernetesCluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    """The server's image has no model; an init container copies it before the server starts."""
    cluster.apply(kustomization(tmp_path, components=["model-volume"]), replicas=1)
    cluster.wait_until_ready(timeout_s=120)
    assert len(classify(cluster.load_balancer)) == 5
    (pod,) = namespaced(kubectl, cluster).json("get", "pods")["items"]
    assert [c["image"] for c in pod["spec"]["initContainers"]] == ["inception-model:1"]
    assert [c["image"] for c in pod["spec"]["containers"]] == ["inception-model-server:1"]


def test_a_model_image_that_is_missing_fails_at_once(
    cluster: KubernetesCluster, tmp_path: Path
) -> None:
    image = "/spec/template/spec/initContainers/0/image"
    patch = f"- {{op: replace, path: {image}, value: 'localhost:1/inception-model:nowhere'}}"
    cluster.apply(kustomization(tmp_path, components=["model-volume"], patch=patch), replicas=1)
    with pytest.raises(NotReadyError, match=r"in ImagePullBackOff.*nowhere"):
        cluster.wait_until_ready(timeout_s=120)


def test_grpc_is_served_over_tls_and_not_without(
    cluster: KubernetesCluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    """With the Secret made by the commands in the component's comment."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=inception", "-addext", "subjectAltName=DNS:inception"),
            *("-keyout", "tls.key", "-out", "tls.crt"),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    commands = from_comment(COMPONENTS / "tls" / "kustomization.yaml", starts="{ printf")
    inside = namespaced(kubectl, cluster)
    cluster.apply(replicas=0)
    options = f"--context={inside.context} --namespace={inside.namespace}"
    subprocess.run(
        ["bash", "-euc", commands.replace("kubectl ", f"kubectl {options} ")],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    (tmp_path / "overlay").mkdir()
    cluster.apply(kustomization(tmp_path / "overlay", components=["tls"]), replicas=1)
    cluster.wait_until_ready(timeout_s=120)
    trusted = grpc.ssl_channel_credentials((tmp_path / "tls.crt").read_bytes())
    named = (("grpc.ssl_target_name_override", "inception"),)
    with grpc.secure_channel(cluster.load_balancer, trusted, named) as channel:
        assert health(channel) == health_pb2.HealthCheckResponse.SERVING
    with (
        grpc.insecure_channel(cluster.load_balancer) as channel,
        pytest.raises(grpc.RpcError, match="UNAVAILABLE"),
    ):
        health(channel)


def health(channel: grpc.Channel) -> Any:
    stub = health_pb2_grpc.HealthStub(channel)
    return stub.Check(health_pb2.HealthCheckRequest(), timeout=20).status


def test_batches_are_made_by_the_components_configuration(
    cluster: KubernetesCluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    cluster.apply(kustomization(tmp_path, components=["batching"]), replicas=1)
    (pod,) = cluster.wait_until_ready(timeout_s=120)
    mounted = namespaced(kubectl, cluster)(
        "exec", pod.name, "--", "cat", "/etc/serving/batching.config"
    )
    assert mounted == (COMPONENTS / "batching" / "batching.config").read_text()
    assert len(classify(cluster.load_balancer)) == 5


def test_an_autoscalers_number_of_replicas_survives_an_apply(
    cluster: KubernetesCluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    folder = kustomization(tmp_path, components=["autoscaling"])
    cluster.apply(folder)
    namespaced(kubectl, cluster)("scale", "deployment/inception", "--replicas=3")
    cluster.apply(folder)
    deployment = namespaced(kubectl, cluster).json("get", "deployment", "inception")
    assert deployment["spec"]["replicas"] == 3


def test_every_metric_of_the_dashboard_and_the_autoscaler_is_there(
    serving: KubernetesCluster, kubectl: Kubectl
) -> None:
    dashboard = json.loads((COMPONENTS / "monitoring" / "inception.json").read_text())
    asked = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    values = (COMPONENTS / "autoscaling" / "prometheus-adapter-values.yaml").read_text()
    asked.append(yaml.safe_load(values)["rules"]["custom"][0]["metricsQuery"])
    names = {name for expr in asked for name in re.findall(r":tensorflow:[\w:]+", expr)}
    classify(serving.load_balancer)
    (pod,) = serving.pods()
    path = f"/api/v1/namespaces/{serving.namespace}/pods/{pod.name}:8501/proxy"
    text = kubectl("get", "--raw", f"{path}/monitoring/prometheus/metrics")
    there = set(re.findall(r"^(:tensorflow:[\w:]+)", text, re.MULTILINE))
    assert len(names) >= 8
    assert names - there == set()


def test_pods_say_where_their_metrics_are(
    cluster: KubernetesCluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    cluster.apply(kustomization(tmp_path, components=["monitoring"]), replicas=1)
    cluster.wait_until_ready(timeout_s=120)
    (pod,) = namespaced(kubectl, cluster).json("get", "pods")["items"]
    said = {
        key.removeprefix("prometheus.io/"): value
        for key, value in pod["metadata"]["annotations"].items()
        if key.startswith("prometheus.io/")
    }
    assert said["scrape"] == "true"
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/{pod['metadata']['name']}"
    text = kubectl("get", "--raw", f"{path}:{said['port']}/proxy{said['path']}")
    assert ":tensorflow:serving:" in text


def test_the_service_monitor_selects_one_service(
    cluster: KubernetesCluster, kubectl: Kubectl, tmp_path: Path
) -> None:
    """By both, every request would be counted twice."""
    cluster.apply(kustomization(tmp_path, components=["monitoring"]), replicas=0)
    monitor = yaml.safe_load((COMPONENTS / "monitoring" / "servicemonitor.yaml").read_text())
    labels = monitor["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    found = namespaced(kubectl, cluster).json("get", "services", "-l", selector)["items"]
    assert [service["metadata"]["name"] for service in found] == ["inception-headless"]
    assert monitor["spec"]["endpoints"][0]["port"] in {p["name"] for p in found[0]["spec"]["ports"]}


def test_a_drained_node_hands_its_replica_over_without_losing_a_request(
    cluster: KubernetesCluster,
) -> None:
    """Two real nodes with a replica on each; requests go on while one node is emptied."""
    cluster.apply(replicas=2)
    before = cluster.wait_until_ready(timeout_s=180)
    assert len({pod.node for pod in before}) == 2, "one replica a zone"
    node = before[0].node
    codes: Counter[str] = Counter()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                classify(cluster.load_balancer)
                codes["OK"] += 1
            except Exception as error:
                codes[type(error).__name__] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        moved = gpus.drain(cluster, node, timeout_s=120)
        after = cluster.wait_until_ready(timeout_s=180)
    finally:
        over.set()
        asking.join()
        gpus.uncordon(cluster, node)
    assert [move.pod for move in moved] == [before[0].name]
    assert node not in {pod.node for pod in after}
    assert set(codes) == {"OK"}


@pytest.fixture(scope="module")
def workshop(kubectl: Kubectl) -> Iterator[str]:
    """A person's namespace, made by the commands in the comment; named after the person."""
    loop = from_comment(WORKSHOP / "kustomization.yaml", starts="for person")
    loop = loop.replace("ada grace", "test").replace(
        "kubectl apply", f"kubectl --context={kubectl.context} apply"
    )
    subprocess.run(["bash", "-euc", loop], cwd=settings.ROOT, check=True, capture_output=True)
    yield "inception-test"
    kubectl("delete", "namespace", "inception-test")


@pytest.fixture
def learner(
    workshop: str, context: str, kubectl: Kubectl, tmp_path: Path
) -> Iterator[KubernetesCluster]:
    """A cluster as the person sees it, with the role's rights and no other."""
    inside = Kubectl(context, workshop)
    inside("create", "serviceaccount", "person")
    inside(
        *("create", "rolebinding", "person", "--role=test"),
        f"--serviceaccount={workshop}:person",
    )
    token = inside("create", "token", "person").strip()

    def become(config: dict[str, Any]) -> None:
        config["users"][0]["user"] = {"token": token}

    name, path = edited(tmp_path, context, become)
    with connect(
        "kubernetes", context=name, kubeconfig=path, namespace=workshop, overlay="workshop"
    ) as cluster:
        yield cluster
    inside("delete", "rolebinding,serviceaccount", "person")


def test_a_workshops_role_is_enough_for_what_the_notebooks_do(learner: KubernetesCluster) -> None:
    learner.apply()
    (pod,) = learner.wait_until_ready(timeout_s=120)
    assert len(classify(learner.load_balancer)) == 5
    assert len(learner.addresses()) == 1
    assert set(learner.request_counts()) == {pod.name}
    assert "Running gRPC ModelServer" in learner.logs(pod)
    assert len(learner.starts()) == 1
    learner.scale(2)
    assert len(learner.wait_until_ready(timeout_s=120)) == 2
    with loadtest.start(learner, duration_s=1, warmup_s=0) as running:
        assert running.result().summary.successes > 0
    learner.delete()
    assert learner.leftovers() == []


def test_a_workshops_role_lets_files_be_put_beside_the_servers(
    learner: KubernetesCluster, kubectl: Kubectl
) -> None:
    """As notebooks 08 to 10 do; and they go when no revision mounts them any more."""
    config = (settings.SERVING / "batching.config").read_text()
    flags = ["--batching_parameters_file={files}/batching.config"]
    for n in range(6):  # of these the Deployment keeps three revisions
        files.apply(learner, {"batching.config": f"{config}# {n}\n"}, args=flags, replicas=0)
        learner.wait_until_ready(timeout_s=60)
    files.apply(learner, {"batching.config": config}, args=flags)
    (pod,) = learner.wait_until_ready(timeout_s=120)
    inside = namespaced(kubectl, learner)
    path = "/etc/tutorial-files/batching.config"
    assert inside("exec", pod.name, "--", "cat", path) == config
    secrets = inside("get", "secrets", "--output=name", "--selector", render.SELECTOR)
    assert len(secrets.split()) < 7  # as many as were put there
    learner.delete()
    assert learner.leftovers() == []


def test_a_workshops_quota_stops_who_takes_too_much(learner: KubernetesCluster) -> None:
    learner.apply(replicas=9)
    said = r"exceeded quota: test.*limited: .*requests\.memory=8Gi"
    with pytest.raises(NotReadyError, match=said):
        learner.wait_until_ready(timeout_s=60)
    learner.delete()
    assert learner.leftovers() == []


def test_a_workshops_role_is_told_that_it_may_not_drain_a_node(
    learner: KubernetesCluster, cluster: KubernetesCluster
) -> None:
    """So notebook 09 leaves that out, instead of ending there."""
    assert (gpus.may_drain(learner), gpus.may_drain(cluster)) == (False, True)


def test_a_person_cant_look_into_anothers_namespace(learner: KubernetesCluster) -> None:
    learner.namespace = "default"
    with pytest.raises(ClusterError, match=r"forbidden.*Ask whoever runs the cluster"):
        learner.pods()
