"""One replica: a model-server process that is started, probed, restarted and ended like a pod's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.clusters import arguments
from helpers.clusters.local import die_with_parent, probes
from helpers.clusters.manifest import PodTemplate, Probe

# Below the ports that Linux and macOS give to outgoing connections, which could take one between
# our finding it free and the server's listening on it; and below Kubernetes' NodePorts.
_PORTS = range(15_000, 30_000)
_PORT_TRIES = 5
# The kubelet's: at once, then 10 s, doubled each time up to 5 min, forgotten after 10 min of work.
_BACKOFF_S, _BACKOFF_MOST_S, _BACKOFF_FORGOTTEN_S = 10.0, 300.0, 600.0


@dataclass(frozen=True)
class Revision:
    """All that makes a replica what it is; when it changes, replicas are replaced.

    Args:
        program: the server's command without its flags.
        flags: the container's, complete.
        models: the directory that the container sees as `/models`.
        template: what the manifest says beside that.
        way: how a replica ends with the supervisor, see `die_with_parent`.
    """

    program: tuple[str, ...]
    flags: tuple[str, ...]
    models: Path
    template: PodTemplate
    way: str

    @classmethod
    def of(cls, data: dict[str, Any]) -> Revision:
        """A revision from the JSON that `dataclasses.asdict` made of it."""
        fields = dict(data["template"])
        for kind in ("startup", "readiness", "liveness"):
            if fields[kind] is not None:
                fields[kind] = Probe(**_tuples(fields[kind]))
        template = PodTemplate(**_tuples(fields))
        rest = _tuples({key: data[key] for key in ("program", "flags", "way")})
        return cls(template=template, models=Path(data["models"]), **rest)


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists, one or two deep, as the tuples that they were."""
    return {
        name: tuple(tuple(i) if isinstance(i, list) else i for i in value)
        if isinstance(value, list)
        else value
        for name, value in fields.items()
    }


class Replica:
    """One pod: its process, its probes, its restarts.

    Args:
        name: the pod's.
        revision: what it is.
        log: the file that its server's output goes to.
        mark: an environment variable that lets it be found again, as (name, value).
        pipe: handed to `die_with_parent`.
        changed: called when anything that others can see is different.
    """

    def __init__(
        self,
        name: str,
        revision: Revision,
        *,
        log: Path,
        mark: tuple[str, str],
        pipe: int,
        changed: Callable[[], None],
    ) -> None:
        self.name, self.revision, self.log = name, revision, log
        self.status, self.ready, self.restarts, self.reason = "Pending", False, 0, ""
        self.failed = ""  # why it ended before it was ever ready, until it is ready
        self.made_at = time.time()
        self.started_at = self.ready_at = 0.0  # its server, the last time; 0: not yet
        self.stopping = False
        self._was_ready = False  # since its server was last started
        self._stop = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._changed, self._pipe = changed, pipe
        self._env = {**os.environ, **dict(revision.template.env), mark[0]: mark[1]}
        self._env.setdefault("PYTHONUNBUFFERED", "1")  # a log that ends in the middle tells less
        self._ports: dict[int, int] = {}
        self._take_ports()
        self._task = asyncio.ensure_future(self._run())

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    @property
    def addresses(self) -> tuple[int, int]:
        """This machine's ports for gRPC and for REST; 0 where there is none."""
        grpc, rest = arguments.service_ports(self.revision.flags)
        return self._ports.get(grpc, 0), self._ports.get(rest, 0)

    async def _run(self) -> None:
        """Keeps a server running until `end`."""
        backoff_s, port_tries = 0.0, 0
        while not self.stopping:
            began, self._was_ready = time.monotonic(), False
            try:
                ended = await self._serve()
            except OSError as error:  # no room for a log, too many processes or open files
                ended = f"its server can't be started: {error.strerror or error}"
            if self.stopping:
                break
            never_ready = not self._was_ready
            if never_ready and port_tries < _PORT_TRIES and await self._port_is_taken():
                port_tries += 1
                self._take_ports()
                self._say(f"a port was taken: again with {sorted(self._ports.values())}")
                continue
            if time.monotonic() - began > _BACKOFF_FORGOTTEN_S:
                backoff_s = 0.0
            status = "CrashLoopBackOff" if backoff_s else "Error"
            self._note(status=status, reason=ended, failed=ended if never_ready else "")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), backoff_s)
            backoff_s = min(max(_BACKOFF_S, backoff_s * 2), _BACKOFF_MOST_S)
            if not self.stopping:
                self.restarts += 1
                self._say(f"restart {self.restarts}: {ended}")

    async def _serve(self) -> str:
        """Runs one server to its end and returns why it ended."""
        with self.log.open("ab") as log:
            flags = arguments.localize(
                self.revision.flags, ports=self._ports, models=self.revision.models
            )
            launcher = (sys.executable, "-I", "-S", die_with_parent.__file__, self.revision.way)
            self._process = await asyncio.create_subprocess_exec(
                *launcher, str(os.getpid()), str(self._pipe), *self.revision.program, *flags,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=self._env,
                start_new_session=True, pass_fds=(self._pipe,),
            )  # fmt: skip
        process = self._process
        if self.stopping:  # asked to end while it was being started
            await self._kill(process, 0)
        else:
            self.started_at = time.time()
            self._note(status="Running", reason="starting")
        exiting = asyncio.ensure_future(process.wait())
        watching = asyncio.ensure_future(self._watch())
        await asyncio.wait({exiting, watching}, return_when=asyncio.FIRST_COMPLETED)
        self.ready = False
        if exiting.done():
            watching.cancel()
            ended = _in_words(exiting.result())
        else:
            ended = watching.result()
            self._note(reason=ended)
            startup = ended.startswith("startup") and self.revision.template.startup
            own = (startup or self.revision.template.liveness or Probe("")).grace_period_s
            await self._kill(process, own or self.revision.template.grace_period_s)
        await exiting
        return ended

    async def _watch(self) -> str:
        """Asks the probes in their order; returns when the server has to be restarted, why."""
        template = self.revision.template
        if template.startup is not None:
            failures = 0
            async for why in self._ask(template.startup):
                if not why:
                    break
                failures += 1
                told = f"startup probe {template.startup}: {why}"
                self._note(reason=told)
                if failures >= (most := template.startup.failure_threshold):
                    return f"{told} (failure {failures} of {most})"
        readiness = asyncio.ensure_future(self._readiness(template.readiness))
        try:
            if template.liveness is None:
                await asyncio.Event().wait()  # for ever: only its own end ends it
            else:
                failures = 0
                async for why in self._ask(template.liveness):
                    failures = failures + 1 if why else 0
                    if failures >= template.liveness.failure_threshold:
                        return f"liveness probe {template.liveness}: {why} ({failures} times)"
        finally:
            readiness.cancel()
        return ""

    async def _readiness(self, probe: Probe | None) -> None:
        """Follows the readiness probe; without one, a server that has started is ready."""
        if probe is None:
            self._note(ready=True, reason="")
            return
        failures = successes = 0
        async for why in self._ask(probe):
            failures, successes = (failures + 1, 0) if why else (0, successes + 1)
            if successes >= probe.success_threshold and not self.stopping:
                self._note(ready=True, reason="")
            elif failures >= probe.failure_threshold or not self.ready:
                self._note(ready=False, reason=f"readiness probe {probe}: {why}" if why else "")

    async def _ask(self, probe: Probe) -> AsyncIterator[str]:
        await asyncio.sleep(probe.initial_delay_s)
        while True:
            due = time.monotonic() + probe.period_s
            yield await probes.ask(
                probe, ports=self._ports, env=self._env, models=self.revision.models
            )
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def retire(self) -> None:
        """From here on it is terminating, for everybody to see: its `end` follows."""
        self.stopping = True
        self._note(status="Terminating", ready=False, reason="")

    async def end(self, *, hook: bool, grace_s: float | None = None) -> None:
        """Ends the replica: no new connections, the preStop hook, SIGTERM, SIGKILL.

        Args:
            hook: whether the preStop hook runs: somebody may still be using the replica.
            grace_s: instead of the manifest's grace period.
        """
        template = self.revision.template
        deadline = time.monotonic() + (template.grace_period_s if grace_s is None else grace_s)
        self.retire()
        if hook and self.pid is not None and self._process is not None:
            hooks = [asyncio.ensure_future(self._hook()), asyncio.ensure_future(self._task_done())]
            left = max(0.0, deadline - time.monotonic())
            await asyncio.wait(hooks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in hooks:
                task.cancel()
        self._stop.set()
        if self.pid is not None and self._process is not None:
            await self._kill(self._process, max(0.0, deadline - time.monotonic()))
        await self._task

    async def _task_done(self) -> None:
        await asyncio.wait({self._task})

    async def _hook(self) -> None:
        await asyncio.sleep(self.revision.template.pre_stop_sleep_s)
        if command := self.revision.template.pre_stop_command:
            probe = Probe("exec", command=command, timeout_s=self.revision.template.grace_period_s)
            why = await probes.ask(
                probe, ports=self._ports, env=self._env, models=self.revision.models
            )
            if why:
                self._say(f"preStop hook: {why}")

    async def _kill(self, process: asyncio.subprocess.Process, grace_s: float) -> None:
        """SIGTERM to the server; SIGKILL to it and all it started when it doesn't go in time."""
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), grace_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own
        await process.wait()

    def _take_ports(self) -> None:
        grpc, rest = arguments.service_ports(self.revision.flags)
        template = self.revision.template
        asked = (p.port for p in (template.startup, template.readiness, template.liveness) if p)
        wanted = sorted({grpc, rest, *template.ports, *asked} - {0})
        self._ports = dict(zip(wanted, free_ports(len(wanted)), strict=True))

    async def _port_is_taken(self) -> bool:
        """Whether somebody answers on one of our ports while no server of ours runs."""
        for port in self._ports.values():
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 1)
                writer.close()
                return True
        return False

    def _note(self, **seen: Any) -> None:
        if self.stopping:
            seen = {"status": "Terminating", "ready": False, "reason": ""}
        if seen.get("ready"):
            self.failed, self._was_ready = "", True
            self.ready_at = self.ready_at if self.ready else time.time()
        if any(getattr(self, name) != value for name, value in seen.items()):
            for name, value in seen.items():
                setattr(self, name, value)
            self._changed()

    def _say(self, text: str) -> None:
        """A line of ours in the replica's log."""
        with contextlib.suppress(OSError), self.log.open("a", encoding="utf-8") as log:
            log.write(f"--- {self.name}: {text}\n")


def _in_words(code: int) -> str:
    if code < 0:
        return f"its server was ended by {signal.Signals(-code).name}"
    return f"its server exited with status {code}"


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens, in no order that another process would follow too."""
    with contextlib.ExitStack() as held:
        found: list[int] = []
        for port in random.sample(_PORTS, k=len(_PORTS)):
            if len(found) == count:
                break
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            with contextlib.suppress(OSError):
                probe.bind(("", port))
                found.append(port)
        return found
