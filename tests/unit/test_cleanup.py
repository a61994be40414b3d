"""What the tutorial left is found by its mark, removed, and gone."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from kubernetes.client import ApiException

from helpers import container, settings
from helpers.clusters import cleanup, gke, kubernetes
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
    monkeypatch.setattr(cleanup.settings, "ROOT", tmp_path)
    model = tmp_path / "models"
    (model / "1").mkdir(parents=True)
    (model / "1" / "saved_model.pb").write_bytes(b"x" * 2_000_000)
    monkeypatch.setattr(cleanup, "EXPORTS", (model, tmp_path / "gone"))
    with Places() as places:
        assert "exported models" not in places.find()
    with Places(exports=True) as places:
        assert places.find()["exported models"] == ["models, 2 MB"]
        places.remove()
        assert places.find()["exported models"] == []
    assert not model.exists()


def test_the_networks_exports_are_apart_and_all_known() -> None:
    folders = [settings.models_of(network) for network in ("inception_v3", "light")]
    fast = [folder.with_name(f"{folder.name}-fast") for folder in folders]  # as notebook 01 does
    assert sorted(cleanup.EXPORTS) == sorted({*folders, *fast})


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
