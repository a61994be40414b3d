"""What the tutorial left is found by its mark, removed, and gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from kubernetes.client import ApiException

from helpers import container, settings
from helpers.closing import SCRATCH, scratch
from helpers.clusters import cleanup, gke, kubernetes, left_files
from helpers.clusters.cleanup import Place, Places
from helpers.clusters.kubernetes import gpus
from helpers.errors import ClusterError


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Docker engine of this machine isn't the tests' to clean."""
    monkeypatch.setattr(container, "why_no_engine", lambda: "there is no engine")


def test_a_place_that_was_not_looked_at_says_why() -> None:
    with Places() as places:
        found = places.find()
    assert found["containers"] == ["not looked at: there is no engine"]
    assert found["Kubernetes"] == ["not looked at: the target is local"]


def test_what_is_found_is_counted_removed_and_gone() -> None:
    things = ["a", "b"]
    with Places() as places:
        places.places = [Place("here", lambda: list(things), things.clear), Place("x", skipped="y")]
        assert places.count() == 2
        places.remove()
        assert (places.find(), places.count()) == ({"here": [], "x": ["y"]}, 0)


def test_exports_count_only_when_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    monkeypatch.setattr(settings, "BUILD", tmp_path / "build")
    model = tmp_path / "build" / "models"
    (model / "1").mkdir(parents=True)
    (model / "1" / "saved_model.pb").write_bytes(b"x" * 2_000_000)
    with Places() as places:
        assert "exported models" not in places.find()
    with Places(exports=True) as places:
        assert places.find()["exported models"] == ["build/models, 2 MB"]
        places.remove()
        assert places.find()["exported models"] == []
    assert not model.exists()


def test_exports_of_every_network_are_known() -> None:
    folders = [settings.models_of(network) for network in ("inception_v3", "light", "x")]
    fast = [folder.with_name(f"{folder.name}-fast") for folder in folders]  # as notebook 01 does
    assert all(f.parent == settings.BUILD and f.match(cleanup.EXPORTS) for f in folders + fast)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine's temporary folder, and a build folder beside it, both empty."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(settings, "BUILD", tmp_path / "build")
    return temporary


def made(path: Path, *, age_s: float = 0.0) -> Path:
    path.mkdir(parents=True)
    (path / "plan-0.json").write_text(json.dumps({"records": f"{path}/records-0"}))
    (path / "by_hand" / "1").mkdir(parents=True)
    (path / "by_hand" / "1" / "saved_model.pb").write_bytes(b"x")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_a_folder_is_left_when_the_process_that_it_names_is_gone(machine: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    left = made(machine / f"{SCRATCH}{gone.pid}-load-x")
    with scratch("load") as ours:
        assert left_files.paths() == [left]
        left_files.remove(left_files.paths())
        assert (left.exists(), Path(ours).exists()) == (False, True)


def test_what_earlier_versions_left_is_told_by_what_is_in_it(machine: Path) -> None:
    load, export = made(machine / "load-x", age_s=90), made(machine / "tmpx")
    theirs = machine / "load-balancer"  # of Terraform, whose plans have the same name
    theirs.mkdir()
    (theirs / "plan.json").write_text('{"records": "/elsewhere"}')
    os.utime(theirs, (time.time() - 90,) * 2)
    (machine / "tmp-of-somebody-else").mkdir()
    by_hand = made(settings.BUILD / "by_hand")
    assert left_files.paths() == sorted([load, export, by_hand])


def test_files_that_a_running_process_was_given_stay(machine: Path) -> None:
    path = made(settings.BUILD / "files")
    command = [sys.executable, "-c", "input()", f"--ssl_config_file={path}/0123abc/ssl.config"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as server:
        assert left_files.paths() == []
        server.communicate(b"\n")
    assert left_files.paths() == [path]


def test_a_rented_cluster_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [{"name": gke.NAME, "zone": "z"}]
    monkeypatch.setattr(gke.Gke, "clusters", lambda self: there)
    monkeypatch.setattr(gke, "run", lambda command: there.clear())
    place = cleanup._google(gke.Gke("p"))
    assert place.find() == ["cluster inception-tutorial in z"]
    place.remove()
    assert place.find() == []


@pytest.mark.parametrize(("status", "raised"), [(403, False), (500, True), (None, True)])
def test_only_who_may_not_list_nodes_has_made_none(
    monkeypatch: pytest.MonkeyPatch, status: int | None, raised: bool
) -> None:
    """A cluster that doesn't answer isn't one without leftovers."""

    def refuse(_: object) -> list[str]:
        raise ClusterError("the nodes can't be listed", next_step="") from ApiException(status)

    cluster = SimpleNamespace(
        namespace="n", context="c", leftovers=list, delete=list, close=lambda: None
    )
    monkeypatch.setattr(kubernetes, "KubernetesCluster", lambda **_: cluster)
    monkeypatch.setattr(gpus, "leftovers", refuse)
    with Places(target="kubernetes") as places:
        nodes = next(place for place in places.places if place.name == "simulated GPU nodes")
        with pytest.raises(ClusterError) if raised else nullcontext():
            assert nodes.find() == []
