"""Runs a serving image on this machine, and forgets none of its containers."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from python_on_whales import DockerException
from python_on_whales import exceptions as docker_exceptions

from helpers import settings
from helpers.closing import Closing
from helpers.container import engine
from helpers.container.images import IMAGE, MODEL_IMAGE, inspect
from helpers.errors import ContainerError, NotReadyError

LABEL = "inception-serving-tutorial"  # on all that we make, so that nothing is forgotten
NOBODY = "65532:65532"  # as in serving/Dockerfile and in the manifests
_TARGET = f"{settings.CONTAINER_MODELS}/{settings.MODEL_NAME}"


class ModelVolume(Closing):
    """A volume with the models of a model image, copied there as an init container does it.

    A context manager that removes it. `copied_s` says how long the copy took, in seconds.

    Args:
        image: built from `serving/model.Dockerfile`.
    """

    def __init__(self, image: str = MODEL_IMAGE) -> None:
        docker = engine.client()
        inspect(image)
        start = time.monotonic()
        with _failing(f"the models of {image} could not be copied"):
            self.volume: Any = docker.volume.create(labels={LABEL: "1"})
            # As root: an engine's new volume is root's. The pod of components/model-volume isn't.
            docker.run(
                image,
                ["sh", "-c", f"mkdir -p {_TARGET} && cp -r /model/. {_TARGET}/"],
                remove=True,
                user="0",
                labels={LABEL: "1"},
                networks=["none"],
                volumes=[(self.volume, settings.CONTAINER_MODELS)],
            )
        self.copied_s = time.monotonic() - start

    def close(self) -> None:
        """Removes it, once nothing uses it. May be called again."""
        with contextlib.suppress(docker_exceptions.NoSuchVolume):
            self.volume.remove()


class Container(Closing):
    """A running container of a serving image; a context manager that removes it.

    Args:
        name: of the image.
        args: server flags, added to the image's own.
        models: where the models come from when they aren't in the image: a folder of this
            machine, or a volume.
    """

    def __init__(
        self,
        name: str = IMAGE,
        *,
        args: tuple[str, ...] = (),
        models: Path | ModelVolume | None = None,
    ) -> None:
        self.image = inspect(name)
        flags = [
            *("--port=8500", "--rest_api_port=8501", f"--model_name={settings.MODEL_NAME}"),
            *(f"--model_base_path={_TARGET}", *args),
        ]
        mounts: list[Any] = [(settings.SERVING, settings.CONTAINER_CONFIG, "ro")]
        if models is not None:
            source = models.volume if isinstance(models, ModelVolume) else models.resolve()
            mounts.append((source, settings.CONTAINER_MODELS, "ro"))
        self._start = time.monotonic()
        with _failing(f"{name} could not be started"):
            self._container: Any = engine.client().run(
                name,
                flags,
                # The same for every image: the server itself, as nobody in particular.
                entrypoint="tensorflow_model_server",
                user=NOBODY,
                detach=True,
                init=True,  # process 1 hands SIGTERM on; see the Dockerfile
                cap_drop=["ALL"],
                security_options=["no-new-privileges"],
                read_only=True,
                tmpfs=["/tmp"],  # noqa: S108  the container's own
                labels={LABEL: "1"},
                publish=[("127.0.0.1::8500",), ("127.0.0.1::8501",)],
                volumes=mounts,
            )

    @property
    def address(self) -> str:
        """`host:port` of its gRPC service on this machine."""
        return self._published(settings.GRPC_PORT)

    @property
    def rest_address(self) -> str:
        """`host:port` of its REST service on this machine."""
        return self._published(settings.REST_PORT)

    @property
    def logs(self) -> str:
        """What it has written so far."""
        return str(self._container.logs())

    @property
    def health(self) -> str:
        """What the image's own health check says: `starting`, `healthy` or `unhealthy`."""
        self._container.reload()
        health = self._container.state.health
        return str(health.status) if health else "without a health check"

    def wait_until_ready(self, timeout_s: float = 180, *, version: int | None = None) -> float:
        """Waits until the model is served.

        Args:
            timeout_s: the longest wait in seconds.
            version: of the model; None for any.

        Returns:
            Seconds since the container was started.

        Raises:
            NotReadyError: it wasn't in time, or the container ended; with its last words.
        """
        deadline = time.monotonic() + timeout_s
        while not self._serves(version):
            with _failing(f"a container of {self.image.name} is gone"):
                self._container.reload()
            state = self._container.state
            if not state.running or time.monotonic() > deadline:
                how = "not ready" if state.running else f"exited with code {state.exit_code}"
                raise NotReadyError(
                    f"a container of {self.image.name} is {how}",
                    cause=" / ".join(self.logs.strip().splitlines()[-3:]),
                    next_step="Its whole log is in `.logs`. A model that is missing from the image "
                    "is the usual reason: see the layers of `inspect()`.",
                )
            time.sleep(0.1)
        return time.monotonic() - self._start

    def stop(self) -> float:
        """Asks it to end, as `docker stop` does; returns after how many seconds it had."""
        start = time.monotonic()
        with _failing(f"a container of {self.image.name} could not be stopped"):
            self._container.stop(time=30)
        return time.monotonic() - start

    def close(self) -> None:
        """Stops and removes it. May be called again."""
        with contextlib.suppress(docker_exceptions.NoSuchContainer):
            self._container.remove(force=True, volumes=True)

    def _serves(self, version: int | None) -> bool:
        """Whether the server says AVAILABLE: its 200 alone may be of a version that failed."""
        try:
            url = f"http://{self.rest_address}/v1/models/{settings.MODEL_NAME}"
            with urlopen(url, timeout=2) as answer:
                found = json.load(answer)["model_version_status"]
        except (OSError, ValueError, KeyError, HTTPException, ContainerError):
            return False
        return any(
            entry["state"] == "AVAILABLE" and version in (None, int(entry["version"]))
            for entry in found
        )

    def _published(self, port: int) -> str:
        self._container.reload()
        ports = self._container.network_settings.ports or {}
        bindings = ports.get(f"{port}/tcp")
        if not bindings:
            raise ContainerError(
                f"a container of {self.image.name} has no port {port}",
                cause=f"its state is {self._container.state.status}",
                next_step="Read its `.logs`.",
            )
        return f"127.0.0.1:{bindings[0]['HostPort']}"


def leftovers() -> list[str]:
    """Containers and volumes that this project made and that are still there, a line each."""
    docker = engine.client()
    found = docker.container.list(all=True, filters=[("label", LABEL)])
    containers = [f"container {c.name} of {c.config.image} ({c.state.status})" for c in found]
    return containers + [f"volume {v.name}" for v in docker.volume.list([("label", LABEL)])]


def remove_leftovers() -> None:
    """Removes them."""
    docker = engine.client()
    for container in docker.container.list(all=True, filters=[("label", LABEL)]):
        container.remove(force=True, volumes=True)
    for volume in docker.volume.list([("label", LABEL)]):
        volume.remove()


@contextlib.contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except DockerException as error:
        raise ContainerError(
            what,
            cause=engine.words(error),
            next_step="Read the engine's words above; `docker ps -a` lists what is there.",
        ) from error
