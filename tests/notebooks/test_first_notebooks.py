"""Notebooks 00, 01 and the local part of 05, run as `make tutorial` does, publish what is so.

Where it is not about Inception-v3 itself, they run on the light network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import RunNotebook
from solutions import Solved

from helpers import machine

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


def test_the_top_label_has_a_probability(exported: dict[str, Any]) -> None:
    assert exported["top_label"]
    assert 0 < exported["top_score"] <= 1


def test_the_fast_forms_speed_is_measured(exported: dict[str, Any]) -> None:
    assert exported["fast_over_plain"] > 0


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
