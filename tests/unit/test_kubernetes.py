"""The kubernetes target's parts that need no cluster: contexts, and what is read from answers."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace as Answer
from typing import Any

import pytest
import urllib3
import yaml
from kubernetes import client
from kubernetes.config.kube_config import KubeConfigMerger
from small_servers import served

from helpers import settings
from helpers.clusters import connect
from helpers.clusters.kubernetes import connection, forward, rollout, routes, timeline
from helpers.clusters.kubernetes import kubeconfig as kubeconfig_
from helpers.errors import ClusterError, SetupError
from helpers.faults import certificates

NOW = datetime.now(timezone.utc)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    """With a context that the list has, and one that it doesn't; nobody answers at either."""
    names = ["kind-tutorial", "production"]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "production",
        "clusters": [{"name": n, "cluster": {"server": "https://127.0.0.1:1"}} for n in names],
        "users": [{"name": n, "user": {"token": "none"}} for n in names],
        "contexts": [{"name": n, "context": {"cluster": n, "user": n}} for n in names],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def choose(context: str | None, kubeconfig: str, *, confirmed: bool = False) -> str:
    return connection.choose_context(context, kubeconfig=kubeconfig, confirmed=confirmed)


def test_the_current_context_is_not_taken(kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUTORIAL_CONTEXT", raising=False)
    with pytest.raises(SetupError, match=r"no context was named: .*kind-tutorial, production"):
        choose(None, kubeconfig)


def test_the_environment_may_name_the_context(
    kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUTORIAL_CONTEXT", "kind-tutorial")
    assert choose(None, kubeconfig) == "kind-tutorial"


def test_a_context_that_is_not_listed_needs_a_confirmation(kubeconfig: str) -> None:
    with pytest.raises(SetupError, match="'production' looks like a production cluster"):
        choose("production", kubeconfig)
    assert choose("production", kubeconfig, confirmed=True) == "production"


@pytest.mark.parametrize(
    ("context", "overlay"),
    [
        ("kind-tutorial", "kind"),
        ("minikube", "kind"),
        ("tutorial", "test-cluster"),
        ("gke_my-project_us-central1-a_inception-tutorial", "gke-gpu"),
        ("production", ""),
    ],
)
def test_a_context_has_its_overlay(context: str, overlay: str) -> None:
    assert connection.overlay(context) == overlay


def test_every_overlay_that_is_listed_exists() -> None:
    folders = {path.name for path in (settings.MANIFESTS / "overlays").iterdir()}
    assert set(connection.allowed_contexts().values()) - {""} <= folders


def test_local_has_no_use_for_a_context() -> None:
    with connect("local", context="production", namespace="n", overlay="kind") as cluster:
        assert cluster.pods() == []


def test_files_for_the_replicas_of_this_machine_go_with_them() -> None:
    with connect("local") as cluster:
        before = cluster.files.path
        (before / "server.key").write_text("a private key")
        cluster.delete()
        after = cluster.files.path
        assert (before.exists(), after.exists()) == (False, True)
    assert not after.exists()


def condition(kind: str, status: str, reason: str = "", message: str = "", at: Any = NOW) -> Answer:
    return Answer(type=kind, status=status, reason=reason, message=message, last_transition_time=at)


def pod(name: str = "inception-a", *, waiting: Any = None, scheduled: str = "True") -> Answer:
    """A pod that isn't ready, as the client gives it."""
    message = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu." * (scheduled != "True")
    state = Answer(waiting=waiting, running=None, terminated=None)
    status = Answer(state=state, last_state=None, restart_count=0, ready=False)
    return Answer(
        metadata=Answer(
            name=name, creation_timestamp=NOW - timedelta(seconds=60), deletion_timestamp=None
        ),
        spec=Answer(node_name="node-1"),
        status=Answer(
            conditions=[condition("PodScheduled", scheduled, "Unschedulable", message)],
            container_statuses=[status] if waiting else None,
            init_container_statuses=None,
            pod_ip=None,
            phase="Pending",
        ),
    )


def deployment(
    *, wanted: int = 1, ready: int = 0, seen: bool = True, conditions: Any = ()
) -> Answer:
    return Answer(
        metadata=Answer(generation=2),
        spec=Answer(replicas=wanted),
        status=Answer(
            observed_generation=2 if seen else 1,
            replicas=wanted,
            updated_replicas=wanted,
            ready_replicas=ready,
            conditions=list(conditions),
        ),
    )


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("ImagePullBackOff", "build it and load or push it"),
        ("ErrImageNeverPull", "load it there"),
        ("CrashLoopBackOff", "read its log"),
        ("CreateContainerConfigError", "ConfigMap or Secret"),
    ],
)
def test_a_container_that_waits_for_ever_is_stuck(reason: str, step: str) -> None:
    waiting = Answer(reason=reason, message="the kubelet's words")
    state = rollout.judge(deployment(), [pod(waiting=waiting)])
    assert state.stuck == f"inception-a is in {reason}: the kubelet's words"
    assert step in state.next_step


@pytest.mark.parametrize("reason", ["ContainerCreating", "ErrImagePull", "PodInitializing"])
def test_a_container_that_may_still_come_is_not_stuck(reason: str) -> None:
    state = rollout.judge(deployment(), [pod(waiting=Answer(reason=reason, message=""))])
    assert (state.stuck, state.done) == ("", False)


def test_a_gpu_that_no_node_has_is_named() -> None:
    state = rollout.judge(deployment(), [pod(scheduled="False")])
    assert "Insufficient nvidia.com/gpu" in state.stuck
    assert state.next_step.startswith("Add nodes that have nvidia.com/gpu, or scale to fewer")


def test_a_pod_waits_for_the_node_that_an_autoscaler_adds() -> None:
    event = Answer(reason="TriggeredScaleUp", involved_object=Answer(name="inception-a"))
    assert rollout.judge(deployment(), [pod(scheduled="False")], [event]).stuck == ""


def test_a_pod_waits_for_the_one_that_is_going() -> None:
    going = pod("inception-b")
    going.metadata.deletion_timestamp = NOW
    assert rollout.judge(deployment(), [pod(scheduled="False"), going]).stuck == ""


def test_a_quota_is_quoted() -> None:
    words = 'pods "inception-" is forbidden: exceeded quota: learner, requested: pods=1'
    refused = condition("ReplicaFailure", "True", "FailedCreate", words)
    state = rollout.judge(deployment(conditions=[refused]), [])
    assert (state.stuck, "Scale to fewer" in state.next_step) == (words, True)


def test_what_the_controller_has_not_seen_yet_is_not_judged() -> None:
    state = rollout.judge(deployment(wanted=1, ready=1, seen=False), [pod()])
    assert (state.done, state.ready) == (False, 0)


def test_old_replicas_that_still_serve_are_not_counted_as_new_ones() -> None:
    status = {"replicas": 3, "updated_replicas": 1, "ready_replicas": 2}
    stuck = deployment(wanted=2)
    vars(stuck.status).update(status)
    assert rollout.judge(stuck, []).so_far == "0 of 2 new replicas ready"
    vars(stuck.status).update(status | {"ready_replicas": 3})
    assert rollout.judge(stuck, []).so_far == "1 of 2 new replicas ready"


@pytest.mark.parametrize(
    ("ready", "others", "old", "told"),
    [
        (6, 0, 0, "4 of 4 replicas ready, 2 leaving"),  # the controller hasn't taken them away yet
        (4, 2, 0, "4 of 4 replicas ready, 2 leaving"),
        (3, 1, 0, "3 of 4 replicas ready, 1 coming or going"),
        (4, 1, 1, "4 of 4 new replicas ready, 1 coming or going"),
        (4, 0, 0, "4 of 4 replicas ready"),
    ],
)
def test_what_is_leaving_is_not_counted_as_ready(
    ready: int, others: int, old: int, told: str
) -> None:
    state = rollout.Rollout(4, ready, others, done=False, old=old)
    assert f"{state.so_far}{state.beside}" == told


def test_a_failure_tells_the_probe_and_the_log() -> None:
    state = rollout.Rollout(1, 0, 1, done=False, stuck="it is stuck", next_step="Do this.")
    error = rollout.failure(state, "inception", "one\ntwo", probe="Startup probe failed: timeout")
    assert error.cause == "it is stuck; Startup probe failed: timeout; its log ends: one / two"


def test_a_start_is_told_in_seconds_since_the_pod_was_made() -> None:
    born = NOW - timedelta(seconds=60)

    def after(seconds: float) -> datetime:
        return born + timedelta(seconds=seconds)

    ready = pod()
    ready.status.conditions = [
        condition("PodScheduled", "True", at=after(1)),
        condition("Ready", "True", at=after(30)),
    ]
    running = Answer(running=Answer(started_at=after(4)), waiting=None, terminated=None)
    ready.status.container_statuses = [Answer(state=running)]
    pulled = timeline.Event(after(3), "Normal", "Pulled", "Pod/inception-a", "")
    start = timeline.start_of(ready, [pulled])
    assert start is not None
    steps = (start.scheduled_s, start.pulled_s, start.started_s, start.ready_s)
    assert steps == (1, 3, 4, 30)


def test_a_pod_that_is_about_to_be_taken_away_is_not_stuck() -> None:
    unseen = deployment(wanted=1, seen=False)
    shrinking = deployment(wanted=1)
    shrinking.status.updated_replicas = 2
    for state in (unseen, shrinking):
        assert rollout.judge(state, [pod(scheduled="False")]).stuck == ""


class Balanced:
    """Stands in for a client: its Service has a load balancer at an address."""

    def __init__(self, ip: str) -> None:
        self._ip = ip

    def read_namespaced_service(self, *args: Any, **options: Any) -> Any:
        balancer = Answer(ingress=[Answer(ip=self._ip, hostname=None)])
        return Answer(status=Answer(load_balancer=balancer))

    def list_namespaced_service(self, *args: Any, **options: Any) -> Any:
        return Answer(items=[self.read_namespaced_service()])


@pytest.mark.parametrize(
    ("answers", "address"), [(True, "10.0.0.9:8500"), (None, "a forwarded port")]
)
def test_a_port_is_forwarded_where_the_load_balancer_is_out_of_reach(
    answers: bool | None, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwarded = Answer(alive=True, address="a forwarded port", close=lambda: None)
    monkeypatch.setattr(routes, "accepts", lambda address: answers)
    monkeypatch.setattr(routes, "Forward", lambda *args: forwarded)
    ways = routes.Routes(Balanced("10.0.0.9"), "none", "here", [])
    assert ways.service(settings.GRPC_PORT) == address


def test_an_address_that_refuses_is_not_out_of_reach() -> None:
    """A load balancer does so while no replica is ready."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        assert forward.accepts(address) is False


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        pytest.param([False, False, True], 3, id="until it takes connections"),
        pytest.param([None], 1, id="not for one out of reach"),
    ],
)
def test_a_load_balancer_that_refuses_is_waited_for(
    answers: list[bool | None], asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nodes' proxies learn of a replica a moment after it is ready."""
    addresses: list[str] = []

    def accepts(address: str) -> bool | None:
        addresses.append(address)
        return answers[len(addresses) - 1]

    monkeypatch.setattr(routes, "accepts", accepts)
    routes.Routes(Balanced("10.0.0.9"), "none", "here", []).settle()
    assert addresses == [f"10.0.0.9:{settings.GRPC_PORT}"] * asked


def test_a_load_balancer_that_goes_on_refusing_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(routes, "accepts", lambda address: bool(asked.append(address)))
    monkeypatch.setattr(routes, "_SETTLE_S", 0.2)
    routes.Routes(Balanced("10.0.0.9"), "none", "here", []).settle()
    assert 0 < len(asked) <= 3  # a tenth of a second, at least, between two questions


def test_a_name_that_nobody_has_is_out_of_reach() -> None:
    assert forward.accepts("nowhere.invalid:8500") is None


def edited(kubeconfig: str, **changes: Any) -> str:
    """The kubeconfig with `current-context`, or a part of context kind-tutorial, replaced."""
    path = Path(kubeconfig)
    config = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        if key in ("cluster", "user", "context"):
            config[f"{key}s"][0][key] = value
        else:
            config[key.replace("_", "-")] = value
    path.write_text(yaml.safe_dump(config))
    return kubeconfig


@pytest.mark.parametrize("current", ["", "gone", None])
def test_a_named_context_needs_no_current_one(kubeconfig: str, current: str | None) -> None:
    file = edited(kubeconfig, current_context=current)
    assert choose("kind-tutorial", file) == "kind-tutorial"


def test_contexts_of_several_files_count(kubeconfig: str, tmp_path: Path) -> None:
    assert choose("kind-tutorial", f"{tmp_path / 'gone'}:{kubeconfig}") == "kind-tutorial"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"context": {"cluster": "gone", "user": "kind-tutorial"}}, "its cluster 'gone' isn't"),
        ({"context": {"cluster": "kind-tutorial", "user": "gone"}}, "its user 'gone' isn't"),
        ({"context": None}, "its context 'kind-tutorial' isn't there, or is empty"),
        ({"user": "a string"}, "its user 'kind-tutorial' isn't there, or is empty"),
        ({"cluster": {"server": "127.0.0.1:6443"}}, r"is '127\.0\.0\.1:6443'\. Write it as a URL"),
        ({"user": {"exec": {"command": "no-such-login"}}}, "no-such-login, isn't on PATH. Install"),
        (
            {"user": {"exec": {"command": "no-such-login", "installHint": "Ask Ann."}}},
            "isn't on PATH. Ask Ann.",
        ),
        ({"contexts": "kind-tutorial"}, "holds no list of contexts"),
        ({"contexts": None}, "the kubeconfig has no context 'kind-tutorial'"),
    ],
)
def test_a_context_that_cant_work_says_which_part(
    kubeconfig: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(SetupError, match=words):
        choose("kind-tutorial", edited(kubeconfig, **changes))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no kubeconfig.*doesn't exist.*before `make lab`"),
        ("", "is not a kubeconfig: it is empty"),
        ("a sentence", "is not a kubeconfig: it holds no list"),
        ("contexts: [", r"isn't YAML: line \d"),
        ("contexts: [{}]", "holds no list of contexts with names"),
    ],
)
def test_a_file_that_is_no_kubeconfig_says_why(
    tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SetupError, match=words):
        choose("kind-tutorial", str(file))


def test_a_kubeconfig_that_is_a_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="can't be read: Is a directory"):
        choose("kind-tutorial", str(tmp_path))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose certificate nobody trusts, and which is no API server."""
    pair = certificates.Authority("ours").sign("server")
    folder = tmp_path_factory.mktemp("pair")
    (folder / "both.pem").write_bytes(pair.key + pair.certificate)
    with served(BaseHTTPRequestHandler, folder / "both.pem") as address:
        yield f"https://{address}"


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """A server that answers everything with a page that says 501."""
    with served(BaseHTTPRequestHandler) as address:
        yield address


NOT_PEM = base64.b64encode(b"no certificate").decode()


@pytest.mark.parametrize(
    ("cluster", "user", "words"),
    [
        ({"server": "{tls}"}, {}, "isn't signed by the authority in the kubeconfig"),
        (
            {"server": "{tls}", "certificate-authority-data": NOT_PEM},
            {},
            "a certificate or key in the kubeconfig is damaged",
        ),
        (
            {"server": "{tls}", "insecure-skip-tls-verify": True},
            {"client-certificate-data": NOT_PEM, "client-key-data": NOT_PEM},
            "a certificate or key in the kubeconfig is damaged",
        ),
        ({"server": "https://{page}"}, {}, "doesn't speak TLS"),
        ({"server": "http://{page}"}, {}, r"no Kubernetes API server: it sends a page \(HTTP 501"),
        ({"server": "https://{page}", "certificate-authority": "/gone"}, {}, "not exist: /gone"),
        ({"server": "https://nowhere.invalid"}, {}, "resolve 'nowhere.invalid'"),
        ({"server": "https://127.0.0.1:1"}, {}, "Connection refused"),
        ({"server": "https://192.0.2.1", "proxy-url": "http://127.0.0.1:1"}, {}, "the HTTP proxy"),
    ],
)
def test_an_api_server_that_cant_be_used_says_why(
    kubeconfig: str, tls: str, page: str, cluster: dict[str, Any], user: dict[str, Any], words: str
) -> None:
    cluster = cluster | {"server": cluster["server"].format(tls=tls, page=page)}
    file = edited(kubeconfig, cluster=cluster, user=user or {"token": "none"})
    with pytest.raises((SetupError, ClusterError), match=words):
        connection.connect_api("kind-tutorial", kubeconfig=file)


def test_no_call_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_CALL_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = client.Configuration(host=f"http://127.0.0.1:{silent.getsockname()[1]}")
        config.retries = False
        core = client.CoreV1Api(connection._ApiClient(config))
        with pytest.raises(urllib3.exceptions.ReadTimeoutError, match="Read timed out"):
            core.list_node()


@pytest.fixture
def current(
    kubeconfig: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str, str], tuple[str, Any]]:
    """Makes a context and a namespace current; the current one's name by the first file, and the
    context of that name by all. (What `kubectl` makes of them, notebook 04 shows on a cluster.)
    """
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    monkeypatch.setattr(kubeconfig_, "FOLDER", tmp_path / "current")

    def make_current(context: str, namespace: str) -> tuple[str, Any]:
        kubeconfig_.make_current(context, namespace, kubeconfig=None)
        files = os.environ["KUBECONFIG"]
        name = yaml.safe_load(Path(files.split(os.pathsep)[0]).read_text())["current-context"]
        contexts = KubeConfigMerger(files).config["contexts"]
        return name, contexts.get_with_name(name).value["context"]

    return make_current


def test_a_notebooks_context_and_namespace_become_the_current_ones(
    current: Callable[[str, str], tuple[str, Any]],
) -> None:
    for namespace in ("ada", "bob", "ada"):
        name, chosen = current("kind-tutorial", namespace)
        assert (name, chosen["namespace"]) == ("kind-tutorial", namespace)
        assert (chosen["cluster"], chosen["user"]) == ("kind-tutorial", "kind-tutorial")


def test_making_them_current_leaves_the_readers_file_alone_and_copies_no_credentials(
    current: Callable[[str, str], tuple[str, Any]], kubeconfig: str
) -> None:
    before = Path(kubeconfig).read_text()
    current("kind-tutorial", "ada")
    ours, readers = os.environ["KUBECONFIG"].split(os.pathsep)
    assert (readers, Path(readers).read_text()) == (kubeconfig, before)
    assert "token" not in Path(ours).read_text()


def test_the_other_contexts_can_still_be_chosen(
    current: Callable[[str, str], tuple[str, Any]],
) -> None:
    current("kind-tutorial", "ada")
    files = os.environ["KUBECONFIG"]
    assert choose("production", files, confirmed=True) == "production"
