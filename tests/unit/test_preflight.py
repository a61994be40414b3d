"""The preflight checks say what there is on machines that lack everything, and never fail."""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path

import pytest
from colours import LEAST, contrast

from helpers.errors import SetupError
from helpers.lab import preflight
from helpers.lab.preflight import MISSING, OK, WARNING, Check


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with no command, an empty home and no choice of weights; its folder of commands."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("KUBECONFIG", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(commands))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TUTORIAL_WEIGHTS", "random")  # asks no network
    return commands


def command(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def row(name: str) -> Check:
    return next(check for check in preflight.run() if check.name == name)


@pytest.mark.parametrize("name", ["Container engine", "kubectl", "Kubernetes contexts", "GPU"])
def test_what_the_local_target_does_without_is_missing_and_needs_no_action(
    bare: Path, name: str
) -> None:
    check = row(name)
    assert check.status == MISSING
    assert check.what_to_do.startswith("Nothing: ")


def test_the_rest_is_there_on_a_bare_machine(bare: Path) -> None:
    needed = {check.name for check in preflight.run() if check.status == MISSING}
    assert needed == {"Container engine", "kubectl", "Kubernetes contexts", "GPU"}


def test_nothing_blocks_the_local_target_and_a_cluster_is_what_the_other_lacks(bare: Path) -> None:
    checks = preflight.run()
    blocked = {t: [c.name for c in checks if c.blocks(t)] for t in preflight.TARGETS}
    assert blocked == {"local": [], "kubernetes": ["kubectl", "Kubernetes contexts"]}


def test_a_target_that_there_is_not_is_an_error(bare: Path) -> None:
    with pytest.raises(SetupError, match="no target 'k8s'"):
        preflight.run(target="k8s")


def test_what_blocks_the_target_comes_first(bare: Path) -> None:
    names = [check.name for check in preflight.run(target="kubernetes")]
    assert names[:2] == ["kubectl", "Kubernetes contexts"]


def test_random_weights_are_a_warning_with_the_way_back(bare: Path) -> None:
    check = row("Trained weights")
    assert (check.status, check.what_to_do) == (WARNING, "Unset TUTORIAL_WEIGHTS for real labels.")


def test_a_weights_file_that_is_not_there_is_missing(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUTORIAL_WEIGHTS", "/none/weights.h5")
    assert row("Trained weights").found == "TUTORIAL_WEIGHTS=/none/weights.h5: no such file"


def test_an_engine_whose_daemon_is_down_is_told_from_none(bare: Path) -> None:
    assert row("Container engine").found == "there is no `docker` on PATH"
    command(bare, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    down = "no Docker engine answers: Cannot connect to the Docker daemon"
    assert row("Container engine").found == down


def test_an_engine_counts_that_notebook_03_can_use(bare: Path) -> None:
    command(bare, "podman", "echo 5.4.2")  # nothing here calls it
    assert row("Container engine").status == MISSING
    command(bare, "docker", "echo 28.5.1")
    check = row("Container engine")
    assert (check.status, check.found) == (OK, "docker 28.5.1")


def test_gpus_are_listed(bare: Path) -> None:
    command(bare, "nvidia-smi", "echo 'NVIDIA L4'; echo 'NVIDIA L4'")
    check = row("GPU")
    assert (check.status, check.found) == (OK, "NVIDIA L4; NVIDIA L4")


def test_contexts_come_from_all_files_of_kubeconfig(
    bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_text(f"contexts:\n- name: cluster-{file.name}\n  context: {{}}\n")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, files)))
    assert row("Kubernetes contexts").found == "cluster-a, cluster-b"


@pytest.mark.parametrize("text", ["contexts: [", "- 1", "\x00"])
def test_a_broken_kubeconfig_is_a_row_and_not_an_error(
    bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    (tmp_path / "broken").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "broken"))
    check = row("Kubernetes contexts")
    assert check.status == WARNING
    assert check.found.startswith("could not be found out: ")


def test_a_command_that_answers_nonsense_is_a_row_and_not_an_error(bare: Path) -> None:
    command(bare, "kubectl", "echo '{}'")
    assert row("kubectl").found == "could not be found out: KeyError: 'clientVersion'"


def test_a_command_that_hangs_is_not_waited_for(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "LIMIT_S", 0.2)
    command(bare, "docker", "exec /bin/sleep 30")
    start = time.monotonic()
    assert row("Container engine").status in (MISSING, WARNING)
    assert time.monotonic() - start < 10  # far from the command's 30 s


def test_a_package_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = preflight.version
    monkeypatch.setattr(preflight, "version", lambda p: "1.0" if p == "numpy" else real(p))
    check = row("Packages")
    assert check.status == WARNING
    assert "numpy 1.0 instead of " in check.found


def test_a_package_that_is_not_installed_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = preflight.version
    monkeypatch.setattr(preflight, "version", lambda p: None if p == "rich" else real(p))
    check = row("Packages")
    assert (check.status, check.found.endswith("; no rich")) == (MISSING, True)


def test_little_memory_and_disk_are_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "GIB", 2**60)
    assert {row("Memory").status, row("Disk").status} == {WARNING}


def test_the_table_escapes_what_it_found() -> None:
    check = Check("GPU", OK, "<b>L4</b> & more", "speed")
    assert "&lt;b&gt;L4&lt;/b&gt; &amp; more" in preflight.table([check])._repr_html_()


def test_the_table_can_be_read_in_either_theme() -> None:
    checks = [Check("GPU", MISSING, "no driver", "speed"), Check("Disk", OK, "1 GiB", "logs")]
    html = preflight.table(checks)._repr_html_()
    colours = re.findall(r"color: (#\w{6}); background: (#\w{6})", html)
    assert len(colours) == 2
    assert [pair for pair in colours if contrast(*pair) < LEAST] == []
    cells = re.findall(r"<t[hd]\b[^>]*>", html)
    assert [cell for cell in cells if "text-align: left" not in cell] == []


def test_the_table_reads_as_text_too() -> None:
    checks = [
        Check("Disk", WARNING, "1 GiB free", "logs", "Free 2 GiB."),
        Check("GPU", OK, "L4", ""),
    ]
    expected = "warning Disk  1 GiB free\n              → Free 2 GiB.\nOK      GPU   L4"
    assert repr(preflight.table(checks)) == expected


def test_every_check_has_a_row_of_its_own() -> None:
    names = [check.name for check in preflight.run()]
    assert len(names) == len(set(names)) == 12


def test_a_row_names_the_notebooks_that_need_it() -> None:
    without = [c.name for c in preflight.run() if not c.needed_for[:2].isdigit()]
    assert without == ["Python", "Packages", "GPU"]  # everything, and nothing


def test_the_processors_table_marks_this_machines_class() -> None:
    from helpers.lab import processors
    from helpers.machine.processor import processor_class

    table = processors.table()
    assert list(table.index[table[""] == "this machine"]) == [processor_class()]
