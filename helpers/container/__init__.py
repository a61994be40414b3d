"""Builds the serving image and runs it, with the Docker CLI (through python-on-whales)."""

from helpers.container.engine import why_no_engine
from helpers.container.images import (
    DOCKERFILE,
    IMAGE,
    MODEL_DOCKERFILE,
    Image,
    Layer,
    build,
    inspect,
)
from helpers.container.running import Container, leftovers, remove_leftovers

__all__ = [
    "DOCKERFILE",
    "IMAGE",
    "MODEL_DOCKERFILE",
    "Container",
    "Image",
    "Layer",
    "build",
    "inspect",
    "leftovers",
    "remove_leftovers",
    "why_no_engine",
]
