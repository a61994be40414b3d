"""From a container's command and flags to a process's command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from helpers import settings

_ENTRY_POINT = (
    # What the official image's entry point passes before the container's own arguments.
    "--port=8500",
    "--rest_api_port=8501",
    "--model_name=$(MODEL_NAME)",
    "--model_base_path=$(MODEL_BASE_PATH)/$(MODEL_NAME)",
)
_IMAGE_ENV = {"MODEL_NAME": "model", "MODEL_BASE_PATH": settings.CONTAINER_MODELS}
PROGRAM = "tensorflow_model_server"


def merge(flags: Sequence[str], overriding: Sequence[str]) -> list[str]:
    """Flags of which some are replaced: of two with the same name, the overriding one stays.

    Args:
        flags: in any of the server's forms, `--port=1`, `--port 1` or `--enable_batching`.
        overriding: the same; new names are added at the end.
    """
    named = dict(_named(flags))
    named.update(_named([overriding] if isinstance(overriding, str) else overriding))
    return [token for tokens in named.values() for token in tokens]


def value(flags: Sequence[str], name: str, default: str = "") -> str:
    """The value of a flag; the last one where it is given twice, as the server reads it."""
    tokens = dict(_named(flags)).get(name)
    if tokens is None:
        return default
    return tokens[1] if len(tokens) > 1 else tokens[0].partition("=")[2]


def complete(
    command: Sequence[str], args: Sequence[str], env: Mapping[str, str]
) -> tuple[str, ...]:
    """A container's flags as the server gets them: `$(VARIABLES)` replaced, and, without a
    command of its own, the official image's entry point's put first.
    """
    known = {**_IMAGE_ENV, **env}
    flags = [*(command[1:] if command else _ENTRY_POINT), *args]
    expanded = (re.sub(r"\$\((\w+)\)", lambda m: known.get(m[1], m[0]), flag) for flag in flags)
    return tuple(merge(list(expanded), ()))


def localize(flags: Sequence[str], *, ports: Mapping[int, int], models: Path) -> list[str]:
    """Flags for a process on this machine instead of in a container.

    Args:
        flags: the container's.
        ports: this machine's port for each of the container's.
        models: the directory that the container sees as `/models`.
    """
    moved = [on_this_machine(flag, models=models) for flag in flags]
    own = {
        name: ports.get(int(value(flags, name, default)), 0)
        for name, default in (("port", str(settings.GRPC_PORT)), ("rest_api_port", "0"))
    }
    return merge(moved, [f"--{name}={port}" for name, port in own.items() if port])


def on_this_machine(text: str, *, models: Path) -> str:
    """The container's paths in a text, replaced by this machine's."""
    for there, here in (
        (settings.CONTAINER_MODELS, models),
        (settings.CONTAINER_CONFIG, settings.SERVING),
    ):
        pattern = rf"(?<![\w./-]){re.escape(there)}(?=[/,]|$)"
        text = re.sub(pattern, lambda _, here=here: str(here), text)  # type: ignore[misc]
    return text


def service_ports(flags: Sequence[str]) -> tuple[int, int]:
    """The container's ports for gRPC and for REST; 0 where there is none.

    Raises:
        ValueError: a port isn't a number.
    """
    return int(value(flags, "port", str(settings.GRPC_PORT))), int(
        value(flags, "rest_api_port", "0")
    )


def _named(flags: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The flags by name, each with the tokens that it is made of."""
    named: list[tuple[str, list[str]]] = []
    for token in flags:
        if token.startswith("-") or not named or len(named[-1][1]) > 1 or "=" in named[-1][1][0]:
            named.append((token.lstrip("-").partition("=")[0], [token]))
        else:
            named[-1][1].append(token)
    return named
