"""Requests that keep coming while things are broken, and what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from helpers import photos
from helpers.client import Resilience
from helpers.clusters import Cluster, Pods
from helpers.errors import ClusterError, LoadError
from helpers.load import traffic
from helpers.load.traffic import Flow

_LOOK_S = 0.25  # how often the replicas are looked at
_CALM_S = 1.0  # of requests that are all answered in time: the fault is over for the clients
_GLUE = "\u00a0"  # a space at which no line is broken
SLOW_S = 1.0  # an answer after more than this counts as trouble, like one that is lost


@dataclass(frozen=True)
class Moment:
    """The replicas at a moment.

    Args:
        at_s: on the drill's clock.
        ready: how many are ready; None while the cluster can't be asked.
        all: how many there are, ready or not.
    """

    at_s: float
    ready: int | None
    all: int


@dataclass(frozen=True)
class Fault:
    """What was broken, and what it cost.

    Args:
        name: in a few words.
        setting: what made it cost so much, or so little.
        began_s: when it began, on the drill's clock.
        ended_s: when it was over for all clients and replicas.
        requests: sent meanwhile, by client.
        lost: those without an answer, by client.
        p99_ms: of the answered ones, by client.
        trouble_s: seconds from the beginning until the last lost or slow request ended, by client.
        ready_s: seconds until all replicas were ready again; 0: they were all the time.
        why: the codes of the lost requests.
    """

    name: str
    setting: str
    began_s: float
    ended_s: float
    requests: Mapping[str, int]
    lost: Mapping[str, int]
    p99_ms: Mapping[str, float | None]
    trouble_s: Mapping[str, float]
    ready_s: float
    why: Mapping[str, int] = field(default_factory=dict)

    def rows(self) -> list[dict[str, str]]:
        """Columns by title, a row for each client; what is true of all stands in the first."""
        shared = {
            "all replicas back": f"{self.ready_s:.1f} s" if self.ready_s else "never gone",
            "what made it so": self.setting,
        }
        return [
            {
                "fault": self.name if number == 0 else "",
                "client": client,
                "lost": f"{lost} of {self.requests[client]}".replace(" ", _GLUE),
                "trouble": f"{self.trouble_s[client]:.1f} s",
                **(shared if number == 0 else dict.fromkeys(shared, "")),
            }
            for number, (client, lost) in enumerate(self.lost.items())
        ]

    def __repr__(self) -> str:
        return str(table([self]).to_string())

    def _repr_html_(self) -> str:
        import pandas as pd

        with pd.option_context("display.max_colwidth", None):
            return str(table([self])._repr_html_())


def table(faults: Sequence[Fault]) -> Any:
    """The faults as a data frame, a row for each of their clients."""
    import pandas as pd

    titles = ["fault", "client", "lost", "trouble", "all replicas back", "what made it so"]
    frame = pd.DataFrame([row for fault in faults for row in fault.rows()], columns=titles)
    return frame.set_index("fault").rename_axis(None)


class Drill:
    """Clients that keep asking, replicas that are watched.

    Use it in a `with`, or over several cells of a notebook between `start` and `stop`: the clients
    end at the latest with the process that started them.

    A client that balances by itself is given the replicas' own addresses, and new ones as they
    change: outside of a cluster we do what a resolver of the headless Service does inside.

    Args:
        cluster: with replicas that are ready.
        clients: how each meets faults, by name.
        rate_per_s: requests a second of each client, at even distances.
        pictures: what they send; None: the sample photos.
        addresses: instead of the cluster's own: of proxies, say.
    """

    def __init__(
        self,
        cluster: Cluster,
        clients: Mapping[str, Resilience],
        *,
        rate_per_s: float,
        pictures: Sequence[Any] | None = None,
        addresses: Sequence[str] | None = None,
    ) -> None:
        self.faults: list[Fault] = []
        self.moments: list[Moment] = []
        self._cluster, self._clients, self._rate_per_s = cluster, clients, rate_per_s
        self._photos = photos.samples() if pictures is None else pictures
        self._addresses = addresses
        self._wanted = len(cluster.pods())
        self._flows: dict[str, Flow] = {}
        self._traffic: dict[str, traffic.Traffic] = {}
        self._stack, self._stopped = ExitStack(), threading.Event()

    def start(self) -> Drill:
        """Starts the clients, and waits until their requests are answered.

        Raises:
            LoadError: a client doesn't start, or the service isn't well to begin with.
        """
        self._zero = time.monotonic()
        with ExitStack() as stack:
            known = self._known()
            for name, resilience in self._clients.items():
                balances = resilience.balancing == "round_robin"
                address = self._addresses or (known if balances else self._cluster.load_balancer)
                self._traffic[name] = stack.enter_context(
                    traffic.start(
                        address,
                        self._photos,
                        rate_per_s=self._rate_per_s,
                        resilience=resilience,
                        zero=self._zero,
                    )
                )
            self._watcher = threading.Thread(target=self._watch, args=(known,), daemon=True)
            self._watcher.start()
            stack.callback(self._stop_watching)
            self.calm()
            self._stack = stack.pop_all()
        return self

    def stop(self) -> None:
        """Sends nothing more, and waits for the answers to what was sent. May be called again."""
        self.__exit__(None, None, None)

    def __enter__(self) -> Drill:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.pop_all().__exit__(kind, error, trace)
        self._flows = {name: running.flow for name, running in self._traffic.items()}

    @property
    def now_s(self) -> float:
        """Seconds on the drill's clock."""
        return time.monotonic() - self._zero

    @property
    def flows(self) -> dict[str, Flow]:
        """What became of the requests of each client."""
        return self._flows or {name: running.flow for name, running in self._traffic.items()}

    def fault(
        self,
        name: str,
        action: Callable[[], Any] | AbstractContextManager[Any],
        *,
        setting: str = "",
        lasts_s: float = 0.0,
        undo: Callable[[], Any] | None = None,
        noticed: bool = False,
        timeout_s: float = 120.0,
    ) -> Fault:
        """Breaks something and waits until all is well again.

        Args:
            name: in a few words.
            action: what breaks it. What breaks it for as long as it is entered is left again.
            setting: what makes it cost so much, or so little.
            lasts_s: seconds of requests until it is undone.
            undo: mends what doesn't mend itself, also if `action` fails half-way.
            noticed: a replica has to go, or be unready, before it can be well again.
            timeout_s: seconds until it is given up.

        Raises:
            LoadError: it isn't well again in time.
        """
        began_s = self.now_s
        with ExitStack() as broken:
            if undo is not None:
                broken.callback(undo)
            if isinstance(action, AbstractContextManager):
                broken.enter_context(action)
            else:
                action()
            self._until(lambda: self.now_s >= began_s + lasts_s, "", lasts_s + 60)
        if noticed:
            self._until(lambda: self._went_after(began_s), f"{name}: nothing noticed it", timeout_s)
        mended_s = self.now_s
        # The clients have to have seen it: what is due from now on decides.
        self._until(lambda: self._is_well(max(mended_s, began_s + _CALM_S)), name, timeout_s)
        return self._note(name, setting, began_s)

    def calm(self, seconds: float = _CALM_S) -> None:
        """Waits until the requests of so many seconds were answered, all in time."""
        since_s = self.now_s
        self._until(lambda: self._is_well(since_s, seconds), "the beginning", 60)

    def table(self) -> Any:
        """What was broken, a row each."""
        return table(self.faults)

    def _note(self, name: str, setting: str, began_s: float) -> Fault:
        ended_s, flows = self.now_s, self.flows
        meanwhile = {client: flow.between(began_s, ended_s) for client, flow in flows.items()}
        down = [m.at_s for m in self.moments if m.at_s >= began_s and m.ready != self._wanted]
        why: dict[str, int] = {}
        for flow in meanwhile.values():
            for code, count in flow.failures.items():
                why[code] = why.get(code, 0) + count
        ends = {client: flow.trouble_until_s(SLOW_S) for client, flow in meanwhile.items()}
        fault = Fault(
            name=name,
            setting=setting,
            began_s=began_s,
            ended_s=ended_s,
            requests={client: flow.requests for client, flow in meanwhile.items()},
            lost={client: flow.lost for client, flow in meanwhile.items()},
            p99_ms={client: flow.p99_ms for client, flow in meanwhile.items()},
            trouble_s={c: max(end - began_s, 0.0) if end else 0.0 for c, end in ends.items()},
            ready_s=max(down) - began_s + _LOOK_S if down else 0.0,
            why=why,
        )
        self.faults.append(fault)
        return fault

    def _went_after(self, began_s: float) -> bool:
        return any(m.at_s >= began_s and m.ready != self._wanted for m in self.moments)

    def _is_well(self, since_s: float, calm_s: float = _CALM_S) -> bool:
        """All replicas ready, and each client's newest requests answered in time."""
        if not self.moments or self.moments[-1].ready != self._wanted:
            return False
        if self.moments[-1].at_s < since_s or self.moments[-1].all != self._wanted:
            return False
        needed = max(2, int(calm_s * self._rate_per_s))
        for flow in self.flows.values():
            recent = flow.records[flow.records["due_s"] >= since_s][-needed:]
            took = recent["done_s"] - recent["due_s"]
            if len(recent) < needed or recent["code"].any() or (took > SLOW_S).any():
                return False
        return True

    def _until(self, true: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > deadline:
                state = "; ".join(f"{name}: {flow}" for name, flow in self.flows.items())
                raise LoadError(
                    f"The service is not well again {timeout_s:g} s after {what}",
                    cause=f"{self.moments[-1:]}; {state}",
                    next_step="Look at `cluster.pods()`, and at the log of one that isn't ready.",
                )
            self._stopped.wait(0.1)

    def _known(self) -> list[str]:
        return sorted(pod.address for pod in self._cluster.pods() if pod.address)

    def _watch(self, known: list[str]) -> None:
        while not self._stopped.wait(_LOOK_S):
            at_s = self.now_s
            try:
                pods = self._cluster.pods()
            except ClusterError:
                self.moments.append(Moment(at_s, None, 0))
                continue
            self.moments.append(Moment(at_s, sum(pod.ready for pod in pods), len(pods)))
            known = self._tell(pods, known)

    def _tell(self, pods: Pods, known: list[str]) -> list[str]:
        """Gives the clients that balance by themselves the addresses that there are now.

        All that aren't going, ready or not: which of them to ask, health checks tell the client.
        """
        there = sorted(p.address for p in pods if p.address and p.status != "Terminating")
        if there == known or not there or self._addresses is not None:
            return known
        for name, resilience in self._clients.items():
            if resilience.balancing == "round_robin":
                self._traffic[name].follow(there)
        return there

    def _stop_watching(self) -> None:
        self._stopped.set()
        self._watcher.join()
