"""Runs a serving image on this machine, and forgets none of its containers."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import Any

from python_on_whales import DockerException
from python_on_whales import exceptions as docker_exceptions

from helpers import settings
from helpers.container import engine
from helpers.container.images import IMAGE, inspect
from helpers.errors import ContainerError, NotReadyError

LABEL = "inception-serving-tutorial"  # on every container that we start, so that none is forgotten


class Container:
    """A running container of a serving image; a context manager that removes it.

    Args:
        name: of the image.
        args: server flags, added to the image's own.
    """

    def __init__(self, name: str = IMAGE, *, args: tuple[str, ...] = ()) -> None:
        self.image = inspect(name)
        docker = engine.client()
        flags = [
            *("--port=8500", "--rest_api_port=8501", f"--model_name={settings.MODEL_NAME}"),
            *(f"--model_base_path={settings.CONTAINER_MODELS}/{settings.MODEL_NAME}", *args),
        ]
        try:
            self._container: Any = docker.run(
                name,
                flags if args else [],
                detach=True,
                init=True,  # process 1 hands SIGTERM on; see the Dockerfile
                cap_drop=["ALL"],
                read_only=True,
                tmpfs=["/tmp"],  # noqa: S108  the container's own
                labels={LABEL: "1"},
                publish=[("127.0.0.1::8500",), ("127.0.0.1::8501",)],
                volumes=[(settings.SERVING, settings.CONTAINER_CONFIG, "ro")],
            )
        except DockerException as error:
            raise ContainerError(
                f"{name} could not be started",
                cause=engine.words(error),
                next_step="Read the engine's words above; `docker ps -a` lists what is there.",
            ) from error

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

    def wait_until_ready(self, timeout_s: float = 180) -> None:
        """Waits for the image's own health check to succeed.

        Raises:
            NotReadyError: it didn't in time, or the container ended; with its last words.
        """
        deadline = time.monotonic() + timeout_s
        while (state := self._state()) != "healthy":
            if state not in ("starting", "unhealthy") or time.monotonic() > deadline:
                raise NotReadyError(
                    f"a container of {self.image.name} is {state}, not healthy",
                    cause=" / ".join(self.logs.strip().splitlines()[-3:]),
                    next_step="Its whole log is in `.logs`. A model that is missing from the image "
                    "is the usual reason: see the layers of `inspect()`.",
                )
            time.sleep(0.2)

    def close(self) -> None:
        """Stops and removes it. May be called again."""
        with contextlib.suppress(docker_exceptions.NoSuchContainer):
            self._container.remove(force=True, volumes=True)

    def __enter__(self) -> Container:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _state(self) -> str:
        self._container.reload()
        state = self._container.state
        if not state.running:
            return f"exited with code {state.exit_code}"
        return str(state.health.status) if state.health else "without a health check"

    def _published(self, port: int) -> str:
        self._container.reload()
        ports = self._container.network_settings.ports or {}
        bindings = ports.get(f"{port}/tcp")
        if not bindings:
            raise ContainerError(
                f"a container of {self.image.name} has no port {port}",
                cause=f"it {self._state()}",
                next_step="Read its `.logs`.",
            )
        return f"127.0.0.1:{bindings[0]['HostPort']}"


def leftovers() -> list[str]:
    """Containers that this project started and that are still there, a line each."""
    docker = engine.client()
    found = docker.container.list(all=True, filters={"label": LABEL})
    return [f"container {c.name} of {c.config.image} ({c.state.status})" for c in found]


def remove_leftovers() -> None:
    """Removes them."""
    docker = engine.client()
    for container in docker.container.list(all=True, filters={"label": LABEL}):
        container.remove(force=True, volumes=True)
