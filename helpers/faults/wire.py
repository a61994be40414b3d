"""A bad network between a client and the replicas: late, lossy, or cut.

It forwards TCP connections, in a process of its own (`network`). What a lossy network does to TCP
is not a gap but a pause: the kernel sends a lost segment again after its retransmission timeout,
200 ms at first on Linux, and all that comes after it on the connection waits. So that is what is
played here; `tc qdisc … netem` would lose real packets, and not every kernel has it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from helpers.child import Child
from helpers.closing import Closing
from helpers.errors import LoadError

_START_S = 60.0  # for a Python process to start on a busy machine
_ANSWER_S = 10.0  # for one that runs to do what it is told


class Wire(Closing):
    """Proxies, one for each address, whose network gets worse when it is told to.

    Args:
        addresses: `host:port` of the replicas.

    Raises:
        LoadError: the process doesn't start.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._child = Child("helpers.faults.network", *addresses, failed=_failed)
        self.addresses: list[str] = json.loads(self._child.next(time.monotonic() + _START_S))

    def set(self, *, delay_s: float = 0.0, loss: float = 0.0, cut: bool = False) -> None:
        """Makes the network so from now on.

        Args:
            delay_s: added to each way.
            loss: the share of segments that have to be sent again.
            cut: nothing passes, and nobody is told: as when a cable is pulled.

        Raises:
            LoadError: the process has ended, or hangs.
        """
        self._child.say(json.dumps({"delay_s": delay_s, "loss": loss, "cut": cut}))
        self._child.next(time.monotonic() + _ANSWER_S)  # from here on it is so

    @contextmanager
    def bad(self, *, delay_s: float = 0.0, loss: float = 0.0, cut: bool = False) -> Iterator[None]:
        """A network as `set` makes it, for as long as it is entered; then it is well again."""
        self.set(delay_s=delay_s, loss=loss, cut=cut)
        try:
            yield
        finally:
            self.set()

    def close(self) -> None:
        """Ends it and its connections. May be called again."""
        self._child.close()


def _failed(why: str) -> LoadError:
    return LoadError(
        "The bad network failed",
        cause=why,
        next_step="Make another; is the machine very busy?",
    )
