"""Notebook 08 on the cluster: versions by label, roll-outs of images, and what each lost."""

from __future__ import annotations

import os
from typing import Any

import pytest
from conftest import notebooks_namespace
from notebook_runs import published_by
from roll_out_promises import EACH, Promises

from helpers import settings

# A whole notebook is run for the first of them, at a share of what the cluster can do.
pytestmark = [pytest.mark.alone, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def rolled_out(context: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What notebook 08 publishes on the cluster.

    Its releases are on the nodes, as `make cluster-images` puts them there.
    """
    folder = tmp_path_factory.mktemp("notebook")
    parameters = {
        "WEIGHTS": "random",
        "RELEASES": os.path.relpath(folder / "releases", settings.ROOT),
        "REQUESTS": EACH,
        "SHARE": 0.2,
        "MOST_PER_S": 100.0,
    }
    with notebooks_namespace(context, "test-roll-out") as where:
        return published_by("08", folder, where | parameters)


class TestOnTheCluster(Promises):
    """Pods, images, and the cluster's own load balancer."""
