"""Notebook 07 on the cluster: versions by label, roll-outs of images, and what each lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import notebooks_namespace
from notebook_runs import published_by

from helpers import releases, settings
from helpers.export import export

pytestmark = pytest.mark.timeout(1200)  # a whole notebook is run for the first of them

HERE = Path(__file__).parent
IMAGE = "inception-release"
DOCKERFILE = "FROM inception-model-server:1\nCOPY inception /models/inception\n"
ENTRY = 'USER 65532:65532\nENTRYPOINT ["tensorflow_model_server"]\n'


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The four releases of the notebook as images, on every node."""
    folder = tmp_path_factory.mktemp("releases")
    first = export(folder / "1", network="light", weights="random")
    better = releases.train_further(first, folder / "second.weights.h5")
    second = export(folder / "2", version=2, network="light", weights=better)
    for made in (first, second):
        releases.copy(made, folder / "several")
    for number, how in enumerate(releases.BREAKS, start=3):
        releases.broken(second, folder / "several", version=number, how=how)
    releases.broken(second, folder / "3", version=3, how="file")
    names = [f"{IMAGE}:{release}" for release in ("1", "2", "3", "several")]
    # The classic builder: BuildKit needs a plugin that Debian's own client does without.
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    for name in names:
        context = folder / name.partition(":")[2]
        (context / "Dockerfile").write_text(DOCKERFILE + ENTRY)
        command = ["docker", "build", "--quiet", "--tag", name, str(context)]
        subprocess.run(command, check=True, capture_output=True, env=environment, timeout=300)
    subprocess.run([HERE / "load-image", *names], check=True, capture_output=True, timeout=300)
    return IMAGE


@pytest.fixture(scope="module")
def rolled_out(
    context: str, images: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What notebook 07 publishes on the cluster, with its ten thousand requests."""
    folder = tmp_path_factory.mktemp("notebook")
    parameters = {
        "WEIGHTS": "random",
        "IMAGES": images,
        "RELEASES": os.path.relpath(folder / "releases", settings.ROOT),
        "REQUESTS": 10_000,
        # Half of what replicas and client can do on two cores, since servers start meanwhile.
        "RATE": 100.0,
    }
    with notebooks_namespace(context, "test-roll-out") as where:
        return published_by("07", folder, where | parameters)


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
