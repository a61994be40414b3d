"""Inception-v3 as a SavedModel that TensorFlow Serving loads.

`export` writes one version, `find` says what there is, `load_in_process` runs it the way the
server does. Importing this doesn't import TensorFlow, calling `export` does.

    record       what an export is, on disk and in Python
    networks     Inception-v3 and the light network; their random weights
    weights      ImageNet's, a file's
    signatures   preprocessing and labels around the network: the plain form
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

__all__ = ["Export", "Runner", "export", "find", "load_in_process"]


def __getattr__(name: str) -> Any:
    if name in ("Runner", "load_in_process"):
        from . import savedmodel

        return getattr(savedmodel, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
