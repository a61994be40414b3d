"""Where a network's weights come from: ImageNet's by download or package, a file, or a seed."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import threading
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import proxies
from helpers.errors import WeightsError

if TYPE_CHECKING:
    from .runtime import keras

VARIABLE = "TUTORIAL_WEIGHTS"
IMAGENET, RANDOM = "imagenet", "random"

# Keras's own file for InceptionV3(weights="imagenet"), 96 MB, and its MD5 as Keras states it.
URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
    "inception_v3_weights_tf_dim_ordering_tf_kernels.h5"
)
MD5 = "9a0d58056eeedaa3f26cb7ebd46da564"
REACHED_WITHIN_S = 3.0  # a network that needs longer would take minutes for 96 MB
STALLED_AFTER_S = 30.0

ARE_RANDOM = (
    "INCEPTION-V3'S WEIGHTS ARE RANDOM HERE: ImageNet's can't be downloaded, the network didn't "
    f"answer in {REACHED_WITHIN_S:.0f} s. Its parameters, operations and speed are the real ones; "
    "labels are EfficientNet-Lite2's, which is trained. With a network, or with "
    f"{VARIABLE}=/path/to/weights.h5, export again."
)
OFFLINE = f"Set {VARIABLE}=random to go on without: same graph, same speed, meaningless labels"


def choose(weights: str | Path | None, *, network: str) -> str:
    """What to use: `imagenet`, `random`, or the path of a file.

    None means the environment's TUTORIAL_WEIGHTS; without that, ImageNet's if they are on this
    machine or can be reached, else random ones. That is for Inception-v3 alone: EfficientNet-Lite2
    was installed with its ImageNet weights, the light network has random ones.

    Raises:
        WeightsError: ImageNet's are asked for the light network.
    """
    if network == "light":
        if weights == IMAGENET:
            raise WeightsError(
                "The light network has no ImageNet weights",
                cause="it is a toy, and was never trained",
                next_step="Leave `weights` out.",
            )
        return RANDOM if weights is None else str(weights)
    if network == "efficientnet_lite2":
        return IMAGENET if weights is None else str(weights)
    chosen = str(weights or os.environ.get(VARIABLE, ""))
    if chosen:
        return chosen
    if cached().is_file() or reachable():
        return IMAGENET
    return RANDOM


def chosen_by_default() -> bool:
    """Whether the environment leaves the choice to `choose`."""
    return not os.environ.get(VARIABLE)


def reachable(url: str = URL, *, timeout_s: float = REACHED_WITHIN_S) -> bool:
    """Whether a URL answers within `timeout_s`, through the environment's proxies if there are any.

    Asked in a thread, since no time-out reaches the resolver that looks up the host's name.
    """
    answers: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - URL above, or a test's
        try:
            with urllib.request.urlopen(request, timeout=timeout_s):  # noqa: S310
                answers.append(True)
        except (OSError, ValueError):  # URLError is an OSError
            answers.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return answers == [True]


def cached() -> Path:
    """Where Keras keeps the downloaded file, whether it is there or not.

    By the rules of `keras/src/backend/config.py` and `get_file`: not in a home that can't be
    written to. Asking Keras itself would take the 5 s of its import.
    """
    temporary = Path("/tmp")  # noqa: S108 - Keras's choice
    home = Path.home() if os.access(Path.home(), os.W_OK) else temporary
    folder = Path(os.environ.get("KERAS_HOME", home / ".keras")).expanduser()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK):  # Keras couldn't make it, or write to it
        folder = (temporary if temporary.is_dir() else Path(tempfile.gettempdir())) / ".keras"
    return folder / "models" / URL.rpartition("/")[2]


def download(url: str = URL, *, md5: str = MD5) -> Path:
    """The downloaded file, from the cache of earlier downloads if it is there and whole.

    Raises:
        WeightsError: no answer, a connection that broke or stalled, or a file with another hash.
    """
    from .runtime import keras

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALLED_AFTER_S)  # get_file has none, and would wait for ever
    try:
        name = url.rpartition("/")[2]
        file = keras.utils.get_file(name, url, cache_subdir="models", file_hash=md5)
    except Exception as error:  # get_file raises bare Exception
        raise WeightsError(
            "ImageNet's weights can't be downloaded",
            cause=proxies.words(url, error),
            next_step=f"{OFFLINE}.",
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return Path(file)


def locate(weights: str) -> Path | None:
    """The file of Keras that holds the chosen weights, downloaded if need be; None for random ones.

    Raises:
        WeightsError: there is no such file, or the download failed.
    """
    if weights == RANDOM:
        return None
    if weights == IMAGENET:
        return download()
    path = Path(weights).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"There are no weights at {path}",
            cause="no such file",
            next_step=f"Give a file that Keras wrote, or one of {IMAGENET} and {RANDOM}.",
        )
    return path


def load(model: keras.Model, path: Path) -> None:
    """Fill a model with the weights of a file: `.h5`, `.weights.h5` or `.keras`.

    Raises:
        WeightsError: the file is of another network, cut off, or nothing that Keras wrote. Keras's
            own words about what doesn't fit are in its message.
    """
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that it found no weights for, and leaves them random.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (ValueError, KeyError, OSError, TypeError, UserWarning) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"The weights in {path} don't fit {model.name}",
            cause=reason[:400],
            next_step=f"Give a file that Keras saved from {model.name} with its 1000 classes.",
        ) from error


def sha256(path: Path) -> str:
    """The file's hash: which weights an export was made from."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
