"""Ports of this machine that lead to a pod or Service whose address isn't reachable from here."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Sequence

from helpers.clusters.kubernetes.render import kubectl
from helpers.errors import ClusterError

_TIMEOUT_S = 20
_CONNECT_S = 2.0


def accepts(address: str) -> bool | None:
    """Whether something accepts connections at `host:port`; None: there is no way to it from here.

    A load balancer without ready replicas refuses; an address inside another network is silent.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except ConnectionRefusedError:
        return False
    except (OSError, ValueError):
        return None
    return True


class Forward:
    """A `kubectl port-forward`, in a process of its own.

    It goes through the API server and to one pod, also when it names a Service: good for trying
    something out, wrong for load.

    Args:
        what: `service/inception` or `pod/NAME`.
        port: of the pod or Service.
        options: `--context`, `--namespace`, `--kubeconfig`.
    """

    def __init__(self, what: str, port: int, options: Sequence[str]) -> None:
        self.what = what
        self._process = subprocess.Popen(
            [kubectl(), "port-forward", *options, "--address=127.0.0.1", what, f":{port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        timer = threading.Timer(_TIMEOUT_S, self._process.kill)
        timer.start()
        lines = []
        assert self._process.stdout is not None  # asked for above
        for line in self._process.stdout:
            lines.append(line.strip())
            found = re.match(r"Forwarding from (127\.0\.0\.1:\d+)", line)
            if found:
                timer.cancel()
                self.address = found[1]
                # Whoever writes to a full pipe stops: every connection is a line.
                threading.Thread(target=self._drain, daemon=True).start()
                return
        timer.cancel()
        self._process.wait()
        raise ClusterError(
            f"no port of this machine could be forwarded to {what}",
            cause=" / ".join(lines[-2:]) or f"kubectl said nothing in {_TIMEOUT_S} s",
            next_step="See whether a replica is ready: `pods()`.",
        )

    @property
    def alive(self) -> bool:
        """Whether it still forwards: it ends with the pod that it leads to."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends it. May be called again."""
        if self.alive:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _drain(self) -> None:
        if self._process.stdout is not None:
            for _ in self._process.stdout:
                pass
