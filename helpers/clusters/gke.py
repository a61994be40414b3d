"""A cluster with GPUs on Google Kubernetes Engine: made, reached, priced and deleted by `gcloud`.

Nothing here is run unless a notebook's target is `gke`. The commands are plain argument lists, so
that they can be shown before they are run.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from helpers.errors import ClusterError, SetupError
from helpers.planning import Prices

NAME = "inception-tutorial"  # contexts.txt lists the contexts of clusters of this name
MACHINE = "g2-standard-4"  # four processors, 16 GB of memory and one L4
# US dollars an hour: GKE's fee for managing a cluster, cloud.google.com/kubernetes-engine/pricing.
CLUSTER_USD = 0.10


@dataclass(frozen=True)
class Gke:
    """A zonal cluster of nodes that have an NVIDIA L4 each.

    Args:
        project: the Google Cloud project that pays.
        zone: one that has L4s.
        nodes: how many, and so how many replicas.
    """

    project: str
    zone: str = "us-central1-a"
    nodes: int = 2

    @property
    def context(self) -> str:
        """The name that gcloud gives the cluster in the kubeconfig."""
        return f"gke_{self.project}_{self.zone}_{NAME}"

    @property
    def usd_per_hour(self) -> float:
        """What it costs an hour, used or not; traffic and disks come on top."""
        return CLUSTER_USD + self.nodes * node_usd()

    @property
    def create(self) -> list[str]:
        """Makes the cluster: some five minutes. Google installs the GPUs' driver."""
        return self._command(
            "create",
            NAME,
            f"--num-nodes={self.nodes}",
            f"--machine-type={MACHINE}",
            "--accelerator=type=nvidia-l4,count=1,gpu-driver-version=default",
            f"--labels=made-by={NAME}",
        )

    @property
    def get_credentials(self) -> list[str]:
        """Writes the cluster's context into the kubeconfig."""
        return self._command("get-credentials", NAME)

    @property
    def describe(self) -> list[str]:
        """What there is of it, as JSON."""
        return self._command("list", f"--filter=name={NAME}", "--format=json")

    @property
    def delete(self) -> list[str]:
        """Deletes the cluster with all that is in it, load balancers and disks included."""
        return self._command("delete", NAME, "--quiet")

    def clusters(self) -> list[dict[str, Any]]:
        """The clusters of our name in this project and zone: one, or none.

        Raises:
            SetupError: there is no gcloud.
            ClusterError: it failed.
        """
        found: list[dict[str, Any]] = json.loads(run(self.describe) or "[]")
        return found

    def usd_so_far(self, now: datetime | None = None) -> float:
        """What the cluster has cost since it was made; 0 when there is none.

        Raises:
            SetupError: there is no gcloud.
            ClusterError: it failed.
        """
        now = now or datetime.now(timezone.utc)
        return sum(
            (now - datetime.fromisoformat(cluster["createTime"])).total_seconds()
            / 3600
            * (CLUSTER_USD + cluster["currentNodeCount"] * node_usd())
            for cluster in self.clusters()
        )

    def _command(self, action: str, *rest: str) -> list[str]:
        place = (f"--project={self.project}", f"--zone={self.zone}")
        return ["gcloud", "container", "clusters", action, *rest, *place]


def node_usd() -> float:
    """What a node costs an hour, from the dated list of prices."""
    return next(m.usd_per_hour for m in Prices.read().machines if m.name == MACHINE)


def run(command: list[str]) -> str:
    """Runs one of the commands, and returns what it wrote.

    Raises:
        SetupError: there is no gcloud.
        ClusterError: it failed, with its own words.
    """
    if shutil.which(command[0]) is None:
        raise SetupError(
            "there is no `gcloud` on PATH",
            cause="clusters on Google Cloud are made by it",
            next_step="Install the Google Cloud CLI (cloud.google.com/sdk), then `gcloud auth "
            "login`.",
        )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(
            f"`{shlex.join(command[:4])}` failed",
            cause=" ".join(done.stderr.split())[-600:],
            next_step="Correct what it names. `gcloud container clusters list` shows what there is "
            "and costs money.",
        )
    return done.stdout
