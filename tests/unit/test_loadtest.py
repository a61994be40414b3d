"""What a load test says of the replicas, and the program of its Job."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from types import SimpleNamespace as Answer
from typing import cast

import numpy as np
import pytest
import yaml

from helpers import settings, stats
from helpers.clusters import Cluster, loadtest
from helpers.clusters.kubernetes import loadtest as inside
from helpers.clusters.kubernetes import rollout
from helpers.clusters.load_result import Result, difference
from helpers.errors import LoadError

SUMMARY = stats.Summary(
    duration_s=2.0,
    requests=20,
    successes=20,
    failures={},
    throughput_per_s=10.0,
    throughput_interval=stats.Interval(None, None),
    photos_per_request=1,
    histogram=stats.Histogram.of(np.linspace(0.01, 0.02, 20)),
    latency_from="due",
)


def test_one_busy_replica_has_all_the_requests() -> None:
    result = Result(SUMMARY, {"a": 40, "b": 0, "c": 0, "d": 0})
    assert (result.busiest_share, result.imbalance) == (1.0, 3.0)


def test_shares_are_of_all_requests() -> None:
    assert Result(SUMMARY, {"a": 30, "b": 10}).shares == {"a": 0.75, "b": 0.25}


def test_load_on_more_replicas_than_are_ready_is_refused() -> None:
    cluster = Answer(target="local", pods=lambda: [Answer(ready=True), Answer(ready=False)])
    with pytest.raises(LoadError, match=r"on 2 replicas: 1 are ready"):
        loadtest.run(cast("Cluster", cluster), only=2)


def test_even_replicas_are_near_their_mean() -> None:
    result = Result(SUMMARY, {"a": 9, "b": 10, "c": 11})
    assert result.imbalance == pytest.approx(0.1)


def test_without_a_request_there_is_no_share() -> None:
    assert (Result(SUMMARY, {}).busiest_share, Result(SUMMARY, {"a": 0}).imbalance) == (0.0, 0.0)


def test_a_result_shows_its_problems() -> None:
    assert "not valid: too busy" in repr(Result(SUMMARY, {"a": 1}, ("too busy",)))


def test_requests_are_those_since_before() -> None:
    assert difference({"a": 12, "b": 7}, {"a": 10}) == {"a": 2, "b": 7}


def test_a_restarted_server_counts_from_nothing() -> None:
    assert difference({"a": 3}, {"a": 10}) == {"a": 3}


def test_the_job_names_every_setting_of_its_program() -> None:
    """A generator that finds no such variable ends with a KeyError."""
    job = yaml.safe_load((inside.MANIFESTS / "job.yaml").read_text())
    named = {e["name"] for e in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    program = (inside.MANIFESTS / "generate.py").read_text()
    assert named == {name for name in named if f'environ["{name}"]' in program}
    assert program.count("os.environ[") == len(named) + 1  # the Job's controller gives the index


def test_the_image_of_the_job_has_every_package_that_its_program_imports() -> None:
    """It is the model server's: `serving/model-server.lock`."""
    lock = (settings.SERVING / "model-server.lock").read_text()
    locked = {normal(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    program = "import sys; from helpers import load, settings, stats; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=settings.ROOT, capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in done.stdout.split()} - {"helpers"}
    providers = importlib.metadata.packages_distributions()
    needed = {normal(name) for module in modules for name in providers.get(module, ())}
    assert "numpy" in needed
    assert needed - locked == set()


def normal(name: str) -> str:
    """A package's name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def waiting(reason: str) -> Answer:
    state = Answer(waiting=Answer(reason=reason), terminated=None)
    return Answer(status=Answer(container_statuses=[Answer(state=state)]))


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "ErrImageNeverPull"])
def test_a_generator_without_an_image_is_hopeless(reason: str) -> None:
    assert inside._waits_for(waiting(reason)) in rollout.STUCK


def test_a_generator_that_is_starting_is_not_hopeless() -> None:
    assert inside._waits_for(waiting("ContainerCreating")) not in rollout.STUCK
