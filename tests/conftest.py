"""What holds for all tests."""

import os
import signal
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from helpers.clusters.local.supervisor_client import RUN

# A shell that starts the tests in the background lets them ignore Ctrl-C, and a process hands that
# on to those that it starts. Some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Nothing waits on wall time to pass: hypothesis would fail an example that a busy machine slows.
settings.register_profile("tutorial", deadline=None)
settings.load_profile("tutorial")

# What these tests leave behind, and what they clean up, is theirs, and not of those beside them.
os.environ[RUN] = f"{os.getpid()}-tests"

# The longest first, where several processes share the tests.
LONGEST = (
    "tests/notebooks/",
    *(f"tests/cluster/test_{name}.py" for name in ("failures", "notebooks")),
)
# Tests that can't run beside each other, by how their names begin.
TOGETHER = {
    # Notebook 14 removes those that it finds.
    "containers": ("tests/cluster/test_container.py", "tests/cluster/test_notebooks.py"),
    # With two of two nodes drained there is none left.
    "nodes": (
        "tests/cluster/test_failures.py",
        "tests/cluster/test_components.py::test_a_drained_node",
    ),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Else a process might run the last of them alone in the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


class Scheduling(LoadScopeScheduling):
    """The tests of a file run in one process, since they share what they start."""

    def _split_scope(self, nodeid: str) -> str:
        groups = (group for group, names in TOGETHER.items() if nodeid.startswith(names))
        return next(groups, nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Asked where there are several processes. (loadgroup's marks: xdist 3.8 loses them.)"""
    return Scheduling(config, log)
