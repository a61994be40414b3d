"""Inception-v3, and two other networks, as SavedModels that TensorFlow Serving loads.

`export` writes one version, `find` says what there is, `load_in_process` runs it the way the
server does. Importing this doesn't import TensorFlow, calling `export` does.

    record       what an export is, on disk and in Python
    catalog      which networks there are, and what each reads
    networks     Inception-v3 and the light network as Keras models; random weights
    efficientnet EfficientNet-Lite2, which is installed with trained weights
    torch_file   reads those, without PyTorch
    stand_in     whose labels a reader is shown where Inception-v3's weights can't be had
    weights      ImageNet's, a file's
    signatures   preprocessing and labels around the network: the plain form
    folding      a network as constants, batch normalization folded
    fast         the fast form, and how far its answers are from the plain form's
    speed        images a second of SavedModels in a process of their own
    graph        parameters and operations, counted
    warmup       the requests that a server sends itself first
    savedmodel   loading as the C++ loader does
    runtime      TensorFlow and Keras, imported in one place
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .exporter import export
from .record import Export, find
from .stand_in import Trained, trained

if TYPE_CHECKING:
    from .savedmodel import load_in_process
    from .signatures import preprocess

__all__ = [
    "Export",
    "Trained",
    "export",
    "find",
    "load_in_process",
    "preprocess",
    "trained",
]


def __getattr__(name: str) -> Any:
    """What needs TensorFlow, imported when it is first asked for."""
    from importlib import import_module

    for module in ("savedmodel", "signatures"):
        if name in __all__ and hasattr(loaded := import_module(f"{__name__}.{module}"), name):
            return getattr(loaded, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
