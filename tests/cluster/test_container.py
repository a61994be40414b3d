"""The serving image: built, looked into, run, and served from with the model inside and outside.

With a real Docker engine and the light network, on the embedded server's image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from notebook_runs import shown
from python_on_whales import docker

from helpers import container, photos, settings
from helpers.book import lessons, runner
from helpers.client import Classifier
from helpers.clusters import connect
from helpers.errors import ContainerError, ExportError, NotReadyError, SetupError
from helpers.export import export

SERVER, BASE = "inception-model-server:1", "localhost/tutorial-python:latest"
MODELS = settings.MODELS_LIGHT


@pytest.fixture(scope="module", autouse=True)
def exported() -> None:
    """As `images` exports it; notebook 14 may have removed it since."""
    export(MODELS, network="light")


def silent(line: str) -> None:
    del line


@pytest.fixture(scope="module")
def image() -> container.Image:
    return container.build(MODELS, serving_image=SERVER, progress=silent)


@pytest.fixture(scope="module")
def model_image() -> Iterator[str]:
    """The model alone; under a name of its own, since the cluster's nodes have the other."""
    name = "test-model:1"
    container.build(
        MODELS,
        name=name,
        dockerfile=container.MODEL_DOCKERFILE,
        progress=silent,
        COPY_IMAGE=BASE,
    )
    yield name
    container.remove_images(name)


@pytest.fixture(scope="module")
def running(image: container.Image) -> Iterator[container.Container]:
    with container.Container(image.name) as running:
        running.wait_until_ready()
        yield running
    assert container.leftovers() == []


def answers(address: str) -> list[tuple[str, ...]]:
    with Classifier(address) as classifier:
        return [a.labels for a in classifier.classify(photos.samples()[:3], timeout_s=30)]


def test_the_engines_steps_are_handed_on_as_they_come() -> None:
    lines: list[str] = []
    container.build(MODELS, serving_image=SERVER, progress=lines.append)
    assert any("COPY inception/${VERSION}" in line for line in lines)


def test_building_twice_gives_the_same_image(image: container.Image) -> None:
    assert container.build(MODELS, serving_image=SERVER, progress=silent).id == image.id


def test_the_model_is_one_layer_and_nothing_else_is_added(image: container.Image) -> None:
    base = container.inspect(SERVER)
    added = image.layers[len(base.layers) :]
    on_disk = sum(f.stat().st_size for f in (MODELS / "inception" / "1").rglob("*") if f.is_file())
    assert [layer.size_bytes for layer in added] == [on_disk]
    assert "/models/inception/1" in added[0].made_by


def test_the_image_runs_as_nobody_in_particular(image: container.Image) -> None:
    assert image.user == "65532:65532"


def test_the_labels_say_what_it_is_and_which_commit_it_is_from(image: container.Image) -> None:
    prefix = "org.opencontainers.image."
    found = {key.removeprefix(prefix): value for key, value in image.labels.items()}
    assert set(found) == {"title", "description", "licenses", "version", "revision"}
    assert (found["title"], found["version"]) == ("inception-serving", "1")


def test_it_answers_as_the_local_target_does(running: container.Container) -> None:
    with connect("local", models=MODELS) as local:
        local.apply(replicas=1)
        local.wait_until_ready(timeout_s=60)
        assert answers(running.address) == answers(local.load_balancer)


def test_its_health_check_succeeds_once_the_model_is_served(running: container.Container) -> None:
    from helpers.lab import wait_until

    assert wait_until(
        lambda: running.health == "healthy", what="the engine's next check", timeout_s=30
    )


def test_the_process_has_no_rights_and_can_write_nowhere(running: container.Container) -> None:
    inside = running._container
    assert inside.execute(["id", "-u"]) == "65532"
    assert inside.execute(["sh", "-c", "touch /models/x 2>&1; touch /tmp/x"]).endswith(
        "Read-only file system"
    )
    assert "CapEff:\t0000000000000000" in inside.execute(["cat", "/proc/1/status"])


def test_sigterm_ends_it_before_anybody_kills_it(image: container.Image) -> None:
    with container.Container(image.name) as running:
        running.wait_until_ready()
        running.stop()
        running._container.reload()
        assert running._container.state.exit_code != 137  # of SIGKILL


def test_the_model_can_come_from_an_image_of_its_own(
    running: container.Container, model_image: str
) -> None:
    with container.ModelVolume(model_image) as volume:
        assert volume.copied_s > 0
        with container.Container(SERVER, models=volume) as other:
            other.wait_until_ready()
            assert answers(other.address) == answers(running.address)
    assert [line for line in container.leftovers() if volume.volume.name in line] == []


def test_the_model_can_come_from_a_folder(running: container.Container) -> None:
    with container.Container(SERVER, models=MODELS) as other:
        other.wait_until_ready()
        assert answers(other.address) == answers(running.address)


def test_the_servers_image_stands_in_for_tensorflow_servings() -> None:
    """By its environment variables and entry point, as in the official image's own tutorial."""
    with docker.run(
        SERVER,
        detach=True,
        envs={"MODEL_NAME": "inception"},
        volumes=[(MODELS, "/models", "ro")],
        publish=[("127.0.0.1::8500",)],
    ) as official:
        port = official.network_settings.ports["8500/tcp"][0]["HostPort"]
        with Classifier(f"127.0.0.1:{port}") as classifier:
            classifier.wait_until_ready(60)
            assert classifier.status()[0].version == 1
    official.remove(force=True)


def test_an_image_without_its_model_is_reported_with_the_servers_words() -> None:
    said = r"is not ready: .*/models/inception.*\.logs"
    with container.Container(SERVER) as running, pytest.raises(NotReadyError, match=said):
        running.wait_until_ready(10)


def test_a_wrong_flag_ends_the_container_and_is_quoted(image: container.Image) -> None:
    wrong = container.Container(image.name, args=("--no_such_flag=1",))
    with wrong, pytest.raises(NotReadyError, match=r"exited with code \d+: .*no_such_flag"):
        wrong.wait_until_ready(60)


def test_a_folder_without_a_model_is_refused_before_the_engine_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"has no model to put into an image.*Run notebook 01"):
        container.build(tmp_path)


def test_a_base_image_that_cant_be_fetched_is_named() -> None:
    with pytest.raises(ContainerError, match=r"localhost:1/nothing:1.*build\(…, serving_image=…\)"):
        container.build(MODELS, serving_image="localhost:1/nothing:1", progress=silent)


def test_an_image_that_was_never_built_is_named() -> None:
    with pytest.raises(ContainerError, match=r"there is no image nowhere:1.*notebook 03"):
        container.Container("nowhere:1")


def test_what_a_dead_notebook_left_is_listed_and_removed(image: container.Image) -> None:
    forgotten = container.Container(image.name)
    assert [line for line in container.leftovers() if forgotten._container.name in line]
    container.remove_leftovers()
    assert container.leftovers() == []


def test_without_an_engine_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert "Start Docker Desktop" in container.why_no_engine()
    with pytest.raises(SetupError, match="no Docker engine answers"):
        container.inspect(container.IMAGE)


def test_without_docker_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "there is no `docker` on PATH" in container.why_no_engine()


def test_notebook_03_builds_runs_and_compares(tmp_path: Path) -> None:
    (lesson,) = lessons.choose(lessons.find(), "03")
    outcome = runner.run(
        lesson,
        output=tmp_path / "03.ipynb",
        parameters={
            "NETWORK": "light",
            "MODELS": str(MODELS),
            "SERVING_IMAGE": SERVER,
            "COPY_IMAGE": BASE,
        },
    )
    assert outcome.error is None
    found = {name: item.value for name, item in outcome.published.items()}
    assert (found["engine"], found["same_image"], found["leftovers"]) == (True, True, [])
    assert found["server_mb"] > found["model_mb"] > 0
    assert set(found["ways"]) == {"baked in", "from its own image", "in a folder"}
    # A load, against a build, a start and a load.
    assert found["ways"]["in a folder"] < found["ways"]["baked in"]
    assert found["same_process"] is True
    node = lessons.read(tmp_path / "03.ipynb")
    assert "COPY" in shown(node, "docker-history")
    assert "Successfully loaded servable version" in shown(node, "docker-logs")
    assert "5 labels for the puppy" in shown(node, "ask")
    # SIGTERM was heard: nobody waited for SIGKILL.
    assert found["stop_s"] < 25
