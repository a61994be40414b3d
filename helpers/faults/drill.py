"""Requests that keep coming while things are broken, and what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any

from helpers import load, photos
from helpers.client import Resilience
from helpers.clusters import Cluster, Pods
from helpers.errors import ClusterError, LoadError
from helpers.faults.fault import Fault, Moment, table
from helpers.load import traffic
from helpers.load.traffic import Flow
from helpers.progress import Repeated

_LOOK_S = 0.25  # how often the replicas are looked at
_CALM_S = 1.0  # of requests that are all answered in time: the fault is over for the clients
_CONCURRENCY = 16  # in flight, to find what the replicas can do
_PATIENCE = 3  # a fault lasts this many times as long at most, to have its answers
_starts, _faults = Repeated("start"), Repeated("fault")
SLOW_S = 1.0  # an answer after more than this disturbs a client, as one that is lost does


def share_of_capacity(
    cluster: Cluster, *, share: float = 0.1, most_per_s: float = 25.0, seconds: float = 2.0
) -> float:
    """A rate for a client that leaves the replicas room: a share of what they can do just now.

    Measuring it, in a closed loop, also warms them up.

    Args:
        cluster: with replicas that are ready.
        share: of their throughput.
        most_per_s: more isn't needed to see a fault, in requests a second.
        seconds: to measure, after one that isn't counted.
    """
    peak = load.closed_loop(
        cluster.addresses(),
        photos.samples(),
        concurrency=_CONCURRENCY,
        duration_s=seconds,
        warmup_s=1.0,
    )
    return min(most_per_s, share * peak.summary().throughput_per_s)


class Drill:
    """Clients that keep asking, replicas that are watched.

    Use it in a `with`, or over several cells of a notebook between `start` and `stop`: the clients
    end at the latest with the process that started them.

    A client that balances by itself is given the replicas' own addresses, and new ones as they
    change: outside of a cluster we do what a resolver of the headless Service does inside.

    Args:
        cluster: with replicas that are ready.
        clients: how each meets faults, by name.
        rate_per_s: requests per second of each client, evenly spaced.
        addresses: instead of the cluster's own: of proxies, say.
        channels: connections of each client to each address.
    """

    def __init__(
        self,
        cluster: Cluster,
        clients: Mapping[str, Resilience],
        *,
        rate_per_s: float,
        addresses: Sequence[str] | None = None,
        channels: int = 1,
    ) -> None:
        self.faults: list[Fault] = []
        self.moments: list[Moment] = []
        self._cluster, self._clients, self._rate_per_s = cluster, clients, rate_per_s
        self._addresses, self._channels = addresses, channels
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
        with _starts.once() as self._say, ExitStack() as stack:
            known = self._known()
            for name, resilience in self._clients.items():
                balances = resilience.balancing == "round_robin"
                address = self._addresses or (known if balances else self._cluster.load_balancer)
                self._traffic[name] = stack.enter_context(
                    traffic.start(
                        address,
                        photos.samples(),
                        rate_per_s=self._rate_per_s,
                        resilience=resilience,
                        channels=self._channels,
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
        saved_by: Mapping[str, str] | None = None,
        lasts_s: float = 0.0,
        answers: int = 0,
        undo: Callable[[], Any] | None = None,
        noticed: bool = False,
        timeout_s: float = 120.0,
    ) -> Fault:
        """Breaks something and waits until all is well again.

        Args:
            name: in a few words.
            action: what breaks it. What breaks it for as long as it is entered is left again.
            saved_by: what saves a client from it, by client.
            lasts_s: seconds of requests until it is undone.
            answers: that each client has to have had before it is undone, unless that takes three
                times `lasts_s`.
            undo: puts right what doesn't recover by itself, also if `action` fails half-way.
            noticed: a replica has to go, or be unready, before it can be well again.
            timeout_s: seconds until it is given up.

        Raises:
            LoadError: it isn't well again in time.
        """
        with _faults.once() as self._say:
            began_s = self.now_s
            with ExitStack() as broken:
                if undo is not None:
                    broken.callback(undo)
                if isinstance(action, AbstractContextManager):
                    broken.enter_context(action)
                else:
                    action()
                took_s = self.now_s - began_s
                latest_s = began_s + _PATIENCE * lasts_s
                self._until(
                    lambda: (
                        self.now_s >= began_s + lasts_s
                        and (self._answers(began_s) >= answers or self.now_s >= latest_s)
                    ),
                    name,
                    _PATIENCE * lasts_s + 60,
                )
            if noticed:
                self._until(
                    lambda: self._went_after(began_s), f"{name}: nothing noticed it", timeout_s
                )
            undone_s = self.now_s
            # The clients have to have seen it: what is due from now on decides.
            self._until(lambda: self._is_well(max(undone_s, began_s + _CALM_S)), name, timeout_s)
            return self._note(name, saved_by or {}, began_s, took_s)

    def calm(self) -> None:
        """Waits until the requests of a second were answered, all in time."""
        since_s = self.now_s
        self._until(lambda: self._is_well(since_s), "the beginning", 60)

    def table(self) -> Any:
        """What was broken: a row for each fault."""
        return table(self.faults)

    def _note(self, name: str, saved_by: Mapping[str, str], began_s: float, took_s: float) -> Fault:
        ended_s, flows = self.now_s, self.flows
        meanwhile = {client: flow.between(began_s, ended_s) for client, flow in flows.items()}
        down = [m.at_s for m in self.moments if m.at_s >= began_s and m.ready != self._wanted]
        why: dict[str, int] = {}
        for flow in meanwhile.values():
            for code, count in flow.failures.items():
                why[code] = why.get(code, 0) + count
        ends = {client: flow.disturbed_until_s(SLOW_S) for client, flow in meanwhile.items()}
        fault = Fault(
            name=name,
            saved_by=saved_by,
            began_s=began_s,
            ended_s=ended_s,
            took_s=took_s,
            requests={client: flow.requests for client, flow in meanwhile.items()},
            lost={client: flow.lost for client, flow in meanwhile.items()},
            p90_ms={client: flow.quantile_ms(0.9) for client, flow in meanwhile.items()},
            disturbed_s={c: max(end - began_s, 0.0) if end else 0.0 for c, end in ends.items()},
            ready_s=max(down) - began_s + _LOOK_S if down else 0.0,
            unready_s=min(down) - began_s if down else None,
            why=why,
        )
        self.faults.append(fault)
        return fault

    def _answers(self, since_s: float) -> int:
        """How many requests that were due since then have ended, of the client with the fewest."""
        return min(flow.between(since_s, self.now_s).requests for flow in self.flows.values())

    def _went_after(self, began_s: float) -> bool:
        return any(m.at_s >= began_s and m.ready != self._wanted for m in self.moments)

    def _is_well(self, since_s: float) -> bool:
        """All replicas ready, and each client's newest requests answered in time."""
        if not self.moments or self.moments[-1].ready != self._wanted:
            return False
        if self.moments[-1].at_s < since_s or self.moments[-1].all != self._wanted:
            return False
        needed = max(2, int(_CALM_S * self._rate_per_s))
        for flow in self.flows.values():
            recent = flow.records[flow.records["due_s"] >= since_s][-needed:]
            took = recent["done_s"] - recent["due_s"]
            if len(recent) < needed or recent["code"].any() or (took > SLOW_S).any():
                return False
        return True

    def _until(self, true: Callable[[], bool], what: str, timeout_s: float) -> None:
        start = time.monotonic()
        while not true():
            waited_s = time.monotonic() - start
            self._say(f"waiting for the clients and replicas, {waited_s:.0f} s")
            if waited_s > timeout_s:
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
            ready, restarts = sum(p.ready for p in pods), sum(p.restarts for p in pods)
            self.moments.append(Moment(at_s, ready, len(pods), restarts))
            known = self._tell(pods, known)

    def _tell(self, pods: Pods, known: list[str]) -> list[str]:
        """Gives the clients that balance by themselves the addresses that there are now.

        All that aren't going, ready or not. gRPC's resolver asks DNS again only when a connection
        breaks, so a client that is connected doesn't learn that a replica is no longer ready.
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
