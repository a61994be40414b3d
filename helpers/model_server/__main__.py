"""`python -m helpers.model_server`: the flags first, so that a mistake shows at once."""

from __future__ import annotations

import sys

from helpers.model_server import flags


def main() -> int:
    """Parse the flags, then load TensorFlow's runtime and serve. Returns the exit status."""
    options = flags.parse(sys.argv[1:])
    from helpers.model_server import runtime  # only now: it takes a second

    runtime.import_without_python_api()
    from helpers.model_server import server

    return server.run(options)


if __name__ == "__main__":
    sys.exit(main())
