"""The highest rate under an objective is found, and said not to be there where it isn't.

One worker that takes 10 ms a request, by its own clock: nothing can go faster than 100 a second,
and below that a Poisson stream waits as queueing theory says. The 90th percentile stands for the
99th, since it needs a tenth of the requests to be judged.
"""

import socket
from typing import Any

import numpy as np
import pytest

from helpers import load, stats
from helpers.errors import LoadError, ServerUnavailableError
from helpers.load import search
from helpers.load.faulty_server import faulty_server
from helpers.load.search import _rates

PHOTOS = [b"\xff\xd8" + bytes([i]) * 1000 for i in range(3)]
QUICK: dict[str, Any] = {"q": 0.9, "seconds": 0.6, "warmup_s": 0.2, "expected_per_s": 100}


def probe(rate: float, *, meets: bool | None) -> load.Probe:
    return load.Probe(rate, meets, 0, 0, (), "")


def tried(limit_per_s: float, *, expected_per_s: float) -> list[load.Probe]:
    """The rates that are tried when a server meets its objective up to a limit."""
    probes: list[load.Probe] = []
    for rate in _rates(probes, expected_per_s, 0.1):
        probes.append(probe(rate, meets=rate <= limit_per_s))
    return probes


@pytest.mark.parametrize("limit", [20.0, 69.0, 95.0, 180.0])
def test_the_search_closes_in_on_the_limit_from_both_sides(limit: float) -> None:
    probes = tried(limit, expected_per_s=100)
    met = max(p.rate_per_s for p in probes if p.meets)
    missed = min(p.rate_per_s for p in probes if not p.meets)
    assert met <= limit < missed <= 1.1 * met


def test_the_search_ends_after_as_many_rates_as_it_may_try() -> None:
    with faulty_server(service_s=0.01, workers=1) as address:
        found = load.highest_rate(address, PHOTOS, objective_ms=100, most_probes=2, **QUICK)
    assert len(found.probes) == 2


def test_the_search_gives_up_where_load_is_not_the_reason() -> None:
    assert min(p.rate_per_s for p in tried(0, expected_per_s=100)) >= 10


def test_the_rate_found_is_below_what_the_server_can_do() -> None:
    with faulty_server(service_s=0.01, workers=1) as address:
        found = load.highest_rate(
            address, PHOTOS, objective_ms=100, tolerance=0.3, **QUICK | {"seconds": 1.5}
        )
    assert found.rate_per_s is not None
    assert found.refused_per_s is not None
    # From 100 a second on the queue grows without end. At 112 it is 100 ms long after 0.9 s, so
    # that two of five requests miss. A slow machine can only move the rate down.
    assert found.rate_per_s < 112
    assert found.rate_per_s < found.refused_per_s


def test_what_was_tried_is_kept_with_its_verdict() -> None:
    with faulty_server(service_s=0.01, workers=1) as address:
        found = load.highest_rate(address, PHOTOS, objective_ms=100, tolerance=2, **QUICK)
    noted = {run.settings["meets"] for p in found.probes for run in p.runs}
    assert noted == {p.meets for p in found.probes}
    assert {run.settings["objective_ms"] for p in found.probes for run in p.runs} == {100}


def test_an_objective_that_cannot_be_met_is_a_result_that_says_so() -> None:
    with faulty_server(service_s=0.05) as address:
        found = load.highest_rate(address, PHOTOS, objective_ms=20, **QUICK)
    assert found.rate_per_s is None
    assert str(found).startswith("no rate met p90 under 20 ms: at ")
    assert "took longer than 20 ms" in str(found)


def test_a_server_that_fails_everything_meets_no_objective() -> None:
    with faulty_server(fail_every=1, code="RESOURCE_EXHAUSTED") as address:
        found = load.highest_rate(address, PHOTOS, objective_ms=1000, **QUICK)
    assert found.rate_per_s is None
    assert len(found.probes) == 1
    assert "or failed (RESOURCE_EXHAUSTED)" in str(found)


def test_a_generator_that_is_the_bottleneck_gives_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late(*_: object, rate_per_s: float, duration_s: float, **__: object) -> load.Run:
        records = np.zeros(int(rate_per_s * duration_s), stats.RECORD)
        records["due_s"] = np.linspace(0, duration_s, len(records), endpoint=False)
        records["sent_s"] = records["due_s"] + 1
        records["done_s"] = records["sent_s"] + 0.001
        asked = {"scenario": "server", "concurrency": None, "planned": len(records)}
        return load.Run(asked, records, duration_s, (load.Generator(0.1, duration_s, 1),), {})

    monkeypatch.setattr(search, "open_loop", late)
    found = load.highest_rate("", PHOTOS, objective_ms=100, **QUICK)
    assert {p.meets for p in found.probes} == {None}
    assert "was sent over 1e+03 ms late" in found.probes[0].why


def test_a_server_that_is_gone_is_an_error() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{holder.getsockname()[1]}"
        with pytest.raises(ServerUnavailableError, match="Connection refused"):
            load.highest_rate(dead, PHOTOS, objective_ms=100, **QUICK)


@pytest.mark.parametrize(
    "wrong", [{"objective_ms": 0}, {"q": 1.0}, {"q": 0}, {"expected_per_s": 0}], ids=str
)
def test_a_search_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(LoadError, match="can't be searched"):
        load.highest_rate("127.0.0.1:1", PHOTOS, **{"objective_ms": 1} | QUICK | wrong)
