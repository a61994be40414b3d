"""Notebook 07 on the cluster: versions by label, roll-outs of images, and what each lost."""

from __future__ import annotations

import os
from typing import Any

import pytest
from conftest import notebooks_namespace
from notebook_runs import published_by

from helpers import settings

pytestmark = pytest.mark.timeout(1200)  # a whole notebook is run for the first of them


@pytest.fixture(scope="module")
def rolled_out(context: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What notebook 08 publishes on the cluster, with its ten thousand requests.

    Its releases are on the nodes, as `make cluster-images` puts them there.
    """
    folder = tmp_path_factory.mktemp("notebook")
    parameters = {
        "WEIGHTS": "random",
        "RELEASES": os.path.relpath(folder / "releases", settings.ROOT),
        "REQUESTS": 10_000,
        # Half of what replicas and client can do on two cores, since servers start meanwhile.
        "RATE": 100.0,
    }
    with notebooks_namespace(context, "test-roll-out") as where:
        return published_by("08", folder, where | parameters)


def test_no_request_of_ten_thousand_is_lost_while_pods_are_replaced(
    rolled_out: dict[str, Any],
) -> None:
    assert (rolled_out["requests"], rolled_out["lost"]) == (10_000, 0)
    assert rolled_out["roll_outs"] >= 1


def test_a_deployments_defaults_lose_requests(rolled_out: dict[str, Any]) -> None:
    assert rolled_out["lost_with_defaults"] > 0


def test_a_label_moves_forth_and_back_on_every_replica(rolled_out: dict[str, Any]) -> None:
    said = rolled_out["stable_says"]
    assert said["promoted"] != said["before"] == said["rolled back"]


def test_each_broken_version_is_refused_and_nobody_notices(rolled_out: dict[str, Any]) -> None:
    assert (rolled_out["broken_versions_refused"], rolled_out["lost_meanwhile"]) == (3, 0)


def test_a_broken_image_fails_with_its_reason_and_takes_nothing_away(
    rolled_out: dict[str, Any],
) -> None:
    assert "did not become available" in rolled_out["broken_release_reason"]
    assert (rolled_out["ready_meanwhile"], rolled_out["lost_to_broken_release"]) == (2, 0)


def test_nothing_is_left(rolled_out: dict[str, Any]) -> None:
    assert rolled_out["leftovers"] == []
