"""What the tests of the cluster share. `make test-cluster` starts them; see `run-tests`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import config
from notebook_runs import published_by

from helpers import settings
from helpers.book import lessons
from helpers.clusters.kubernetes import KubernetesCluster, gpus, render

RunNotebook = Callable[..., dict[str, Any]]
OVERLAY = settings.MANIFESTS / "overlays" / "test-cluster"
RUN = Path(os.environ.get("CLUSTER_HOME", "/var/tmp/tutorial-cluster"), "run")  # of `up`
NAMESPACES = ("test-", "serving-", "gpus-")  # how those of these tests begin


def pytest_configure() -> None:
    """SIGTERM ends the tests as Ctrl-C does: what they broke is mended first."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_sessionstart(session: pytest.Session) -> None:
    """A cluster in which nothing is broken or left: before these tests, if some have died."""
    mend_once(session)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """And after them. So one session at a time has a cluster, in as many processes as it likes."""
    mend_once(session)


def mend_once(session: pytest.Session) -> None:
    """In the process that the others belong to; the tests of the container need no cluster."""
    if os.environ.get("KUBECONFIG") and not hasattr(session.config, "workerinput"):
        mend()


def mend() -> None:
    """Takes back what tests break, and removes their namespaces and simulated nodes."""
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((RUN / "kube-apiserver.pid").read_text()), signal.SIGCONT)
    if Path("/run/netns/tutorial-2").exists():
        cable("up")
    context = str(config.list_kube_config_contexts()[1]["name"])
    with KubernetesCluster(context=context, namespace="test-mend") as cluster:
        gpus.remove(cluster)
    kubectl = Kubectl(context, "default")
    for node in kubectl.json("get", "nodes")["items"]:
        if node["spec"].get("unschedulable"):
            kubectl("uncordon", node["metadata"]["name"])
    there = kubectl.json("get", "namespaces", f"--selector={render.SELECTOR}")["items"]
    names = [namespace["metadata"]["name"] for namespace in there]
    if left := [name for name in names if name.startswith(NAMESPACES)]:
        kubectl("delete", "namespace", *left)


def cable(state: str) -> None:
    """Pulls (`down`) or plugs in (`up`) the second node's only cable, on our own cluster."""
    inside = ["ip", "-n", "tutorial-1"]
    commands = [[*inside, "link", "set", "eth2", state]]
    if state == "up":  # with the cable, the kernel has forgotten the way to the pods behind it
        commands.append([*inside, "route", "replace", "198.19.2.0/24", "via", "198.18.2.2"])
    for command in commands:
        subprocess.run(command, check=True, capture_output=True, timeout=30)


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


@contextmanager
def connected(context: str, prefix: str) -> Iterator[KubernetesCluster]:
    """A namespace of its own, which goes afterwards, whatever came, with all that is in it."""
    name = f"{prefix}-{uuid.uuid4().hex[:6]}"
    with KubernetesCluster(context=context, namespace=name, overlay="test-cluster") as cluster:
        try:
            yield cluster
        finally:
            # Its pods don't drain: nobody asks them any more, and each test would wait for it.
            here = Kubectl(context, name)
            here("delete", "deployments,replicasets", "--all", "--cascade=orphan")
            here("delete", "pods", "--all", "--now")
            # That deleting leaves nothing is `test_target`'s subject. Here nobody waits for it, and
            # when the session ends, `mend` does, for all of them.
            gone = ("delete", "namespace", name, "--ignore-not-found", "--wait=false")
            Kubectl(context, "default")(*gone)


@contextmanager
def notebooks_namespace(context: str, name: str) -> Iterator[dict[str, Any]]:
    """A notebook's parameters for the cluster; what it leaves in its namespace goes afterwards."""
    try:
        yield {"TARGET": "kubernetes", "CONTEXT": context, "NAMESPACE": name}
    finally:
        with KubernetesCluster(context=context, namespace=name) as cluster:
            cluster.delete()


@pytest.fixture
def cluster(context: str) -> Iterator[KubernetesCluster]:
    """A namespace of its own, with nothing in it, and nothing of it left afterwards."""
    with connected(context, "test") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def serving(context: str) -> Iterator[KubernetesCluster]:
    """One replica that serves, shared by the tests of a module, which leave it at one."""
    with connected(context, "serving") as cluster:
        cluster.apply(replicas=1)
        cluster.wait_until_ready(timeout_s=180)
        yield cluster


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


@pytest.fixture(scope="module")
def run(context: str, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> RunNotebook:
    """`run("04")`: what notebook 04 publishes on the cluster, in the namespace of a module."""
    found = {lesson.number: lesson for lesson in lessons.find()}
    models = tmp_path_factory.mktemp("exports") / "models"
    shared = {"NETWORK": "light", "WEIGHTS": "random", "MODELS": str(models)}
    shared |= {"TARGET": "kubernetes", "CONTEXT": context, "NAMESPACE": namespace}

    def run_it(number: str, **parameters: Any) -> dict[str, Any]:
        taken = found[number].parameters
        known = {name: value for name, value in shared.items() if name in taken}
        with pytest.MonkeyPatch.context() as patch:
            # For a notebook that leaves the two to the environment.
            patch.setenv("TUTORIAL_CONTEXT", context)
            patch.setenv("TUTORIAL_NAMESPACE", namespace)
            patch.delenv("DOCKER_HOST", raising=False)  # other tests' containers aren't ours
            return published_by(number, tmp_path_factory.mktemp("notebook"), known | parameters)

    return run_it
