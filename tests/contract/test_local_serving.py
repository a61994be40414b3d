"""The base manifest on the `local` target with the embedded server: what the notebooks do.

The network is the light one; nothing here is about Inception itself.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import photos, settings
from helpers.client import Classifier
from helpers.clusters import connect
from helpers.clusters.local import LocalCluster
from helpers.errors import NotReadyError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models() -> Path:
    from helpers import export  # TensorFlow, so not while tests are collected

    models = settings.BUILD / "test-models" / "light"  # kept: the next run exports nothing
    export.export(models, network="light", weights="random")
    return models


@pytest.fixture(scope="module")
def cluster(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TENSORFLOW_MODEL_SERVER", raising=False)
        with connect("local", models=models, logs=tmp_path_factory.mktemp("logs")) as cluster:
            # The base, except that a test doesn't wait 5 s for a replica that goes.
            manifest = (settings.MANIFESTS / "base" / "deployment.yaml").read_text()
            quick = tmp_path_factory.mktemp("manifests") / "deployment.yaml"
            quick.write_text(manifest.replace("seconds: 5", "seconds: 1"))
            cluster.apply(quick)
            cluster.wait_until_ready(120)
            yield cluster


@pytest.fixture(scope="module")
def photo() -> photos.Photo:
    return photos.load("puppy")


def difference(cluster: LocalCluster, before: dict[str, int]) -> list[int]:
    return sorted(count - before[pod] for pod, count in cluster.request_counts().items())


def test_a_photo_is_classified_through_the_load_balancer(
    cluster: LocalCluster, photo: photos.Photo
) -> None:
    with Classifier(cluster.load_balancer) as classifier:
        (prediction,) = classifier.classify([photo])
    assert len(prediction.labels) == settings.TOP_K


def test_one_channel_stays_with_one_replica(cluster: LocalCluster, photo: photos.Photo) -> None:
    before = cluster.request_counts()
    with Classifier(cluster.load_balancer) as classifier:
        for _ in range(8):
            classifier.classify([photo])
    assert difference(cluster, before) == [0, 8]


def test_round_robin_over_the_replicas_shares_the_requests(
    cluster: LocalCluster, photo: photos.Photo
) -> None:
    before = cluster.request_counts()
    with Classifier(cluster.addresses(), balancing="round_robin") as classifier:
        for _ in range(8):
            classifier.classify([photo])
    # The first request may go out when only one of the two connections is there.
    assert difference(cluster, before) in ([4, 4], [3, 5])


def test_nobody_notices_that_a_replica_goes(cluster: LocalCluster, photo: photos.Photo) -> None:
    """Requests by a client as it comes, while one of two replicas is scaled away."""
    stop, answered, failures = threading.Event(), [0] * 4, []

    def ask(worker: int) -> None:
        with Classifier(cluster.load_balancer) as classifier:
            while not stop.is_set():
                try:
                    classifier.classify([photo])
                    answered[worker] += 1
                except Exception as error:
                    failures.append(error)

    workers = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    try:
        cluster.scale(1)
        cluster.wait_until_ready(60)
        after = list(answered)
        while not all(now > then for now, then in zip(answered, after, strict=True)):
            assert not failures
            stop.wait(0.05)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert failures == []


def test_a_flag_that_doesnt_exist_is_named_with_the_near_miss(cluster: LocalCluster) -> None:
    cluster.apply(args=["--enable_batchin=true"])
    with pytest.raises(NotReadyError, match=r"(?s)--enable_batchin.*--enable_batching"):
        cluster.wait_until_ready(120)
