"""Notebooks 00, 01 and the local part of 05, run as `make tutorial` does, publish what is so.

Where it is not about Inception-v3 itself, they run on the light network.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from conftest import RunNotebook
from solutions import Solved

from helpers import machine, settings
from helpers.book import lessons
from helpers.closing import SCRATCH
from helpers.lab import contents

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where 01 or 05 exports to, whichever comes first."""
    return tmp_path_factory.mktemp("exports") / "models"


@pytest.fixture(scope="module")
def checked(run_notebook: RunNotebook) -> dict[str, Any]:
    return run_notebook("00")


@pytest.fixture(scope="module")
def exported(run_notebook: RunNotebook, models: Path) -> dict[str, Any]:
    return run_notebook("01", NETWORK="light", MODELS=str(models), SECONDS=0.1)


@pytest.fixture(scope="module")
def scaled(run_notebook: RunNotebook, models: Path) -> dict[str, Any]:
    return run_notebook(
        "05", NETWORK="light", MODELS=str(models), REPLICAS=[1, 2], SECONDS=1.0, ROUNDS=2
    )


def test_nothing_blocks_the_local_target(checked: dict[str, Any]) -> None:
    assert checked["blockers"] == 0


def test_the_processors_class_is_this_machines(checked: dict[str, Any]) -> None:
    assert checked["processor_class"] == machine.describe()["processor_class"]


def test_inception_v3_is_counted(exported: dict[str, Any]) -> None:
    assert exported["parameters"] == 23_851_784
    assert round(exported["parameters_with_auxiliary_head"] / 1e6) == 27
    assert round(exported["multiply_adds"] / 1e9, 1) == 5.7
    assert exported["flops"] > 2 * exported["multiply_adds"]


def test_the_label_that_is_shown_is_a_trained_networks(exported: dict[str, Any]) -> None:
    assert exported["weights"] == "random"
    assert (exported["top_label"], exported["labels_by"]) == (
        "golden retriever",
        "EfficientNet-Lite2",
    )
    assert 0.5 < exported["top_score"] <= 1


@pytest.mark.parametrize("name", ["fast_over_plain", "onednn_over_without"])
def test_a_ratio_of_speeds_is_inside_its_interval(exported: dict[str, Any], name: str) -> None:
    low, high = exported[f"{name}_interval"]
    assert 0 < low <= exported[name] <= high


@pytest.mark.usefixtures("exported")
def test_the_export_by_hand_is_not_left() -> None:
    left = [path.name for path in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*-by-hand-*")]
    assert left + [path.name for path in settings.BUILD.glob("by_hand")] == []


def test_every_notebook_states_its_time(checked: dict[str, Any]) -> None:
    assert checked["notebooks"] == len(lessons.find())
    assert contents.table()["time"].map(bool).all()
    assert checked["minutes"] == contents.minutes(contents.table())


def test_a_text_file_is_refused_as_00s_solution_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(settings.NOTEBOOKS)
    with Solved("00", steps=[1, 6]) as solved:
        (refusal,) = solved.values()
    assert "is not a picture: it starts with b'# Serve" in refusal


def test_the_exercises_of_the_export_end_as_their_solutions_say(
    models: Path, exported: dict[str, Any]
) -> None:
    parameters = {"NETWORK": "light", "MODELS": str(models)}
    with Solved("01", steps=[1, 2, 3, 4, 5], parameters=parameters) as solved:
        shares, served, logits = solved.values()
    assert shares == ("0.04%", "8.6%")
    assert served == (2, 1)
    assert logits[0] == 0
    assert (logits[1:] < 0).all()


def test_one_channel_is_pinned_to_one_replica(scaled: dict[str, Any]) -> None:
    assert scaled["pinned_share"] == 1.0
    assert sorted(scaled["requests"]["one channel"].values())[:3] == [0, 0, 0]


def test_round_robin_gives_every_replica_its_share(scaled: dict[str, Any]) -> None:
    # Within a tenth of the mean, as the notebook says.
    assert scaled["round_robin_imbalance"] < 0.1


def test_each_number_of_replicas_has_a_throughput(scaled: dict[str, Any]) -> None:
    assert set(scaled["images_per_second"]) == {"1", "2"}
    assert min(scaled["images_per_second"].values()) > 0


def test_what_only_a_cluster_has_is_not_published_without_one(scaled: dict[str, Any]) -> None:
    assert scaled.keys() & {"autoscaled_to", "pod_too_many", "evicted"} == set()


def test_the_exercises_of_scaling_end_as_their_solutions_say(models: Path) -> None:
    parameters = {"NETWORK": "light", "MODELS": str(models), "SECONDS": 0.5}
    with Solved("05", steps=[1], parameters=parameters) as solved:
        _, uneven, (sockets, _), ratio, replicas = solved.values()
    assert uneven.keys() == {12, 100}
    assert 0.02 < uneven[100] < 1  # of a random deal; how far it is from even is luck
    assert sockets == 100
    assert ratio.interval.low is not None
    assert replicas == 2  # as manifests/base/deployment.yaml says
