"""What goes wrong on a cluster is said in a sentence, with the next step, and can be cleaned up."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from conftest import Kubectl, connected, edited, kustomization, namespaced

from helpers import settings
from helpers.clusters import connect
from helpers.clusters.kubernetes import KubernetesCluster
from helpers.errors import ClusterError, ManifestError, NotReadyError, SetupError


def test_a_context_must_be_named(context: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUTORIAL_CONTEXT", raising=False)
    with pytest.raises(SetupError, match=f"no context was named: the kubeconfig has .*{context}"):
        connect("kubernetes")


def test_an_unknown_context_is_refused() -> None:
    with pytest.raises(SetupError, match="the kubeconfig has no context 'nowhere'"):
        connect("kubernetes", context="nowhere")


def test_a_context_that_is_not_on_the_list_needs_a_confirmation(
    context: str, tmp_path: Path
) -> None:
    def rename(config: dict) -> None:
        config["contexts"][0]["name"] = config["current-context"] = "production"

    name, path = edited(tmp_path, context, rename)
    with pytest.raises(SetupError, match="'production' looks like a production cluster"):
        connect("kubernetes", context=name, kubeconfig=path)
    with connect("kubernetes", context=name, kubeconfig=path, confirmed=True) as cluster:
        assert cluster.pods() == []


def test_expired_credentials_are_named(context: str, tmp_path: Path) -> None:
    def expire(config: dict) -> None:
        config["users"][0]["user"] = {"token": "expired"}

    name, path = edited(tmp_path, context, expire)
    with pytest.raises(SetupError, match=r"not valid, or no longer .*Log in again"):
        connect("kubernetes", context=name, kubeconfig=path)


def test_a_cluster_that_is_gone_is_named(context: str, tmp_path: Path) -> None:
    def move(config: dict) -> None:
        config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"

    name, path = edited(tmp_path, context, move)
    with pytest.raises(ClusterError, match=r"the cluster doesn't answer .*Connection refused"):
        connect("kubernetes", context=name, kubeconfig=path)


class Wire:
    """A TCP connection to the API server that can be cut: as if the cluster went away."""

    def __init__(self, host: str, port: int) -> None:
        self._to, self._ends = (host, port), list[socket.socket]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, far = self._listener.accept()[0], socket.create_connection(self._to)
                self._ends += [near, far]
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(a, b), daemon=True).start()

    def _copy(self, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                to.sendall(data)

    def cut(self) -> None:
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def test_a_cluster_that_goes_away_in_the_middle_is_named(
    context: str, kubectl: Kubectl, tmp_path: Path
) -> None:
    wires = []

    def through_a_wire(config: dict) -> None:
        server = urlsplit(config["clusters"][0]["cluster"]["server"])
        wires.append(Wire(server.hostname or "", server.port or 443))
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{wires[0].port}"

    name, path = edited(tmp_path, context, through_a_wire)
    namespace = f"test-{uuid.uuid4().hex[:6]}"
    with connect("kubernetes", context=name, kubeconfig=path, namespace=namespace) as cluster:
        cluster.apply(replicas=1)
        threading.Timer(2, wires[0].cut).start()
        with pytest.raises(ClusterError, match=r"the cluster doesn't answer .*Notebook 14 removes"):
            cluster.wait_until_ready(timeout_s=60)
        with pytest.raises(ClusterError, match="Notebook 14 removes what is left"):
            cluster.scale(2)
    with KubernetesCluster(context=context, namespace=namespace) as again:
        assert f"Deployment {namespace}/inception" in again.leftovers()
        again.delete()
        assert again.leftovers() == []


def test_no_kubectl(cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SetupError, match="there is no `kubectl` on PATH"):
        cluster.apply()


def test_a_kustomization_that_does_not_exist(cluster: KubernetesCluster, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"can't be rendered: .*kustomization"):
        cluster.apply(tmp_path)


def test_a_typo_is_reported_with_its_field_and_its_file(
    cluster: KubernetesCluster, tmp_path: Path
) -> None:
    """In a copy of the base, as a learner edits it."""
    shutil.copytree(settings.SERVING, tmp_path / "serving")
    base = shutil.copytree(settings.MANIFESTS / "base", tmp_path / "manifests" / "base")
    file = base / "deployment.yaml"
    file.write_text(file.read_text().replace("  replicas: 2\n", "  replica: 2\n"))
    with pytest.raises(ManifestError) as caught:
        cluster.apply(base)
    assert "Deployment inception can't be applied: spec.replica: there is no such field" in str(
        caught.value
    )
    assert caught.value.next_step == f"Correct that field in {file}."


def test_a_typo_in_an_overlays_patch_is_reported_with_the_overlay(
    cluster: KubernetesCluster, tmp_path: Path
) -> None:
    folder = kustomization(tmp_path, patch="- {op: add, path: /spec/replica, value: 3}")
    with pytest.raises(ManifestError, match=r"spec.replica: there is no such field") as caught:
        cluster.apply(folder)
    assert caught.value.next_step == f"Correct that field in {folder}."


def test_a_value_of_the_wrong_kind_is_reported(cluster: KubernetesCluster, tmp_path: Path) -> None:
    folder = kustomization(tmp_path, patch="- {op: replace, path: /spec/replicas, value: -3}")
    with pytest.raises(ManifestError, match=r"spec.replicas: Invalid value: -3"):
        cluster.apply(folder)


def test_an_image_that_is_missing_fails_at_once(cluster: KubernetesCluster, tmp_path: Path) -> None:
    image = "localhost:1/inception-serving:nowhere"
    patch = f"- {{op: replace, path: {IMAGE}, value: {image!r}}}"
    cluster.apply(kustomization(tmp_path, patch=patch), replicas=1)
    start = time.monotonic()
    with pytest.raises(NotReadyError, match=r"in ImagePullBackOff.*nowhere"):
        cluster.wait_until_ready(timeout_s=180)
    assert time.monotonic() - start < 90  # the kubelet itself takes some 15 s to give up


IMAGE = "/spec/template/spec/containers/0/image"
ARGS = "/spec/template/spec/containers/0/args"


def test_a_server_that_ends_is_reported_with_its_last_words(
    cluster: KubernetesCluster, tmp_path: Path
) -> None:
    patch = f"- {{op: add, path: {ARGS}/-, value: --no_such_flag=1}}"
    cluster.apply(kustomization(tmp_path, patch=patch), replicas=1)
    with pytest.raises(NotReadyError, match=r"in CrashLoopBackOff.*no_such_flag"):
        cluster.wait_until_ready(timeout_s=180)


def test_a_model_that_is_missing_in_the_image_is_named(
    cluster: KubernetesCluster, tmp_path: Path
) -> None:
    """As the original, the server doesn't end: it waits for a model, with its ports closed."""
    patch = f"- {{op: replace, path: {IMAGE}, value: 'inception-model-server:1'}}"
    cluster.apply(kustomization(tmp_path, patch=patch), replicas=1)
    with pytest.raises(NotReadyError, match=r"its log ends: .*/models/inception"):
        cluster.wait_until_ready(timeout_s=40)


def test_a_gpu_that_is_not_there_is_named(cluster: KubernetesCluster, tmp_path: Path) -> None:
    limits = "/spec/template/spec/containers/0/resources/limits/nvidia.com~1gpu"
    patch = f"- {{op: add, path: {limits}, value: '1'}}"
    cluster.apply(kustomization(tmp_path, patch=patch), replicas=1)
    with pytest.raises(NotReadyError, match=r"Insufficient nvidia.com/gpu.*Add nodes that have"):
        cluster.wait_until_ready(timeout_s=120)


def test_a_quota_is_named_by_its_numbers(cluster: KubernetesCluster, kubectl: Kubectl) -> None:
    cluster.apply(replicas=0)
    namespaced(kubectl, cluster)("create", "quota", "tight", "--hard=pods=1")
    cluster.scale(2)
    with pytest.raises(NotReadyError, match=r"exceeded quota: tight.*limited: pods=1"):
        cluster.wait_until_ready(timeout_s=120)


def test_a_security_standard_is_quoted(cluster: KubernetesCluster, tmp_path: Path) -> None:
    path = "/spec/template/spec/containers/0/securityContext/allowPrivilegeEscalation"
    patch = f"- {{op: replace, path: {path}, value: true}}"
    cluster.apply(kustomization(tmp_path, patch=patch), replicas=1)
    with pytest.raises(NotReadyError, match="allowPrivilegeEscalation != false"):
        cluster.wait_until_ready(timeout_s=120)


def test_a_namespace_that_is_terminating_is_named(context: str, kubectl: Kubectl) -> None:
    name = "test-terminating"
    kubectl("create", "namespace", name)
    inside = Kubectl(context, name)
    inside("create", "configmap", "stays")
    inside("patch", "configmap", "stays", "-p", '{"metadata":{"finalizers":["tutorial/test"]}}')
    kubectl("delete", "namespace", name, "--wait=false")
    try:
        with (
            KubernetesCluster(context=context, namespace=name) as cluster,
            pytest.raises(
                ClusterError, match=r"being terminated.*Wait until the namespace is gone"
            ),
        ):
            cluster.apply()
    finally:
        inside("patch", "configmap", "stays", "-p", '{"metadata":{"finalizers":null}}')
        kubectl("wait", "--for=delete", f"namespace/{name}", "--timeout=60s")


@pytest.fixture
def learner(context: str, kubectl: Kubectl, tmp_path: Path) -> object:
    """A kubeconfig of somebody who may only look, in a namespace of their own."""
    name = "test-rbac"
    kubectl("create", "namespace", name)
    inside = Kubectl(context, name)
    inside("create", "serviceaccount", "learner")
    inside(
        "create", "rolebinding", "view", "--clusterrole=view", f"--serviceaccount={name}:learner"
    )
    token = inside("create", "token", "learner").strip()

    def become(config: dict) -> None:
        config["users"][0]["user"] = {"token": token}

    yield edited(tmp_path, context, become)
    kubectl("delete", "namespace", name)


def test_a_missing_right_is_named(learner: tuple[str, Path]) -> None:
    context, path = learner
    with connect("kubernetes", context=context, kubeconfig=path, namespace="test-rbac") as cluster:
        assert cluster.pods() == []  # looking is allowed
        with pytest.raises(ClusterError, match=r"cannot patch resource .*Ask whoever runs"):
            cluster.apply()
        assert cluster.leftovers() == []


def test_somebody_elses_change_is_not_overwritten(
    cluster: KubernetesCluster, kubectl: Kubectl
) -> None:
    cluster.apply(replicas=0)
    namespaced(kubectl, cluster)(
        *("apply", "--server-side", "--field-manager=someone", "--force-conflicts", "-f", "-"),
        stdin=yaml.safe_dump(
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": "inception"},
                "spec": {"maxUnavailable": 0},
            }
        ),
    )
    with pytest.raises(ClusterError, match="someone changed the same fields"):
        cluster.apply(replicas=0)


def test_cleaning_up_works_after_a_failure(context: str, tmp_path: Path) -> None:
    with connected(context, "test") as cluster:
        with pytest.raises(ManifestError):
            cluster.apply(
                kustomization(tmp_path, patch="- {op: add, path: /spec/replica, value: 3}")
            )
        cluster.delete()
        assert cluster.leftovers() == []


def test_the_list_of_contexts_is_a_file_to_edit() -> None:
    assert (settings.ROOT / "helpers/clusters/kubernetes/contexts.txt").is_file()
