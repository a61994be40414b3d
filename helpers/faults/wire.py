"""A bad network between a client and the replicas: late, lossy, or cut.

It forwards TCP connections, in a process of its own (`network`). What a lossy network does to TCP
is not a gap but a pause: the kernel sends a lost segment again after its retransmission timeout,
200 ms at first on Linux, and all that comes after it on the connection waits. So that is what is
played here; `tc qdisc … netem` would lose real packets, and not every kernel has it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from helpers import settings
from helpers.errors import LoadError


class Wire:
    """Proxies, one for each address, whose network gets worse when it is told to.

    Args:
        addresses: `host:port` of the replicas.

    Raises:
        LoadError: the process doesn't start.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "helpers.faults.network", *addresses],
            cwd=settings.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise LoadError("The bad network didn't start", next_step="Read its error above.")
        self.addresses: list[str] = json.loads(line)

    def set(self, *, delay_s: float = 0.0, loss: float = 0.0, cut: bool = False) -> None:
        """Makes the network so from now on.

        Args:
            delay_s: added to each way.
            loss: the share of segments that have to be sent again.
            cut: nothing passes, and nobody is told: as when a cable is pulled.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        values = {"delay_s": delay_s, "loss": loss, "cut": cut}
        self._process.stdin.write(json.dumps(values) + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()  # from here on it is so

    def close(self) -> None:
        """Ends it and its connections. May be called again."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError, AttributeError):
                pipe.close()  # type: ignore[union-attr]

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
