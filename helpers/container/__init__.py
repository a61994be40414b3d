"""Builds the serving image and runs it, with the Docker CLI (through python-on-whales)."""

from helpers.container.engine import why_no_engine
from helpers.container.images import (
    DOCKERFILE,
    IMAGE,
    MODEL_DOCKERFILE,
    Image,
    base_image,
    build,
    inspect,
    remove_images,
)
from helpers.container.running import Container, ModelVolume, leftovers, remove_leftovers

__all__ = [
    "DOCKERFILE",
    "IMAGE",
    "MODEL_DOCKERFILE",
    "Container",
    "Image",
    "ModelVolume",
    "base_image",
    "build",
    "inspect",
    "leftovers",
    "remove_images",
    "remove_leftovers",
    "why_no_engine",
]
