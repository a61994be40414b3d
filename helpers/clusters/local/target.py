"""The `local` target: replicas are model-server processes on this machine."""

from __future__ import annotations

import contextlib
import platform
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from helpers import settings
from helpers.client import pages
from helpers.closing import Closing, Scratch
from helpers.clusters import arguments, diagnosis, manifest, metrics
from helpers.clusters.interface import BASE, Pod, Pods, Start
from helpers.clusters.local import requirements
from helpers.clusters.local.replica import Revision
from helpers.clusters.local.supervisor import MARK
from helpers.clusters.local.supervisor_client import SupervisorClient, end_process, marked
from helpers.clusters.schema import wrong
from helpers.errors import ClusterError, NotReadyError
from helpers.progress import Line
from helpers.settings import shown

_SHOW_EVERY_S = 0.5

LIMITATIONS: Mapping[str, str] = {
    "gpu": "The local target gives no replica a GPU of its own: all see whatever this machine has.",
    "drain": "The local target has one node, this machine, so there is none to drain.",
    "autoscaling": "The local target scales when it is told to; a HorizontalPodAutoscaler needs "
    "a cluster.",
    "resources": "The local target holds no replica to its CPU and memory limits: give it flags, "
    "such as --tensorflow_intra_op_parallelism=1, to bound its threads.",
    "image": "The local target runs no container: it takes the command, flags, environment and "
    "probes of the Deployment, and leaves its image, init containers, volumes and security context "
    "alone.",
    "network policy": "The local target has no network of its own, so no NetworkPolicy holds.",
}


class LocalCluster(Closing):
    """Replicas on this machine, kept by a supervisor process that ends with this one.

    Args:
        models: the directory that the container sees as `/models`.
        port: of the load balancer for gRPC; 0 takes a free one.
        rest_port: of the load balancer for REST; 0 takes a free one.
        logs: the directory for logs, one file per replica.

    Raises:
        SetupError: `$TENSORFLOW_MODEL_SERVER` names no program.
        ClusterError: a port is in use, or the directory for logs can't be written.
    """

    target = "local"
    limitations = LIMITATIONS

    def __init__(
        self,
        models: Path = settings.MODELS,
        *,
        port: int = 0,
        rest_port: int = 0,
        logs: Path = settings.LOGS,
    ) -> None:
        self._models = Path(models).resolve()
        self._program = requirements.program()
        with contextlib.ExitStack() as on_error:
            listeners = (
                on_error.enter_context(requirements.listener(port, "gRPC")),
                on_error.enter_context(requirements.listener(rest_port, "REST")),
            )
            self._load_balancer, self._rest_load_balancer = (
                f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners
            )
            self._supervisor = SupervisorClient(Path(logs).resolve(), listeners)
        self._deployment: manifest.Deployment | None = None
        self._flags: tuple[str, ...] = ()
        self._command = 0
        self.files = Scratch("files")  # that the replicas read, and that go when they do
        # Not __del__: also runs when the interpreter ends, before the modules are taken down.
        self._finalizer = weakref.finalize(self, self._supervisor.close)

    def apply(
        self,
        manifests: Path = BASE,
        *,
        replicas: int | None = None,
        args: Sequence[str] = (),
        patch: Mapping[str, Any] | None = None,
    ) -> None:
        """Makes the Deployment in a directory of manifests so, see `Cluster.apply`.

        Raises:
            ManifestError: it can't be read, or asks for what this target doesn't have.
            ClusterError: there can't be so many replicas.
        """
        deployment = manifest.read(Path(manifests), patch)
        template, path = deployment.template, deployment.path
        where = "spec.template.spec.containers[0]"
        if template.command and Path(template.command[0]).name != arguments.PROGRAM:
            cause = f"the local target knows only {arguments.PROGRAM}, not {template.command[0]}"
            step = f"Write `command: [{arguments.PROGRAM}]` and put its flags into `args:`."
            raise wrong(path, f"{where}.command", cause, step)
        flags = arguments.complete(
            template.command, arguments.merge(template.args, args), dict(template.env)
        )
        try:
            arguments.service_ports(flags)
        except ValueError as error:
            raise wrong(path, f"{where}.args", str(error), "A port is a number.") from error
        wanted = deployment.replicas if replicas is None else replicas
        requirements.check_replicas(wanted, template.memory_bytes)
        revision = Revision(
            program=self._program,
            flags=flags,
            models=self._models,
            template=template,
            way="kernel" if sys.platform == "linux" else "watcher",
        )
        self._deployment, self._flags = deployment, flags
        self._tell(
            "apply",
            name=deployment.name,
            replicas=wanted,
            max_surge=deployment.max_surge,
            max_unavailable=deployment.max_unavailable,
            recreate=deployment.recreate,
            revision=asdict(revision),
        )

    def scale(self, replicas: int) -> None:
        """Asks for another number of replicas. See `interface.Cluster.scale`."""
        requirements.check_replicas(replicas, self._applied().template.memory_bytes)
        self._tell("scale", replicas=replicas)

    def wait_until_ready(self, timeout_s: float = 300) -> Pods:
        """Waits until the replicas are as asked for. See `interface.Cluster.wait_until_ready`."""
        name = self._applied().name
        line, start = Line(), time.monotonic()
        try:
            while True:
                state = self._state()
                pods, wanted = state["pods"], state["wanted"]
                good = sum(pod["ready"] and pod["current"] for pod in pods)
                waited_s = time.monotonic() - start
                line.show(f"{name}: {diagnosis.so_far(pods, wanted)}, {waited_s:.0f} s")
                if good == wanted == len(pods):
                    return self.pods()
                self._raise_if_hopeless(pods, wanted)
                if waited_s >= timeout_s:
                    raise diagnosis.late(pods, good, wanted, timeout_s, logs=self._supervisor.logs)
                with self._supervisor.changed:
                    if self._supervisor.state is state:
                        self._supervisor.changed.wait(min(_SHOW_EVERY_S, timeout_s - waited_s))
        finally:
            line.end()

    def pods(self) -> Pods:
        """The replicas as they are now."""
        node, now = platform.node() or "localhost", time.time()
        return Pods(
            Pod(
                name=pod["name"],
                status=pod["status"],
                ready=pod["ready"],
                restarts=pod["restarts"],
                age_s=max(0.0, now - pod["made_at"]),
                address=_address(pod["ports"][0]),
                rest_address=_address(pod["ports"][1]),
                node=node,
                pid=pod["pid"],
                reason=pod["reason"],
            )
            for pod in self._state()["pods"]
        )

    @property
    def load_balancer(self) -> str:
        """`host:port` of the proxy that gives each gRPC connection to one ready replica."""
        return self._load_balancer

    @property
    def rest_load_balancer(self) -> str:
        """The same for REST."""
        return self._rest_load_balancer

    def addresses(self) -> list[str]:
        """The gRPC addresses of the ready replicas themselves."""
        return [pod.address for pod in self.pods() if pod.ready]

    def starts(self) -> list[Start]:
        """How each ready replica came up; a process needs no node, and pulls no image."""
        return [
            Start(
                pod=pod["name"],
                scheduled_s=0.0,
                pulled_s=0.0,
                started_s=pod["started_at"] - pod["made_at"],
                ready_s=pod["ready_at"] - pod["made_at"],
            )
            for pod in self._state()["pods"]
            if pod["ready"]
        ]

    def request_counts(self) -> dict[str, int]:
        """Requests answered by each ready replica. See `interface.Cluster.request_counts`."""
        path = metrics.path(arguments.value(self._flags, "monitoring_config_file"))
        return {
            pod.name: metrics.count(pages.read(pod.rest_address, path, whose=pod.name))
            for pod in self.pods()
            if pod.ready
        }

    def logs(self, pod: str | Pod) -> str:
        """What a replica has written so far; also of one that is gone."""
        name = pod.name if isinstance(pod, Pod) else pod
        log = self._supervisor.logs / f"{name}.log"
        if Path(name).name != name or not log.exists():
            raise ClusterError(
                f"there is no log of a pod {name!r}",
                next_step=f"The pods are: {', '.join(p.name for p in self.pods()) or 'none'}.",
            )
        return log.read_text(encoding="utf-8", errors="replace")

    def delete(self) -> None:
        """Removes the replicas, and those that ended sessions have left behind.

        After `close()` only the latter are left to remove.

        Raises:
            ClusterError: the supervisor is gone although nobody closed this cluster.
        """
        self._deployment = None
        if self._finalizer.alive:
            self._tell("delete")
            with self._supervisor.changed:
                self._supervisor.changed.wait_for(
                    lambda: not self._supervisor.state["pods"] or not self._supervisor.alive,
                    timeout=60,
                )
        orphans = [process for process in self._marked() if process.is_running()]
        for process in orphans:
            end_process(process.pid, process.create_time())
        psutil.wait_procs(orphans, timeout=10)
        self.files.close()

    def leftovers(self) -> list[str]:
        """The processes of this cluster, and those whose session has ended: a line each."""
        lines = []
        for process in self._marked():
            with contextlib.suppress(psutil.Error):
                lines.append(f"process {process.pid}: {' '.join(process.cmdline())[:120]}")
        return lines

    def close(self) -> None:
        """Ends the replicas and the supervisor. May be called again."""
        self._finalizer()
        self.files.close()

    def __repr__(self) -> str:
        return f"local cluster behind {self._load_balancer}, logs in {shown(self._supervisor.logs)}"

    def _tell(self, do: str, **details: Any) -> None:
        self._command = self._supervisor.send(do, **details)
        self._supervisor.wait(self._command)

    def _state(self) -> dict[str, Any]:
        return self._supervisor.wait(self._command)

    def _applied(self) -> manifest.Deployment:
        if self._deployment is None:
            raise ClusterError(
                "there is no Deployment on this cluster", next_step="Call apply() first."
            )
        return self._deployment

    def _marked(self) -> list[psutil.Process]:
        """What a supervisor started that is this cluster's, or is gone."""
        return [
            process
            for process, owner in marked(MARK)
            if owner == self._supervisor.pid or not psutil.pid_exists(owner)
        ]

    def _raise_if_hopeless(self, pods: list[dict[str, Any]], wanted: int) -> None:
        """Raises when waiting longer can't help: no model to load, or a server that ended."""
        unready = [
            pod
            for pod in pods
            if pod["current"] and not pod["ready"] and pod["status"] != "Terminating"
        ]
        if not unready or not wanted:
            return
        failed = [pod for pod in unready if pod["failed"]]
        cause, step = diagnosis.model_problem(self._flags, self._models)
        if cause:
            raise NotReadyError(f"{unready[0]['name']} can't start", cause=cause, next_step=step)
        if failed:
            raise diagnosis.failure(failed[0])


def _address(port: int) -> str:
    return f"127.0.0.1:{port}" if port else ""
