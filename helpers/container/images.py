"""Builds images and says what an image is made of.

The serving image is built from `serving/Dockerfile`; the folder of models is its context, so that
nothing else is sent to the engine.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from python_on_whales import DockerException
from python_on_whales import exceptions as docker_exceptions

from helpers import machine, settings
from helpers.container import engine
from helpers.errors import ContainerError, ExportError

DOCKERFILE = settings.SERVING / "Dockerfile"
MODEL_DOCKERFILE = settings.SERVING / "model.Dockerfile"
SERVER_DOCKERFILE = settings.SERVING / "model-server.Dockerfile"
IMAGE = "inception-serving:1"
SERVER_IMAGE = "inception-model-server:1"
MODEL_IMAGE = "inception-model:1"
_HISTORY = '{"made_by": {{json .CreatedBy}}, "size": {{json .Size}}}'
_UNREACHABLE = ("no such host", "i/o timeout", "failed to resolve", "lookup", "dial tcp")


@dataclass(frozen=True)
class Layer:
    """One step of an image.

    Args:
        made_by: the Dockerfile's instruction.
        size_bytes: what it adds.
    """

    made_by: str
    size_bytes: int


@dataclass(frozen=True)
class Image:
    """A built image.

    Args:
        name: with its tag.
        id: the digest of its content.
        size_bytes: unpacked, all layers together.
        layers: from the first (the base image's) to the last; empty steps are left out.
    """

    name: str
    id: str
    size_bytes: int
    layers: tuple[Layer, ...]
    user: str
    labels: dict[str, str]

    def __repr__(self) -> str:
        lines = [f"{self.name}: {self.size_bytes / 1e6:,.0f} MB, user {self.user or 'root'}"]
        lines += [f"{layer.size_bytes / 1e6:9,.1f} MB  {layer.made_by}" for layer in self.layers]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align: right'>{layer.size_bytes / 1e6:,.1f} MB</td>"
            f"<td style='text-align: left'><code>{escape(layer.made_by)}</code></td></tr>"
            for layer in self.layers
        )
        return (
            f"<table><caption>{escape(self.name)}: {self.size_bytes / 1e6:,.0f} MB, user "
            f"{escape(self.user or 'root')}</caption><thead><tr><th>size</th><th>made by</th></tr>"
            f"</thead><tbody>{rows}</tbody></table>"
        )


def build(
    models: Path,
    *,
    name: str = IMAGE,
    serving_image: str | None = None,
    dockerfile: Path = DOCKERFILE,
    progress: Callable[[str], None] = print,
    **arguments: str,
) -> Image:
    """Builds an image with the models of a folder in it.

    Args:
        models: the folder that holds `inception/VERSION`.
        name: of the image, with its tag.
        serving_image: the image to build on; None for the Dockerfile's own choice.
        dockerfile: what to build: `serving/Dockerfile`, or `serving/model.Dockerfile` for the
            models alone.
        progress: is given the engine's lines as they come.
        arguments: for the Dockerfile's other ARGs.

    Raises:
        SetupError: there is no Docker CLI, or no engine answers.
        ExportError: the folder has no model.
        ContainerError: the build failed; the engine's last words are its cause.
    """
    engine.client()
    if not any((models / settings.MODEL_NAME).glob("[0-9]*/saved_model.pb")):
        raise ExportError(
            f"{models} has no model to put into an image",
            cause=f"{settings.MODEL_NAME}/1/saved_model.pb isn't there",
            next_step="Run notebook 01, which exports one.",
        )
    given = {"SERVING_IMAGE": serving_image} if serving_image else {}
    given |= (
        {}
        if dockerfile == MODEL_DOCKERFILE
        else {"REVISION": machine.git("rev-parse", "--short", "HEAD") or "unknown"}
    )
    _build(dockerfile, models, name, given | arguments, progress)
    return inspect(name)


def base_image(*, progress: Callable[[str], None] = print) -> str:
    """The image to build on: TensorFlow Serving's own, or the embedded server's on ARM.

    The official image exists for x86 only. Elsewhere the embedded server's is built from
    `serving/model-server.Dockerfile`, unless it is there already.

    Raises:
        SetupError: there is no Docker CLI, or no engine answers.
        ContainerError: the build failed.
    """
    docker = engine.client()
    official = re.search(r"^ARG SERVING_IMAGE=(\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    if official and docker.system.info().architecture in ("x86_64", "amd64"):
        return official[1]
    if not docker.image.exists(SERVER_IMAGE):
        _build(SERVER_DOCKERFILE, settings.ROOT, SERVER_IMAGE, {}, progress)
    return SERVER_IMAGE


def inspect(name: str) -> Image:
    """What an image is made of.

    Raises:
        SetupError: there is no Docker CLI, or no engine answers.
        ContainerError: there is no such image.
    """
    docker = engine.client()
    try:
        found = docker.image.inspect(name)
    except docker_exceptions.NoSuchImage as error:
        raise ContainerError(
            f"there is no image {name}",
            cause=engine.words(error),
            next_step="Build it: notebook 03 does.",
        ) from error
    history = subprocess.run(
        [
            *docker.client_config.docker_cmd,
            "history",
            "--no-trunc",
            "--human=false",
            "--format",
            _HISTORY,
            name,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    steps = [json.loads(line) for line in history.stdout.splitlines()]
    layers = [Layer(_instruction(step["made_by"]), int(step["size"])) for step in reversed(steps)]
    return Image(
        name=name,
        id=found.id,
        size_bytes=int(found.size),
        layers=tuple(layer for layer in layers if layer.size_bytes),
        user=(found.config.user or "") if found.config else "",
        labels=dict((found.config.labels or {}) if found.config else {}),
    )


def remove_images(*names: str) -> None:
    """Removes images of this machine; one that isn't there is no error."""
    docker = engine.client()
    for name in names:
        with contextlib.suppress(docker_exceptions.NoSuchImage):
            docker.image.remove(name)


def _build(
    dockerfile: Path,
    context: Path,
    name: str,
    arguments: dict[str, str],
    progress: Callable[[str], None],
) -> None:
    docker, lines = engine.client(), engine.BuilderOutput(progress)
    try:
        if engine.has_buildx(docker):
            stream = docker.buildx.build(
                context,
                file=dockerfile,
                tags=name,
                build_args=arguments,
                load=True,
                progress="plain",
                stream_logs=True,
            )
            for line in stream:  # type: ignore[union-attr]
                lines.write(f"{line.rstrip()}\n")
        else:  # the older builder does it too, since the Dockerfiles are simple
            with contextlib.redirect_stdout(lines), _older_builder():
                docker.legacy_build(
                    context, file=dockerfile, tags=name, build_args=arguments, quiet=False
                )
    except DockerException as error:
        last = " / ".join(dict.fromkeys([*lines.last, engine.words(error)]))
        raise ContainerError(
            f"{name} could not be built from {dockerfile.name}",
            cause=last,
            next_step=_how_to_mend(last, arguments.get("SERVING_IMAGE", "")),
        ) from error


@contextlib.contextmanager
def _older_builder() -> Iterator[None]:
    """Docker's older builder for a while, whatever DOCKER_BUILDKIT says: its lines are read."""
    former = os.environ.get("DOCKER_BUILDKIT")
    os.environ["DOCKER_BUILDKIT"] = "0"
    try:
        yield
    finally:
        del os.environ["DOCKER_BUILDKIT"]
        if former is not None:
            os.environ["DOCKER_BUILDKIT"] = former


def _how_to_mend(words: str, serving_image: str) -> str:
    if any(hint in words for hint in _UNREACHABLE):
        return (
            f"The base image {serving_image or 'in the Dockerfile'} couldn't be fetched. Connect "
            "to the network, or name one that is here: build(…, serving_image=…)."
        )
    if any(hint in words for hint in ("not found", "pull access denied", "manifest unknown")):
        return f"Check the base image's name and tag: {serving_image or 'ARG SERVING_IMAGE'}."
    if "no space left" in words:
        return "Make room: `docker system df` shows what takes it, `docker system prune` frees it."
    return "Read the engine's lines above; the step that failed is named in them."


def _instruction(made_by: str) -> str:
    """An instruction without what the builder wrote around it."""
    words = made_by.removeprefix("/bin/sh -c #(nop) ").replace("# buildkit", "").strip()
    words = re.sub(r"\b(dir|file|multi):[0-9a-f]{64} in ", "", words) or "the base image"
    return words if len(words) <= 100 else f"{words[:99]}…"
