"""The networks that can be exported, and what each reads. No TensorFlow in here."""

from __future__ import annotations

from dataclasses import dataclass

from helpers.settings import IMAGE_SIZE


@dataclass(frozen=True)
class Network:
    """A network, as notebooks name it.

    Attributes:
        name: what `export` and the parameter NETWORK take.
        title: what a reader calls it.
        size: pixels per side of its input.
        mean, scale: its input is `(pixel - mean) / scale`, pixels being 0 to 255.
    """

    name: str
    title: str
    size: int
    mean: float
    scale: float


_ALL = (
    Network("inception_v3", "Inception-v3", IMAGE_SIZE, mean=127.5, scale=127.5),
    Network("light", "the light network", IMAGE_SIZE, mean=127.5, scale=127.5),
    # Range and size as its authors publish them, in `efficientnet_lite_builder.py`.
    Network("efficientnet_lite2", "EfficientNet-Lite2", 260, mean=127.0, scale=128.0),
)
NETWORKS = {network.name: network for network in _ALL}
