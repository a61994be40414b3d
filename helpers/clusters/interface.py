"""What every target offers: the interface behind which `local` and `kubernetes` are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Protocol

from helpers import settings

BASE = settings.MANIFESTS / "base"


@dataclass(frozen=True)
class Pod:
    """One replica, as `kubectl get pods -o wide` would list it.

    Args:
        name: unique within the cluster, and never used twice.
        status: `Running`, `Terminating`, `CrashLoopBackOff`, …
        ready: whether its readiness probe succeeds, so that it gets connections.
        restarts: how often its server was started again.
        age_s: seconds since the pod was made.
        address: `host:port` of its gRPC service.
        rest_address: `host:port` of its REST service and metrics; empty when it has none.
        node: the machine that it runs on.
        pid: its process on this machine; None where that isn't known.
        reason: why it isn't ready, when it isn't.
    """

    name: str
    status: str
    ready: bool
    restarts: int
    age_s: float
    address: str
    rest_address: str
    node: str
    pid: int | None = None
    reason: str = ""

    def row(self) -> dict[str, str]:
        """The columns of the table, by title."""
        return {
            "pod": self.name,
            "ready": "yes" if self.ready else "no",
            "status": self.status,
            "restarts": str(self.restarts),
            "age": f"{self.age_s:.0f} s",
            "gRPC": self.address,
            "REST": self.rest_address or "off",
            "node": self.node,
        }


@dataclass(frozen=True)
class Start:
    """How one replica came up: seconds since it was made.

    Args:
        pod: its name.
        scheduled_s: a node was chosen.
        pulled_s: the image was on the node (and an init container had ended).
        started_s: the container ran.
        ready_s: the readiness probe succeeded.
    """

    pod: str
    scheduled_s: float
    pulled_s: float
    started_s: float
    ready_s: float


class Pods(list[Pod]):
    """Pods, which a notebook shows as a table."""

    def __repr__(self) -> str:
        if not self:
            return "no pods"
        rows = [list(self[0].row()), *(list(pod.row().values()) for pod in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if not self:
            return "no pods"
        narrow = 'style="padding: .5em .3em"'  # eight columns on a screen of 1,024 pixels
        head = "".join(f"<th {narrow}>{escape(title)}</th>" for title in self[0].row())
        rows = (
            [f"<td {narrow}>{escape(cell)}</td>" for cell in pod.row().values()] for pod in self
        )
        body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Cluster(AbstractContextManager["Cluster"], Protocol):
    """A place where replicas of the model server run.

    `limitations` says in a sentence what this target can't do, by feature (`gpu`, `drain`,
    `autoscaling`, …); what isn't in it, works.
    """

    @property
    def target(self) -> str:
        """The name that `connect` was given."""

    @property
    def limitations(self) -> Mapping[str, str]:
        """What this target can't do: a sentence for each feature."""

    def apply(
        self,
        manifests: Path = BASE,
        *,
        replicas: int | None = None,
        args: Sequence[str] = (),
        patch: Mapping[str, Any] | None = None,
    ) -> None:
        """Makes the manifests so: starts replicas, or rolls out what has changed.

        Returns at once; `wait_until_ready` waits for the outcome.

        Args:
            manifests: the directory that holds them.
            replicas: instead of the Deployment's own number.
            args: server flags that are added to the container's, or replace those of the same
                name: `("--enable_batching=false", "--batching_parameters_file=")`.
            patch: merged into the Deployment first, as `kubectl patch` does; see `patches`.

        Raises:
            ManifestError: a manifest can't be read, has a field that doesn't exist, or asks for
                something that this target doesn't have.
        """

    def scale(self, replicas: int) -> None:
        """Asks for another number of replicas; `wait_until_ready` waits for them.

        Raises:
            ClusterError: nothing was applied yet, or there can't be so many.
        """

    def wait_until_ready(self, timeout_s: float = 300) -> Pods:
        """Waits until there are as many ready replicas as asked for, all up to date, and no other.

        Raises:
            NotReadyError: that is not so in time, or never will be: raised as soon as a replica
                fails, with its own reason.
        """

    def pods(self) -> Pods:
        """The replicas as they are now."""

    @property
    def load_balancer(self) -> str:
        """`host:port` of the Service's gRPC port: each connection goes to one ready replica."""

    @property
    def rest_load_balancer(self) -> str:
        """`host:port` of the Service's REST port."""

    def addresses(self) -> list[str]:
        """The gRPC addresses of the ready replicas themselves, as a headless Service lists them."""

    def starts(self) -> list[Start]:
        """How each ready replica came up."""

    def request_counts(self) -> dict[str, int]:
        """How many requests each ready replica has answered since it started, by pod.

        From the servers' own metric `:tensorflow:serving:request_count`, over all statuses.

        Raises:
            ClusterError: a replica gives no metrics.
        """

    def logs(self, pod: str | Pod) -> str:
        """What a replica has written so far.

        Raises:
            ClusterError: there is no such pod.
        """

    def delete(self) -> None:
        """Removes all that `apply` made, and what earlier sessions have left behind."""

    def leftovers(self) -> list[str]:
        """What `apply` made and is still there, here or from a session that ended: a line each."""

    def close(self) -> None:
        """Ends the connection; on `local`, the replicas end with it. May be called again."""
