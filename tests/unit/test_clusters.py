"""The parts of `clusters` that need no running replica."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from helpers import settings
from helpers.clusters import Pod, Pods, arguments, connect, diagnosis
from helpers.clusters.local import die_with_parent, requirements
from helpers.errors import ClusterError, SetupError

FLAGS = ["--port=8500", "--rest_api_port", "8501", "--enable_batching", "--model_name=inception"]


def test_an_unknown_target_lists_the_targets() -> None:
    with pytest.raises(SetupError, match=r"'locl'.*'local'.*'kubernetes'"):
        connect("locl")


def test_a_flag_replaces_the_one_of_its_name_in_any_form() -> None:
    merged = arguments.merge(FLAGS, ["--rest_api_port=0", "--enable_batching=false", "--new"])
    assert merged == [
        "--port=8500",
        "--rest_api_port=0",
        "--enable_batching=false",
        "--model_name=inception",
        "--new",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("port", "8500"), ("rest_api_port", "8501"), ("model_name", "inception"), ("other", "none")],
)
def test_a_flags_value_is_found_in_any_form(name: str, expected: str) -> None:
    assert arguments.value(FLAGS, name, "none") == expected


def test_without_a_command_the_images_entry_point_speaks_first() -> None:
    flags = arguments.complete((), ["--enable_batching"], {"MODEL_NAME": "inception"})
    assert flags == (
        "--port=8500",
        "--rest_api_port=8501",
        "--model_name=inception",
        "--model_base_path=/models/inception",
        "--enable_batching",
    )


def test_variables_are_replaced_and_unknown_ones_stay() -> None:
    flags = arguments.complete(["tensorflow_model_server"], ["--a=$(A)", "--b=$(B)"], {"A": "1"})
    assert flags == ("--a=1", "--b=$(B)")


def test_paths_and_ports_of_the_container_become_this_machines(tmp_path: Path) -> None:
    flags = ["--port=8500", "--model_base_path=/models/inception", "--x=/etc/serving/a.config"]
    moved = arguments.localize(flags, ports={8500: 20_000}, models=tmp_path)
    assert moved == [
        "--port=20000",
        f"--model_base_path={tmp_path}/inception",
        f"--x={settings.SERVING}/a.config",
    ]


@pytest.mark.parametrize("text", ["/my/models/inception", "/models-fast/x", "a/models/b"])
def test_a_path_that_only_looks_like_the_containers_stays(text: str, tmp_path: Path) -> None:
    assert arguments.on_this_machine(text, models=tmp_path) == text


def test_the_port_is_the_servers_default_when_no_flag_names_it() -> None:
    assert arguments.service_ports(["--model_name=m"]) == (8500, 0)


MODEL = ["--model_base_path=/models/inception"]


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


WHOLE = ("saved_model.pb", "variables/variables.index")


@pytest.mark.parametrize(
    ("names", "cause", "step"),
    [
        ([], "doesn't exist", "notebook 01"),
        (["inception"], "is a file", "notebook 01"),
        (["inception/saved_model.pb"], "no version in it", "Move the model into"),
        (["inception/v1/saved_model.pb"], "it holds v1", "inception/1"),
        (["inception/1/variables/variables.index"], "saved_model.pb is missing", "Wait until"),
        (["inception/1/saved_model.pb", "inception/1/variables/x"], "variables.index is", "remove"),
        ([f"inception/1/{f}" for f in WHOLE] + ["inception/2/x"], "version 2", "inception/2"),
    ],
    ids=["missing", "a file", "unnumbered", "misnamed", "no graph", "no variables", "newest"],
)
def test_a_model_that_cant_be_loaded_is_explained(
    tmp_path: Path, names: list[str], cause: str, step: str
) -> None:
    said = diagnosis.model_problem(MODEL, files(tmp_path, *names))
    assert (cause in said[0], step in said[1]) == (True, True), said


def test_an_empty_model_directory_is_explained(tmp_path: Path) -> None:
    (tmp_path / "inception").mkdir()
    assert "is empty" in diagnosis.model_problem(MODEL, tmp_path)[0]


@pytest.mark.parametrize(
    "names",
    [
        [f"inception/1/{f}" for f in WHOLE],
        ["inception/9/x", *(f"inception/10/{f}" for f in WHOLE)],
        ["inception/1/saved_model.pb"],
        ["inception/1/model.tflite"],
    ],
    ids=["whole", "numbers aren't sorted as text", "without variables", "TFLite"],
)
def test_a_model_that_can_be_loaded_is_no_problem(tmp_path: Path, names: list[str]) -> None:
    assert diagnosis.model_problem(MODEL, files(tmp_path, *names)) == ("", "")


@pytest.mark.parametrize(
    ("graph", "cause"), [(b"op: Const", ""), (b"op: VarHandleOp", "variables.index is missing")]
)
def test_an_empty_folder_of_variables_is_whole_if_the_graph_has_none(
    tmp_path: Path, graph: bytes, cause: str
) -> None:
    version = files(tmp_path, "inception/1/saved_model.pb") / "inception" / "1"
    (version / "saved_model.pb").write_bytes(graph)
    (version / "variables").mkdir()
    said = diagnosis.model_problem(MODEL, tmp_path)[0]
    assert cause in said
    assert bool(said) == bool(cause)


def test_a_configuration_file_of_models_isnt_second_guessed(tmp_path: Path) -> None:
    flags = [*MODEL, "--model_config_file=/etc/serving/models.config"]
    assert diagnosis.model_problem(flags, tmp_path) == ("", "")


LOG = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795349100.551690   24943 cudart_stub.cc:31] Could not find cuda drivers
2026-11-22 12:04:30.058 I Running gRPC ModelServer at 0.0.0.0:32259 ...
2026-11-22 12:05:03.139 E Failed to start server. Error: could not bind to port 8500
--- inception-0: restart 1: its server exited with status 255
"""


def test_of_a_log_only_what_tells_is_shown() -> None:
    expected = (
        "2026-11-22 12:05:03.139 E Failed to start server. Error: could not bind to port 8500"
    )
    assert diagnosis.telling_lines(LOG) == [expected]


def test_a_log_without_an_error_shows_its_end() -> None:
    assert diagnosis.telling_lines("one\ntwo\n") == ["one", "two"]


@pytest.mark.parametrize(
    ("log", "step"),
    [
        (LOG, "listens on the port"),
        ("model_server: unknown flag: --prot", "Correct the flag"),
        ("ended by SIGKILL", "out of memory"),
        ("No space left on device", "Free some space"),
        ("DATA_LOSS: Can't parse saved_model.pb", "files are damaged"),
        ("something else", "Read its log"),
    ],
)
def test_the_next_step_follows_from_the_log(log: str, step: str) -> None:
    said = diagnosis.next_step(log, settings.LOGS / "inception-0.log")
    assert (step in said, said.endswith("build/logs/inception-0.log")) == (True, True), said


@pytest.mark.parametrize(
    ("pods", "told"),
    [
        (["ready", "starting"], "1 of 2 replicas ready"),
        (["ready", "ready", "ready"], "2 of 2 replicas ready, 1 leaving"),
        (["ready", "ready", "ending", "ending"], "2 of 2 replicas ready, 2 leaving"),
        (["ready", "old", "old"], "1 of 2 new replicas ready, 2 old"),
    ],
)
def test_what_is_leaving_is_not_counted_as_ready(pods: list[str], told: str) -> None:
    status = {"starting": "Running", "ending": "Terminating"}
    state = [
        {
            "ready": pod in ("ready", "old"),
            "current": pod != "old",
            "status": status.get(pod, "Running"),
        }
        for pod in pods
    ]
    assert diagnosis.so_far(state, 2) == told


def test_no_pods_are_said_in_words() -> None:
    assert (repr(Pods()), Pods()._repr_html_()) == ("no pods", "no pods")


def test_a_table_of_pods_escapes_what_it_shows() -> None:
    pod = Pod("a<b", "Running", True, 0, 1.0, "127.0.0.1:1", "", "node")
    assert "a&lt;b" in Pods([pod])._repr_html_()


@pytest.mark.parametrize("way", ["kernel", "watcher"])
def test_a_launched_program_ends_with_its_parent(way: str, tmp_path: Path) -> None:
    if way == "kernel" and sys.platform != "linux":
        pytest.skip("PR_SET_PDEATHSIG is Linux's")
    parent = f"""
import os, subprocess, sys
read, write = os.pipe()
launcher = [sys.executable, "-I", "-S", {die_with_parent.__file__!r}, {way!r}]
command = [*launcher, str(os.getpid()), str(read)]
program = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
child = subprocess.Popen(command + program, pass_fds=[read], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it outlived its parent"
        time.sleep(0.02)


def test_a_program_that_cant_be_run_says_so() -> None:
    read, write = os.pipe()
    command = [
        sys.executable,
        "-I",
        "-S",
        die_with_parent.__file__,
        "watcher",
        str(os.getpid()),
        str(read),
    ]
    ended = subprocess.run(
        [*command, "/nowhere/server"], pass_fds=[read], capture_output=True, text=True, check=False
    )
    os.close(read)
    os.close(write)
    assert (ended.returncode, "can't be run: No such file" in ended.stderr) == (127, True)


@pytest.mark.parametrize(
    ("port", "words"),
    [(70_000, "A port is a number from 0 to 65535"), (-1, "A port is a number from 0 to 65535")],
)
def test_a_port_that_cant_be_listened_on_says_why(port: int, words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        requirements.listener(port, "gRPC")


def test_a_port_that_is_roots_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(ClusterError, match="Ports below 1024 are root's"):
        requirements.listener(80, "gRPC")
