"""`python -m helpers.model_server`: the flags first, so that a mistake shows at once."""

from __future__ import annotations

import importlib.util
import os
import sys
import types

from helpers.model_server import flags, memory


def _skip_tensorflows_python_api() -> None:
    """Let `tensorflow.python...` be imported without `tensorflow/__init__.py`.

    A server needs sessions, kernels and messages; `import tensorflow` also brings Keras and every
    public name (4.3 s on a slow core, where the session alone takes 0.7 s). Python imports a parent
    package before a submodule, so the parent is set first: a module with no content but the path.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # warnings and errors, no notices
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("TensorFlow is not installed. Run `make setup`.")
    package = types.ModuleType("tensorflow")
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    sys.modules["tensorflow"] = package


def main() -> int:
    """Parse the flags, then load TensorFlow's runtime and serve. Returns the exit status."""
    options = flags.parse(sys.argv[1:])
    memory.prepare()
    _skip_tensorflows_python_api()
    from helpers.model_server import server  # only now: it takes a second

    return server.run(options)


if __name__ == "__main__":
    sys.exit(main())
