"""TensorFlow's runtime without TensorFlow's Python API.

A server needs sessions, kernels and messages; `import tensorflow` also brings Keras and every
public name (4.3 s on a slow core). `tensorflow.python.client.session` alone takes 0.7 s. Python
imports a parent package before a submodule, so the parent is set first: a module with no content
but the package's path. What is loaded is the same library with the same kernels.

The other modules here import `tensorflow.python...` in the normal way. In a process where
`tensorflow` itself was imported first (tests), they use that.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types


def import_without_python_api() -> None:
    """Let `tensorflow.python...` be imported without `tensorflow/__init__.py`.

    For a process of its own: afterwards `import tensorflow` gives an empty module there.

    Raises:
        ImportError: TensorFlow isn't installed.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # warnings and errors, no notices
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("TensorFlow is not installed. Run `make setup`.")
    package = types.ModuleType("tensorflow")
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    sys.modules["tensorflow"] = package
