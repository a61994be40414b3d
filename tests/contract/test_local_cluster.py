"""The `local` target with replicas that are there in a moment: `stand_in_server.py`.

It is named as the real server's binary would be, by $TENSORFLOW_MODEL_SERVER. That the embedded
server works under this target as well is the last test's subject.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from helpers import settings
from helpers.client import pages
from helpers.clusters import Pod, connect
from helpers.clusters.local import LocalCluster, supervisor
from helpers.clusters.local.supervisor_client import RUN
from helpers.errors import ClusterError, ManifestError, NotReadyError, SetupError

STAND_IN = Path(__file__).with_name("stand_in_server.py")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def until(condition: Callable[[], Any], *, timeout_s: float = 20) -> Any:
    """What a condition returns as soon as that is true."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)
    return answer


def asked(address: str, path: str = "/") -> dict[str, Any]:
    """Who answers at an address: its pid, command line and environment."""
    with DIRECT.open(f"http://{address}{path}", timeout=5) as answer:
        return json.loads(answer.read())


def manifests(folder: Path, **container: Any) -> Path:
    """The base Deployment with probes that look often and some fields of its container changed."""
    deployment = yaml.safe_load((settings.MANIFESTS / "base" / "deployment.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = 1
    deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"] = "100%"
    server = pod["containers"][0]
    server["lifecycle"] = None
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        server[probe] |= {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1}
    server["startupProbe"]["failureThreshold"] = 30
    server["readinessProbe"]["timeoutSeconds"] = 2
    server |= container
    folder.mkdir(exist_ok=True)
    (folder / "deployment.yaml").write_text(yaml.safe_dump(deployment))
    return folder


def restarted(cluster: LocalCluster, before: Pod) -> Pod | None:
    """A pod once it is ready again after a restart."""
    pods = {pod.name: pod for pod in cluster.pods()}
    pod = pods[before.name]
    return pod if pod.ready and pod.restarts > before.restarts else None


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    version = models / "inception" / "1"
    (version / "variables").mkdir(parents=True)
    (version / "saved_model.pb").touch()
    (version / "variables" / "variables.index").touch()
    return models


@pytest.fixture(scope="module")
def cluster(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    folder = tmp_path_factory.mktemp("cluster")
    program = folder / "tensorflow_model_server"
    program.write_text(f"#!{sys.executable}\n{STAND_IN.read_text()}")
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORFLOW_MODEL_SERVER", str(program))
        with connect("local", models=models, logs=folder / "logs") as cluster:
            yield cluster


@pytest.fixture
def two(cluster: LocalCluster, tmp_path: Path) -> LocalCluster:
    cluster.apply(manifests(tmp_path / "quick"))
    cluster.wait_until_ready(30)
    return cluster


def test_the_manifest_says_how_many_replicas(cluster: LocalCluster, tmp_path: Path) -> None:
    cluster.apply(manifests(tmp_path / "quick"))
    pods = cluster.wait_until_ready(30)
    assert [(len(pods), pod.ready) for pod in pods] == [(2, True), (2, True)]


def test_pods_show_as_a_table(two: LocalCluster) -> None:
    pods = two.pods()
    assert len(repr(pods).splitlines()) == 1 + 2
    assert pods._repr_html_().count("<tr>") == 1 + 2


def test_flags_and_environment_are_the_manifests(two: LocalCluster, models: Path) -> None:
    seen = asked(two.pods()[0].rest_address)
    assert f"--model_base_path={models}/inception" in seen["argv"]
    config = settings.SERVING / "batching.config"
    assert f"--batching_parameters_file={config}" in seen["argv"]
    assert seen["env"]["TF_ENABLE_ONEDNN_OPTS"] == "1"


def test_an_edit_of_the_manifest_replaces_the_replicas(two: LocalCluster, tmp_path: Path) -> None:
    before = {pod.name for pod in two.pods()}
    two.apply(manifests(tmp_path / "edited", env=[{"name": "COLOUR", "value": "green"}]))
    pods = two.wait_until_ready(30)
    assert [asked(p.rest_address)["env"]["COLOUR"] for p in pods] == ["green", "green"]
    assert not before & {pod.name for pod in pods}


def test_a_roll_out_never_has_fewer_ready_replicas(two: LocalCluster, tmp_path: Path) -> None:
    ready = []
    folder = manifests(tmp_path / "edited", env=[{"name": "COLOUR", "value": "blue"}])
    file = folder / "deployment.yaml"
    file.write_text(file.read_text().replace("100%", "50%"))
    two.apply(folder)
    while not all(pod["current"] for pod in two._state()["pods"]):
        ready.append(len(two.addresses()))
        time.sleep(0.02)
    assert min(ready) >= 2


def test_the_same_manifest_again_changes_nothing(two: LocalCluster, tmp_path: Path) -> None:
    before = [pod.pid for pod in two.pods()]
    two.apply(manifests(tmp_path / "again"))
    assert before == [pod.pid for pod in two.wait_until_ready(30)]


def test_flags_of_apply_replace_those_of_the_manifest(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    cluster.apply(manifests(tmp_path / "m"), replicas=1, args=["--enable_batching=false"])
    (pod,) = cluster.wait_until_ready(30)
    flags = [flag for flag in asked(pod.rest_address)["argv"] if "enable_batching" in flag]
    assert flags == ["--enable_batching=false"]


def test_scaling_goes_up_and_down(two: LocalCluster) -> None:
    counts = []
    for wanted in (3, 1, 0):
        two.scale(wanted)
        counts.append(len(two.wait_until_ready(30)))
    assert counts == [3, 1, 0]


def test_a_replica_that_stays_keeps_its_process_when_scaled(two: LocalCluster) -> None:
    first = two.pods()[0].pid
    two.scale(1)
    assert [first] == [pod.pid for pod in two.wait_until_ready(30)]


@pytest.mark.parametrize("replicas", [-1, 1.5, True, "2"])
def test_a_number_of_replicas_is_a_whole_number(two: LocalCluster, replicas: Any) -> None:
    with pytest.raises(ClusterError, match="0 or more"):
        two.scale(replicas)


def test_more_replicas_than_memory_are_refused(two: LocalCluster) -> None:
    with pytest.raises(ClusterError, match="insufficient memory"):
        two.scale(100_000)


def test_a_dead_replica_is_restarted_at_its_address(two: LocalCluster) -> None:
    before = two.pods()[0]
    os.kill(before.pid or 0, signal.SIGKILL)
    after = until(lambda: restarted(two, before))
    assert (before.name, before.address) == (after.name, after.address)


def test_a_hung_replica_is_restarted(two: LocalCluster) -> None:
    before = two.pods()[-1]
    os.kill(before.pid or 0, signal.SIGSTOP)
    after = until(lambda: restarted(two, before))
    assert f"restart {after.restarts}: liveness probe grpc :8500" in two.logs(after)


def test_a_replica_that_isnt_ready_gets_no_connections(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    calm = {"grpc": {"port": settings.GRPC_PORT}, "failureThreshold": 100}
    cluster.apply(manifests(tmp_path / "calm", livenessProbe=calm))
    away, stays = cluster.wait_until_ready(30)
    asked(away.rest_address, "/unready")
    until(lambda: [stays.address] == cluster.addresses())
    assert {stays.pid} == {asked(cluster.rest_load_balancer)["pid"] for _ in range(20)}


def test_connections_are_spread_over_the_ready_replicas(two: LocalCluster) -> None:
    answered = {asked(two.rest_load_balancer)["pid"] for _ in range(40)}
    assert {pod.pid for pod in two.pods()} == answered  # all on one: once in 2**39


def test_the_requests_of_each_replica_are_counted(two: LocalCluster) -> None:
    first, second = two.pods()
    before = two.request_counts()
    for _ in range(3):
        asked(second.rest_address)
    after = two.request_counts()
    difference = {name: after[name] - before[name] for name in after}
    assert {first.name: 0, second.name: 3} == difference


def test_an_unusable_metrics_page_is_said(cluster: LocalCluster, tmp_path: Path) -> None:
    cluster.apply(manifests(tmp_path / "m"), replicas=1, args=["--monitoring_config_file="])
    (pod,) = cluster.wait_until_ready(30)
    os.kill(pod.pid or 0, signal.SIGSTOP)
    os.kill(pod.pid or 0, signal.SIGKILL)
    with pytest.raises(ClusterError, match="gives no metrics"):
        pages.read(pod.rest_address, "/monitoring/prometheus/metrics", whose=pod.name)


def test_a_replica_that_exits_ends_the_wait_at_once(cluster: LocalCluster, tmp_path: Path) -> None:
    cluster.apply(manifests(tmp_path / "m"), args=["--misbehave=exit"])
    with pytest.raises(NotReadyError, match=r"(?s)exited with status 3.*42 is missing.*\.log"):
        cluster.wait_until_ready(600)


def test_the_old_replicas_serve_on_when_a_new_one_fails(two: LocalCluster, tmp_path: Path) -> None:
    old = {pod.pid for pod in two.pods()}
    two.apply(manifests(tmp_path / "m"), args=["--misbehave=exit"])
    with pytest.raises(NotReadyError):
        two.wait_until_ready(600)
    assert old == {asked(two.rest_load_balancer)["pid"] for _ in range(40)}


def test_a_replica_that_never_starts_is_named_at_the_deadline(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    cluster.apply(manifests(tmp_path / "m"), args=["--misbehave=mute"])
    with pytest.raises(NotReadyError, match=r"startup probe grpc :8500: no connection in 1 s"):
        cluster.wait_until_ready(2)


def test_a_startup_probe_that_gives_up_ends_the_wait(cluster: LocalCluster, tmp_path: Path) -> None:
    short = {"tcpSocket": {"port": "grpc"}, "periodSeconds": 1, "failureThreshold": 2}
    cluster.apply(manifests(tmp_path / "m", startupProbe=short), args=["--misbehave=mute"])
    said = r"startup probe tcpSocket :8500: .* \(failure 2 of 2\)"
    with pytest.raises(NotReadyError, match=said):
        cluster.wait_until_ready(600)


def test_applying_again_after_a_failure_starts_anew(cluster: LocalCluster, tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    hook = {"exec": {"command": ["test", "-e", str(mended)]}, "periodSeconds": 1}
    probes = {"startupProbe": hook | {"failureThreshold": 1}, "livenessProbe": None}
    folder = manifests(tmp_path / "m", **probes)
    cluster.apply(folder, replicas=1)
    with pytest.raises(NotReadyError):
        cluster.wait_until_ready(600)
    mended.touch()
    cluster.apply(folder, replicas=1)
    assert [pod.ready for pod in cluster.wait_until_ready(30)] == [True]


@pytest.mark.parametrize(
    "probe",
    [
        {"httpGet": {"port": "http", "path": "/"}},
        {"tcpSocket": {"port": 8501}},
        {"exec": {"command": ["sh", "-c", "test -e $STARTED_FROM"]}},
    ],
    ids=["httpGet", "tcpSocket", "exec"],
)
def test_every_kind_of_probe_finds_a_replica_ready(
    cluster: LocalCluster, tmp_path: Path, probe: dict[str, Any]
) -> None:
    env = [{"name": "STARTED_FROM", "value": str(tmp_path)}]
    probe |= {"periodSeconds": 1}
    fields = {"startupProbe": probe, "readinessProbe": probe, "livenessProbe": None, "env": env}
    cluster.apply(manifests(tmp_path / "m", **fields), replicas=1)
    assert [pod.ready for pod in cluster.wait_until_ready(30)] == [True]


def test_a_probe_that_fails_says_so(cluster: LocalCluster, tmp_path: Path) -> None:
    probe = {"exec": {"command": ["sh", "-c", "echo no model; exit 7"]}, "periodSeconds": 1}
    cluster.apply(manifests(tmp_path / "m", startupProbe=probe))
    with pytest.raises(NotReadyError, match="exit status 7, no model"):
        cluster.wait_until_ready(1)


def test_a_port_that_was_taken_is_replaced(cluster: LocalCluster, tmp_path: Path) -> None:
    once = tmp_path / "once"
    cluster.apply(
        manifests(tmp_path / "m"), replicas=1, args=["--misbehave=collide", f"--once={once}"]
    )
    (pod,) = cluster.wait_until_ready(30)
    assert "a port was taken: again with" in cluster.logs(pod)
    assert pod.restarts == 0


def test_a_server_that_ignores_sigterm_is_killed_after_the_grace_period(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    cluster.apply(manifests(tmp_path / "m"), replicas=1, args=["--misbehave=deaf"])
    (pod,) = cluster.wait_until_ready(30)
    cluster.scale(0)
    cluster.wait_until_ready(30)
    assert not psutil.pid_exists(pod.pid or 0)


def test_the_pre_stop_hook_runs_before_a_replica_goes(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    drained = tmp_path / "drained"
    hook = {"preStop": {"exec": {"command": ["touch", str(drained)]}}}
    cluster.apply(manifests(tmp_path / "m", lifecycle=hook), replicas=1)
    cluster.wait_until_ready(30)
    cluster.scale(0)
    cluster.wait_until_ready(30)
    assert drained.exists()


def test_nothing_is_left_after_delete(two: LocalCluster) -> None:
    pids = [pod.pid for pod in two.pods()]
    there = two.leftovers()
    two.delete()
    assert sum(f"process {pid}:" in line for line in there for pid in pids) == 2
    assert two.leftovers() == []


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    program = [sys.executable, "-c", "import os; print(os.getpid())"]
    return int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


ASLEEP = [sys.executable, "-c", "import signal; signal.pause()"]


def test_what_an_ended_session_left_behind_is_found_and_deleted(
    two: LocalCluster, ended: int
) -> None:
    mark = {supervisor.MARK: str(ended)}
    with subprocess.Popen(ASLEEP, env=os.environ | mark) as orphan:
        until(lambda: any(f"process {orphan.pid}:" in line for line in two.leftovers()))
        two.delete()
        assert not running(orphan.pid)
    assert two.leftovers() == []


def test_what_a_run_left_that_goes_on_is_that_runs(two: LocalCluster, ended: int) -> None:
    """As when two people run `make tutorial` on one machine."""
    runs = {"going on": f"{os.getppid()}-other", "ended": f"{ended}-other"}
    mark = os.environ | {supervisor.MARK: str(ended)}
    with (
        subprocess.Popen(ASLEEP, env=mark | {RUN: runs["going on"]}) as theirs,
        subprocess.Popen(ASLEEP, env=mark | {RUN: runs["ended"]}) as nobodys,
    ):
        until(lambda: any(f"process {nobodys.pid}:" in line for line in two.leftovers()))
        assert not any(f"process {theirs.pid}:" in line for line in two.leftovers())
        two.delete()
        assert (running(theirs.pid), running(nobodys.pid)) == (True, False)
        theirs.kill()


def test_scaling_needs_something_applied(two: LocalCluster) -> None:
    two.delete()
    with pytest.raises(ClusterError, match=r"Call apply\(\) first"):
        two.scale(1)


def test_another_command_than_the_servers_is_refused(cluster: LocalCluster, tmp_path: Path) -> None:
    folder = manifests(tmp_path / "m", command=["sh", "-c", "run.sh"])
    with pytest.raises(ManifestError, match=r"containers\[0\]\.command"):
        cluster.apply(folder)


def test_a_log_of_no_pod_lists_the_pods(two: LocalCluster) -> None:
    with pytest.raises(ClusterError, match=two.pods()[0].name):
        two.logs("../../../etc/passwd")


def test_it_works_where_an_event_loop_runs(two: LocalCluster) -> None:
    async def in_a_notebook() -> int:
        two.scale(1)
        return len(two.wait_until_ready(30))

    assert asyncio.run(in_a_notebook()) == 1


def test_a_missing_model_ends_the_wait_at_once(
    two: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORFLOW_MODEL_SERVER", two._program[0])
    with connect("local", models=tmp_path / "models", logs=tmp_path / "logs") as empty:
        empty.apply(manifests(tmp_path / "m"), args=["--misbehave=mute"])
        with pytest.raises(NotReadyError, match=r"models/inception doesn't exist.*notebook 01"):
            empty.wait_until_ready(600)


def test_a_load_balancer_port_in_use_names_who_has_it(models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ClusterError, match=f"in use by .* .process {os.getpid()}"):
            connect("local", models=models, port=port)


def test_a_binary_that_doesnt_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORFLOW_MODEL_SERVER", "/opt/nowhere/tensorflow_model_server")
    with pytest.raises(SetupError, match="/opt/nowhere/tensorflow_model_server"):
        connect("local")


def test_a_second_cluster_writes_logs_of_its_own(two: LocalCluster) -> None:
    with connect("local", logs=two._supervisor.logs) as second:
        assert two._supervisor.logs / "2" == second._supervisor.logs


@pytest.fixture
def other(two: LocalCluster, models: Path, tmp_path: Path) -> Iterator[LocalCluster]:
    """A cluster of two replicas that the test may close."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORFLOW_MODEL_SERVER", two._program[0])
        with connect("local", models=models, logs=tmp_path / "logs") as other:
            other.apply(manifests(tmp_path / "other"))
            other.wait_until_ready(30)
            yield other


@pytest.mark.parametrize("end", ["close", "SIGTERM"])
def test_a_supervisor_that_stops_starts_no_replicas(other: LocalCluster, end: str) -> None:
    """Each start has a log of its own, which stays: so none is missed between two looks."""
    control = psutil.Process(other._supervisor.pid)
    most = 0
    closing = threading.Thread(target=other.close if end == "close" else control.terminate)
    closing.start()
    with suppress(psutil.NoSuchProcess):
        while control.status() != psutil.STATUS_ZOMBIE:
            most = max(most, len(control.children()))
            time.sleep(0.005)
    closing.join()
    assert len(list(other._supervisor.logs.glob("inception-*.log"))) == 2
    assert most <= 2


def test_deleting_a_closed_cluster_again_is_no_error(other: LocalCluster) -> None:
    other.delete()
    other.close()
    other.delete()
    assert other.leftovers() == []


SCRIPT = """
import os, signal, sys
from pathlib import Path
from helpers.clusters import connect
def main():
    cluster = connect("local", models=Path(sys.argv[1]), logs=Path(sys.argv[2]))
    cluster.apply(Path(sys.argv[3]), replicas=1)
    (pod,) = cluster.wait_until_ready(100)
    print("PIDS", cluster._supervisor.pid, pod.pid, flush=True)
    return cluster
"""
ENDINGS = {
    "the interpreter ends": "cluster = main()",
    "the object is dropped": "main(); print('GO', flush=True); sys.stdin.read()",
    "an exception ends a with block": "with main(): raise RuntimeError",
    "Ctrl-C in a with block": "with main(): os.kill(os.getpid(), signal.SIGINT); sys.stdin.read()",
    "SIGTERM to the notebook": "cluster = main(); os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL to the notebook": "cluster = main(); os.kill(os.getpid(), signal.SIGKILL)",
    "SIGKILL while a forked child holds the pipe": """
cluster = main()
if os.fork():
    os.kill(os.getpid(), signal.SIGKILL)
signal.alarm(60)
signal.pause()
""",
    "SIGKILL to the supervisor": """
cluster = main()
os.kill(cluster._supervisor.pid, signal.SIGKILL)
sys.stdin.read()
""",
}


@pytest.fixture(scope="module")
def notebooks(
    cluster: LocalCluster, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """A process for each ending, all at the same time since each takes seconds."""
    folder = tmp_path_factory.mktemp("endings")
    arguments = [str(models), str(folder / "logs"), str(manifests(folder / "m"))]
    with ExitStack() as processes:
        started = {
            ending: processes.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", SCRIPT + code, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    cwd=settings.ROOT,
                    start_new_session=True,
                )
            )
            for ending, code in ENDINGS.items()
        }
        yield started
        for notebook in started.values():
            with suppress(ProcessLookupError):
                os.killpg(notebook.pid, signal.SIGKILL)


@pytest.mark.parametrize("ending", ENDINGS)
def test_replicas_never_outlive_the_notebook(
    notebooks: dict[str, subprocess.Popen[str]], ending: str
) -> None:
    line = next(line for line in notebooks[ending].stdout or () if "PIDS" in line)
    supervisor, server = (int(word) for word in line.partition("PIDS")[2].split())
    until(lambda: not running(supervisor) and not running(server))


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_start_is_told_step_by_step(two: LocalCluster) -> None:
    for start in two.starts():
        steps = [start.scheduled_s, start.pulled_s, start.started_s, start.ready_s]
        assert steps == sorted(steps)
        assert 0 < start.ready_s - start.started_s < start.ready_s
    assert {start.pod for start in two.starts()} == {pod.name for pod in two.pods()}
