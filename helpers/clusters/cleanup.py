"""Everything that the tutorial made, wherever it made it: listed, and removed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers import container, settings
from helpers.closing import Closing
from helpers.clusters import connect, gke, left_files
from helpers.clusters.interface import Cluster
from helpers.errors import ClusterError

BY_HAND = "-by-hand"  # notebook 04's second namespace is named after the first
EXPORTS = "models*"  # in build/: of each network, plain and fast


@dataclass(frozen=True)
class Place:
    """Somewhere that things are left behind.

    Args:
        name: in words.
        find: what is there, a line each.
        remove: takes it away.
        skipped: why it wasn't looked at; empty when it was.
    """

    name: str
    find: Callable[[], list[str]] = list
    remove: Callable[[], None] = lambda: None
    skipped: str = ""


class Places(Closing):
    """All places where a notebook can have left something; a context manager.

    What carries the tutorial's mark is found, and nothing else. On this machine the servers and
    files of a notebook that is open beside this one aren't left behind, and stay.

    Args:
        target: `local`, `kubernetes` or `gke`: what may be reached, and has to be.
        context: of the kubeconfig; None for the environment's `TUTORIAL_CONTEXT`.
        namespace: of the cluster; None as for `connect`.
        google: the cluster on Google Cloud; needed for the target `gke`.
        exports: whether the exported models count, which take long to make again.

    Raises:
        SetupError: the target was named, and can't be reached.
        ClusterError: its API server doesn't answer.
    """

    def __init__(
        self,
        target: str = "local",
        *,
        context: str | None = None,
        namespace: str | None = None,
        google: gke.Gke | None = None,
        exports: bool = False,
    ) -> None:
        self._clusters: list[Cluster] = []
        self.places = [self._this_machine(), _files("files", left_files.paths), _containers()]
        if exports:
            self.places.append(_files("exported models", _exports))
        if target == "local":
            why = "not looked at: the target is local"
            self.places.append(Place("Kubernetes", skipped=why))
        elif google is None or google.clusters():
            try:
                self.places += self._kubernetes(context, namespace)
            except BaseException:
                self.close()
                raise
        if google is not None:
            self.places.append(_google(google))

    def find(self) -> dict[str, list[str]]:
        """What is where: a line each, by place."""
        return {place.name: [place.skipped] if place.skipped else place.find() for place in self}

    def count(self) -> int:
        """How many things there are."""
        return sum(len(place.find()) for place in self if not place.skipped)

    def remove(self) -> None:
        """Takes it all away.

        Raises:
            TutorialError: something can't be removed, or is still there after a while.
        """
        for place in self:
            if not place.skipped:
                place.remove()

    def close(self) -> None:
        """Ends the connections. May be called again."""
        while self._clusters:
            self._clusters.pop().close()

    def __iter__(self) -> Iterator[Place]:
        return iter(self.places)

    def _this_machine(self) -> Place:
        cluster = connect("local")
        self._clusters.append(cluster)
        return Place("servers on this machine", cluster.leftovers, cluster.delete)

    def _kubernetes(self, context: str | None, namespace: str | None) -> list[Place]:
        from helpers.clusters.kubernetes import KubernetesCluster, gpus

        cluster = KubernetesCluster(context=context, namespace=namespace)
        self._clusters.append(cluster)
        hand = f"{cluster.namespace}{BY_HAND}"
        by_hand = KubernetesCluster(context=cluster.context, namespace=hand)
        self._clusters.append(by_hand)

        def nodes() -> list[str]:
            try:
                return gpus.leftovers(cluster)
            except ClusterError as error:
                if getattr(error.__cause__, "status", None) != 403:
                    raise
                return []  # who may not list nodes didn't make any

        def remove_nodes() -> None:
            if nodes():
                gpus.remove(cluster)

        return [
            Place("simulated GPU nodes", nodes, remove_nodes),
            Place(f"Kubernetes, {cluster.namespace}", cluster.leftovers, cluster.delete),
            Place(f"Kubernetes, {by_hand.namespace}", by_hand.leftovers, by_hand.delete),
        ]


def _containers() -> Place:
    name = "containers"
    if why := container.why_no_engine():
        return Place(name, skipped=f"not looked at: {re.split('[:.] ', why)[0]}")
    return Place(name, container.leftovers, container.remove_leftovers)


def _google(google: gke.Gke) -> Place:
    def found() -> list[str]:
        return [f"cluster {each['name']} in {each['zone']}" for each in google.clusters()]

    def remove() -> None:
        if google.clusters():
            gke.run(google.delete)

    return Place("Google Cloud", found, remove)


def _files(name: str, paths: Callable[[], list[Path]]) -> Place:
    return Place(
        name,
        lambda: [left_files.line(path) for path in paths()],
        lambda: left_files.remove(paths()),
    )


def _exports() -> list[Path]:
    return sorted(settings.BUILD.glob(EXPORTS))
