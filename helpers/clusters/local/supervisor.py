"""The control plane of the `local` target, in a process of its own.

    python -m helpers.clusters.local.supervisor LOG_DIRECTORY GRPC_LISTENER_FD REST_LISTENER_FD

It is what kubelet, kube-proxy and the Deployment controller are to a cluster, for one machine and
one Deployment. Commands come in on stdin, a line of JSON each; the state goes out on stdout, a line
for each change. The end of stdin, which the operating system brings about however the notebook's
kernel ends, ends the replicas and this process.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from helpers.clusters.local.proxy import Proxy
from helpers.clusters.local.replica import Replica, Revision

MARK = "INCEPTION_TUTORIAL_SUPERVISOR"  # in the environment of all that a supervisor starts
_LOOK_AFTER_PARENT_S = 0.5
_LAST_GRACE_S = 10.0  # the longest that a close waits: nobody is left to read the answers
_NOTHING = {"replicas": 0, "revision": None}


class ControlPlane:
    """The desired state, the replicas, and what makes the second follow the first."""

    def __init__(self, logs: Path, proxies: tuple[Proxy, Proxy], out: asyncio.WriteTransport):
        self._logs, self._proxies, self._out = logs, proxies, out
        self._wanted: dict[str, Any] = dict(_NOTHING)
        self._revision: Revision | None = None
        self._replicas: list[Replica] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._made = 0
        self._seen = 0  # the last command that was carried out
        self._changed = asyncio.Event()
        # Only this process has the end for writing: see `die_with_parent`.
        self._pipe, self._kept = os.pipe()

    def command(self, command: dict[str, Any]) -> None:
        """Carries out `apply`, `scale` or `delete`: changes what is wanted."""
        self._seen = command.pop("number")
        action = command.pop("do")
        if action == "delete":
            self._revision, self._wanted = None, dict(_NOTHING)
        elif action == "apply":
            before, self._wanted = self._wanted["revision"], command
            if command["revision"] != before:
                self._revision = Revision.of(command["revision"])
            # Whoever applies again has mended something: that isn't to wait for the back-off.
            for replica in self._replicas:
                if replica.failed and not replica.stopping:
                    self._end(replica)
        else:
            self._wanted |= command
        self._changed.set()

    async def run(self) -> None:
        """Follows each change with whatever it makes necessary, for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._reconcile()
            for proxy, which in zip(self._proxies, (0, 1), strict=True):
                ports = (replica.addresses[which] for replica in self._replicas if replica.ready)
                proxy.backends = [("127.0.0.1", port) for port in ports if port]
            self._publish()

    def _reconcile(self) -> None:
        """Starts and ends replicas by the Deployment controller's rules for a rolling update."""
        alive = [replica for replica in self._replicas if not replica.stopping]
        new = [replica for replica in alive if replica.revision is self._revision]
        old = [replica for replica in alive if replica.revision is not self._revision]
        wanted = self._wanted["replicas"]
        # Those that serve nobody go first, then the youngest.
        surplus = max(0, len(new) - wanted)
        for replica in sorted(new, key=lambda r: (r.ready, -r.made_at))[:surplus]:
            self._end(replica)
        missing = wanted - len(new)
        if self._revision is None or (old and self._wanted["recreate"]):
            for replica in old:
                self._end(replica)
            missing = 0
        elif old:
            missing = min(missing, wanted + self._wanted["max_surge"] - len(alive))
            least = wanted - self._wanted["max_unavailable"]
            spare = len(alive) - least - sum(not replica.ready for replica in new)
            ready = sum(replica.ready for replica in alive)
            for replica in sorted(old, key=lambda r: r.ready)[: max(0, spare)]:
                if not replica.ready or ready > least:
                    ready -= replica.ready
                    self._end(replica)
        elif self._wanted.get("recreate") and len(self._replicas) > len(alive):
            missing = 0  # the old ones are still ending
        for _ in range(missing):
            self._start()

    def _start(self) -> None:
        if self._revision is None:
            return
        name = f"{self._wanted['name']}-{self._made}"
        self._made += 1
        log = self._logs / f"{name}.log"
        log.write_bytes(b"")  # of an earlier session, whose lines would be misread as ours
        mark = (MARK, str(os.getpid()))
        replica = Replica(
            name, self._revision, log=log, mark=mark, pipe=self._pipe, changed=self._changed.set
        )
        self._replicas.append(replica)
        self._changed.set()

    def _end(self, replica: Replica) -> None:
        # Once the Deployment is deleted nobody is sent to its replicas any more, so nobody has to
        # be waited for.
        task = asyncio.ensure_future(self._forget(replica, hook=self._revision is not None))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        replica.retire()

    async def _forget(self, replica: Replica, *, hook: bool, grace_s: float | None = None) -> None:
        try:
            await replica.end(hook=hook, grace_s=grace_s)
        finally:
            if replica in self._replicas:
                self._replicas.remove(replica)
            self._changed.set()

    async def stop(self) -> None:
        """Ends all replicas at once; the two proxies first. None is started any more."""
        # `run` goes on meanwhile: what it wanted until now, it would find missing.
        self._revision, self._wanted = None, dict(_NOTHING)
        for proxy in self._proxies:
            proxy.stop()
        # A replica that is already ending may be in the middle of a long preStop hook: again, and
        # without it.
        endings = []
        for replica in tuple(self._replicas):
            grace_s = min(_LAST_GRACE_S, replica.revision.template.grace_period_s)
            endings.append(self._forget(replica, hook=False, grace_s=grace_s))
        await asyncio.gather(*endings, return_exceptions=True)

    def _publish(self) -> None:
        state = {
            "seen": self._seen,
            "wanted": self._wanted["replicas"],
            "pods": [
                {
                    "name": replica.name,
                    "status": replica.status,
                    "ready": replica.ready,
                    "restarts": replica.restarts,
                    "made_at": replica.made_at,
                    "started_at": replica.started_at,
                    "ready_at": replica.ready_at,
                    "ports": replica.addresses,
                    "pid": replica.pid,
                    "reason": replica.reason,
                    "failed": replica.failed,
                    "current": replica.revision is self._revision,
                    "log": str(replica.log),
                }
                for replica in self._replicas
            ],
        }
        self._out.write(json.dumps(state).encode() + b"\n")


async def _orphaned(parent: int) -> None:
    """Returns when the process that started this one is gone.

    Its end also ends stdin, unless it forked another process that still holds the pipe.
    """
    while os.getppid() == parent:
        await asyncio.sleep(_LOOK_AFTER_PARENT_S)


async def main(logs: Path, listeners: list[int]) -> None:
    """Runs until stdin ends, the parent is gone, or SIGTERM comes."""
    parent, loop = os.getppid(), asyncio.get_running_loop()
    commands = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    out, _ = await loop.connect_write_pipe(asyncio.Protocol, sys.stdout)
    proxies = Proxy(socket.socket(fileno=listeners[0])), Proxy(socket.socket(fileno=listeners[1]))
    for proxy in proxies:
        await proxy.start()
    plane = ControlPlane(logs, proxies, out)
    told = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)

    async def obey() -> None:
        while line := await commands.readline():
            plane.command(json.loads(line))

    running = asyncio.ensure_future(plane.run())
    ends = [asyncio.ensure_future(end) for end in (obey(), _orphaned(parent), told.wait())]
    done, waiting = await asyncio.wait({running, *ends}, return_when=asyncio.FIRST_COMPLETED)
    for end in waiting - {running}:
        end.cancel()  # a command that comes now would start replicas again
    await plane.stop()
    for task in done:
        task.result()  # an error of ours goes to the supervisor's log


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), [int(fd) for fd in sys.argv[2:]]))
