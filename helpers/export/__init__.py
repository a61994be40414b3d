"""Inception-v3 as a SavedModel that TensorFlow Serving loads.

`export` writes one version, `find` says what there is, `load_in_process` runs it the way the
server does. Importing this doesn't import TensorFlow, calling `export` does.

    record       what an export is, on disk and in Python
    networks     Inception-v3 and the light network; their random weights
    weights      ImageNet's, a file's
    signatures   preprocessing and labels around the network: the plain form
    folding      Inception-v3 as constants, batch normalization folded
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

if TYPE_CHECKING:
    from .savedmodel import Runner, load_in_process
    from .signatures import preprocess, preprocessing_steps

__all__ = [
    "Export",
    "Runner",
    "export",
    "find",
    "load_in_process",
    "preprocess",
    "preprocessing_steps",
]


def __getattr__(name: str) -> Any:
    """What needs TensorFlow, imported when it is first asked for."""
    from importlib import import_module

    for module in ("savedmodel", "signatures"):
        if name in __all__ and hasattr(loaded := import_module(f"{__name__}.{module}"), name):
            return getattr(loaded, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
