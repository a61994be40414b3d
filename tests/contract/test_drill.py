"""Drills and their clients: that they end, and that what was broken is mended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace as Stub
from typing import Any, cast

import numpy as np
import psutil
import pytest

from helpers import photos, settings
from helpers.client import Classifier, Resilience
from helpers.clusters import Cluster
from helpers.errors import DeadlineError, LoadError
from helpers.faults import Drill, Wire, share_of_capacity, wire
from helpers.load import traffic
from helpers.load.faulty_server import faulty_server

PUPPY = photos.load("puppy")
# A process that starts a client or a network, says which process that is, and waits to be killed.
STARTS = {
    "a client": "traffic.start({address!r}, [photos.load('puppy')], rate_per_s=5)",
    "a network": "Wire([{address!r}])",
}
STARTER = """
import signal
from helpers import photos
from helpers.load import traffic
from helpers.faults import Wire
started = {what}
print(started._child._process.pid, flush=True)
signal.pause()
"""


def of_one(address: str) -> Cluster:
    """As much of a cluster as a drill looks at: one replica, always ready."""
    pod = Stub(name="inception-0", address=address, ready=True, status="Running", restarts=0)
    return cast("Cluster", Stub(pods=lambda: [pod], load_balancer=address))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with faulty_server() as address:
        yield of_one(address)


def drill(cluster: Cluster) -> Drill:
    return Drill(cluster, {"only": Resilience()}, rate_per_s=20)


def clients() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "helpers.load.traffic" in child.cmdline()
    ]


def test_a_drill_goes_on_from_cell_to_cell_until_it_is_stopped(cluster: Cluster) -> None:
    running = drill(cluster).start()
    try:
        before = running.flows["only"].requests
        running.fault("nothing at all", lambda: None)
        assert len(clients()) == 1
    finally:
        running.stop()
    assert clients() == []
    assert running.flows["only"].requests > before > 0


def test_a_drill_may_be_stopped_twice(cluster: Cluster) -> None:
    with drill(cluster) as running:
        running.stop()
        requests = running.flows["only"].requests
    assert running.flows["only"].requests == requests


def test_what_is_broken_while_it_is_entered_is_left_again(cluster: Cluster) -> None:
    happened = []

    @contextmanager
    def broken() -> Iterator[None]:
        happened.append("entered")
        yield
        happened.append("left")

    with drill(cluster) as running:
        running.fault("a fault", broken(), lasts_s=0.1)
    assert happened == ["entered", "left"]


def test_a_fault_lasts_until_each_client_has_its_answers(cluster: Cluster) -> None:
    with drill(cluster) as running:
        few = running.fault("a fault", lambda: None, lasts_s=0.1)
        enough = running.fault("a fault", lambda: None, lasts_s=1.0, answers=50)
        bounded = running.fault("a fault", lambda: None, lasts_s=0.2, answers=1_000_000)
    assert enough.requests["only"] >= 50
    assert few.requests["only"] < 50
    assert bounded.requests["only"] < 1000


def test_how_long_an_action_took_is_told_from_how_long_it_was_watched(cluster: Cluster) -> None:
    waits = threading.Event()
    with drill(cluster) as running:
        quick = running.fault("at once", lambda: None, lasts_s=0.5)
        slow = running.fault("half a second", lambda: waits.wait(0.5))
    assert quick.took_s < 0.5 <= slow.took_s
    assert quick.ended_s - quick.began_s >= 0.5


def test_a_rate_is_a_share_of_what_the_replicas_can_do() -> None:
    with faulty_server(service_s=0.1) as address:
        one = of_one(address)
        one.addresses = lambda: [address]  # type: ignore[method-assign]
        found = share_of_capacity(one, share=0.01, most_per_s=1000, seconds=0.5)
        assert share_of_capacity(one, share=1.0, most_per_s=7.0, seconds=0.5) == 7.0
    # Sixteen in flight, a tenth of a second each; a window of half a second that begins just
    # before an answer holds the end of one round more than the five that fit into it.
    assert 0 < found <= 0.01 * 16 * 6 / 0.5


def test_a_fault_that_cant_be_brought_about_is_undone(cluster: Cluster) -> None:
    undone: list[Any] = []
    with drill(cluster) as running, pytest.raises(ZeroDivisionError):
        running.fault("a fault", lambda: 1 / 0, undo=lambda: undone.append(True))
    assert undone == [True]


@pytest.mark.parametrize("what", STARTS)
def test_what_was_started_ends_with_the_process_that_started_it(
    cluster: Cluster, what: str
) -> None:
    source = STARTER.format(what=STARTS[what].format(address=cluster.load_balancer))
    command = [sys.executable, "-c", source]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=settings.ROOT) as starter:
        assert starter.stdout is not None
        child = psutil.Process(int(starter.stdout.readline()))
        starter.kill()  # it has no time to end anything
    child.wait(timeout=60)


@pytest.mark.parametrize(("seed", "spread"), [(None, 0.0), (1, 1.0)])
def test_arrivals_are_even_or_those_of_independent_users(
    cluster: Cluster, seed: int | None, spread: float
) -> None:
    with traffic.start(
        cluster.load_balancer, [PUPPY], rate_per_s=500, poisson_seed=seed
    ) as running:
        running.wait(lambda flow: flow.requests >= 400)
    due = np.sort(running.flow.records["due_s"])
    gaps = np.diff(due)
    assert gaps.mean() == pytest.approx(1 / 500, rel=0.15)  # three standard errors of 400
    assert gaps.std() / gaps.mean() == pytest.approx(spread, abs=0.15)


def test_the_last_words_of_a_client_outlive_its_files(cluster: Cluster) -> None:
    with traffic.start(cluster.load_balancer, [PUPPY], rate_per_s=50) as running:
        running.wait(lambda flow: flow.requests > 0)
        os.write(running._child._errors.fileno(), b"first\nlast words\n")
        running.stop()
        with pytest.raises(LoadError, match="it ended: last words"):
            running.wait(lambda flow: False)


def test_hedges_are_counted_over_all_addresses_that_there_were() -> None:
    resilience = Resilience(deadline_s=60, hedge_after_s=0.02, budget=1.0)
    with (
        faulty_server(service_s=0.2) as slow,
        faulty_server() as quick,
        traffic.start(slow, [PUPPY], rate_per_s=50, resilience=resilience) as running,
    ):
        running.wait(lambda flow: flow.requests > 0)
        for _ in range(2):  # the news come faster than the first addresses are given up
            running.follow([quick])
        answered = running.flow.requests
        running.wait(lambda flow: flow.requests > answered + 20)
    assert running.flow.hedges > 0


def test_news_of_addresses_cut_off_no_request_that_is_on_its_way() -> None:
    with (
        faulty_server(service_s=1.0) as slow,
        faulty_server() as quick,
        traffic.start(slow, [PUPPY], rate_per_s=50, resilience=Resilience()) as running,
    ):
        running.wait(lambda flow: flow.requests > 0)
        for address in (quick, slow, quick):
            seen = running.flow.requests
            running.follow([address])
            running.wait(lambda flow, seen=seen: flow.requests > seen)  # type: ignore[misc]
    assert running.flow.lost == 0


def test_a_network_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_START_S", 0.0)  # no process starts in no time
    with pytest.raises(LoadError, match="network failed: it did not answer"):
        Wire(["127.0.0.1:1"])


def test_a_network_that_cant_start_says_so() -> None:
    with pytest.raises(LoadError, match="network failed: it ended: ValueError"):
        Wire(["no address"])


def test_a_network_that_has_ended_obeys_no_more() -> None:
    with Wire(["127.0.0.1:1"]) as network:
        os.kill(network._child._process.pid, signal.SIGKILL)
        network._child._process.wait()
        for _ in range(2):
            with pytest.raises(LoadError, match="network failed: it ended"):
                network.set(cut=True)


def test_a_network_is_bad_only_while_it_is_entered() -> None:
    with (
        faulty_server() as address,
        Wire([address]) as network,
        Classifier(network.addresses, resilience=Resilience(deadline_s=60)) as patient,
    ):
        patient.classify([PUPPY])
        with network.bad(cut=True), pytest.raises(DeadlineError):
            patient.classify([PUPPY], timeout_s=0.5)
        assert patient.classify([PUPPY])[0].label == "golden retriever"
