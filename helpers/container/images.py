"""Builds the serving image and says what an image is made of.

An image is built from `serving/Dockerfile`; the folder of models is its context, so that nothing
else is sent to the engine.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from python_on_whales import exceptions as docker_exceptions

from helpers import settings
from helpers.container import engine
from helpers.errors import ContainerError, ExportError

DOCKERFILE = settings.SERVING / "Dockerfile"
MODEL_DOCKERFILE = settings.SERVING / "model.Dockerfile"
IMAGE = "inception-serving:1"
_HISTORY = '{"made_by": {{json .CreatedBy}}, "size": {{json .Size}}}'
_UNREACHABLE = ("no such host", "i/o timeout", "failed to resolve", "lookup")


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
    """Builds an image that serves the models of a folder.

    Args:
        models: the folder that holds `inception/VERSION`.
        name: of the image, with its tag.
        serving_image: the image to build on; None for the Dockerfile's own choice.
        dockerfile: what to build.
        progress: is given the engine's lines as they come.
        arguments: for the Dockerfile's other ARGs.

    Raises:
        SetupError: there is no Docker CLI, or no engine answers.
        ExportError: the folder has no model.
        ContainerError: the build failed; the engine's last words are its cause.
    """
    docker = engine.client()
    if not any((models / settings.MODEL_NAME).glob("[0-9]*/saved_model.pb")):
        raise ExportError(
            f"{models} has no model to put into an image",
            cause=f"{settings.MODEL_NAME}/1/saved_model.pb isn't there",
            next_step="Run notebook 01, which exports one.",
        )
    given = {"SERVING_IMAGE": serving_image} if serving_image else {}
    given |= {"REVISION": _revision()} | arguments
    # BuildKit where the CLI has it; the older builder does it too, since the Dockerfile is simple.
    command = [*docker.client_config.docker_cmd, *(["buildx"] if engine.has_buildx(docker) else [])]
    command += ["build", "--file", str(dockerfile), "--tag", name]
    command += [word for key, value in given.items() for word in ("--build-arg", f"{key}={value}")]
    command += ["--progress=plain", "--load"] if "buildx" in command else []
    lines = engine.run_shown([*command, str(models)], progress)
    if lines is not None:
        raise ContainerError(
            f"{name} could not be built from {dockerfile.name}",
            cause=lines,
            next_step=_how_to_mend(lines, serving_image or ""),
        )
    return inspect(name)


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
            next_step="Build it: `make image`, or notebook 03.",
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


def _how_to_mend(words: str, serving_image: str) -> str:
    if any(
        hint in words for hint in ("no such host", "i/o timeout", "failed to resolve", "lookup")
    ):
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
    return words if len(words) <= 100 else f"{words[:99]}…"


def _revision() -> str:
    git = ["git", "-C", str(settings.ROOT), "rev-parse", "--short", "HEAD"]
    if shutil.which("git") is None:
        return "unknown"
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
