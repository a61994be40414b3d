"""Notebook 04 on the local target, which has no cluster, shows what it can there."""

from __future__ import annotations

from typing import Any

import pytest
from notebook_runs import red_lines, shown, with_solutions

from helpers.book import lessons, runner
from helpers.clusters import gke
from helpers.lab import claims, publishing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Notebook 04 as a reader runs it who types in what the exercises and solutions have."""
    folder = tmp_path_factory.mktemp("notebook")
    output = folder / "executed.ipynb"
    outcome = runner.run(
        with_solutions("04", folder, last="cluster.delete()\ncluster.close()"),
        output=output,
        parameters={"MODELS": str(folder / "models"), "GPU_NODES": 3},
    )
    assert (outcome.error, outcome.leftovers) == (None, ())
    return lessons.read(output)


@pytest.fixture(scope="module")
def deployed(executed: Any) -> dict[str, Any]:
    return publishing.published(executed)


def test_nothing_is_sent_to_a_cluster(deployed: dict[str, Any]) -> None:
    assert {"refused_by_hand", "events"} & deployed.keys() == set()


def test_no_sentence_is_contradicted(executed: Any) -> None:
    assert [claim.name for claim in claims.claims(executed) if claim.contradicted] == []


def test_the_exercises_do_what_their_solutions_say(executed: Any) -> None:
    # After 2 to 3 s, says the solution; later on a busy machine.
    assert float(shown(executed, "typed-1")) >= 1.5
    assert "no_such_flag" in shown(executed, "typed-2")
    assert "was started 1 time more" in shown(executed, "typed-3")


def test_nothing_is_written_on_red(executed: Any) -> None:
    assert red_lines(executed, allowed=None) == []


def test_the_rent_of_a_gpu_cluster_is_told(deployed: dict[str, Any]) -> None:
    assert deployed["gke_usd_per_hour"] == pytest.approx(gke.Gke("any", nodes=3).usd_per_hour)


def test_a_startup_probe_without_patience_stops_the_roll_out(deployed: dict[str, Any]) -> None:
    refused = "startup probe tcpSocket :8500: Connect call failed"
    assert deployed["startup_probe"].startswith(refused)
    assert deployed["served_meanwhile"] is True


def test_a_frozen_replica_loses_its_traffic_and_then_its_life(deployed: dict[str, Any]) -> None:
    steps = ("unready", "killed", "restarted")
    seen = [deployed[f"seconds_until_{step}"] for step in steps]
    assert seen == sorted(seen)
    # No sooner than the sum says; how much later is a matter of how busy this machine is.
    for step, seconds in zip(steps[:2], seen, strict=False):
        assert seconds > deployed[f"predicted_until_{step}_s"][0] - 0.5


def test_nothing_is_left(deployed: dict[str, Any]) -> None:
    assert deployed["leftovers"] == []
