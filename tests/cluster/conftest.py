"""What the tests of the cluster share. `make test-cluster` starts them; see `run-tests`."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import config

from helpers import settings
from helpers.clusters.kubernetes import KubernetesCluster

OVERLAY = settings.MANIFESTS / "overlays" / "test-cluster"


@pytest.fixture(scope="session")
def context() -> str:
    """The context of the cluster under test: our own, or kind's."""
    if not os.environ.get("KUBECONFIG"):
        pytest.exit("there is no cluster: run `make cluster-up`, then `make test-cluster`", 1)
    return str(config.list_kube_config_contexts()[1]["name"])


class Kubectl:
    """kubectl in one context and namespace."""

    def __init__(self, context: str, namespace: str) -> None:
        self.context, self.namespace = context, namespace

    def __call__(self, *args: str, stdin: str = "", check: bool = True) -> str:
        done = self.run(*args, stdin=stdin)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def run(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = ["kubectl", f"--context={self.context}", f"--namespace={self.namespace}", *args]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=180, check=False
        )

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "--output=json"))


@pytest.fixture(scope="session")
def kubectl(context: str) -> Kubectl:
    return Kubectl(context, "default")


def connected(context: str, prefix: str) -> KubernetesCluster:
    return KubernetesCluster(
        context=context, namespace=f"{prefix}-{uuid.uuid4().hex[:6]}", overlay="test-cluster"
    )


@pytest.fixture
def cluster(context: str) -> Iterator[KubernetesCluster]:
    """A namespace of its own, with nothing in it, and nothing of it left afterwards."""
    with connected(context, "test") as cluster:
        yield cluster
        cluster.delete()
        assert cluster.leftovers() == []


@pytest.fixture(scope="module")
def serving(context: str) -> Iterator[KubernetesCluster]:
    """One replica that serves, shared by the tests of a module, which leave it at one."""
    with connected(context, "serving") as cluster:
        cluster.apply(replicas=1)
        cluster.wait_until_ready(timeout_s=180)
        yield cluster
        cluster.delete()


def namespaced(kubectl: Kubectl, cluster: KubernetesCluster) -> Kubectl:
    return Kubectl(kubectl.context, cluster.namespace)


def kustomization(folder: Path, *, components: Sequence[str] = (), patch: str = "") -> Path:
    """An overlay of the test cluster's, with components and a patch of the Deployment."""
    root = os.path.relpath(settings.MANIFESTS, folder.resolve())
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization"]
    lines += ["resources:", f"  - {root}/overlays/test-cluster"]
    if components:
        lines += ["components:", *(f"  - {root}/components/{name}" for name in components)]
    if patch:
        lines += ["patches:", "  - target: {kind: Deployment, name: inception}", "    patch: |"]
        lines += [f"      {line}" for line in patch.strip().splitlines()]
    (folder / "kustomization.yaml").write_text("\n".join(lines) + "\n")
    return folder


def edited(
    tmp_path: Path, context: str, change: Callable[[dict[str, Any]], None]
) -> tuple[str, Path]:
    """A kubeconfig of its own with one change; its context is called `tutorial` too."""
    text = subprocess.run(
        ["kubectl", "config", "view", "--raw", "--minify", f"--context={context}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = yaml.safe_load(text)
    change(found)
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(found))
    return found["contexts"][0]["name"], path
