"""What the `local` target honours of a Deployment, read from its manifest."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.clusters import patches, schema
from helpers.clusters.schema import wrong

_HOOKS = {"sleep", "exec"}
_SECRETS = "On `local` an environment variable has a literal `value:`."


@dataclass(frozen=True)
class Probe:
    """One probe of a container, with Kubernetes' defaults filled in.

    Args:
        action: `grpc`, `httpGet`, `tcpSocket` or `exec`.
        port: the container's port that is asked; 0 for `exec`.
        service: of the gRPC health service; empty for the server as a whole.
        path: of `httpGet`.
        scheme: of `httpGet`, `HTTP` or `HTTPS`.
        headers: of `httpGet`, as pairs.
        command: of `exec`.
        grace_period_s: from SIGTERM to SIGKILL when it has a container restarted; None: the pod's.
    """

    action: str
    port: int = 0
    service: str = ""
    path: str = "/"
    scheme: str = "HTTP"
    headers: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    initial_delay_s: int = 0
    period_s: int = 10
    timeout_s: int = 1
    failure_threshold: int = 3
    success_threshold: int = 1
    grace_period_s: int | None = None

    def __str__(self) -> str:
        if self.action == "exec":
            return f"exec {' '.join(self.command)}"
        return f"{self.action} :{self.port}{self.path if self.action == 'httpGet' else ''}"


@dataclass(frozen=True)
class PodTemplate:
    """What one replica is: the same template, the same replica.

    Args:
        command: replaces the image's entry point; empty when the image's own is used.
        args: the flags, as the manifest has them.
        env: as pairs, in order.
        ports: the numbers that the container declares.
        grace_period_s: from SIGTERM, the preStop hook included, to SIGKILL.
        pre_stop_sleep_s: how long the hook sleeps before SIGTERM.
        pre_stop_command: what the hook runs before SIGTERM.
        memory_bytes: what the container requests; 0 when it requests none.
    """

    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    ports: tuple[int, ...]
    startup: Probe | None
    readiness: Probe | None
    liveness: Probe | None
    grace_period_s: int
    pre_stop_sleep_s: int = 0
    pre_stop_command: tuple[str, ...] = ()
    memory_bytes: int = 0


@dataclass(frozen=True)
class Deployment:
    """A Deployment as far as `local` honours it.

    Args:
        name: `metadata.name`.
        path: the file it came from.
        replicas: how many.
        max_surge: pods over `replicas` while rolling out.
        max_unavailable: pods that may be missing while rolling out.
        recreate: all old pods go before the first new one starts.
        template: what each replica is.
    """

    name: str
    path: Path
    replicas: int
    max_surge: int
    max_unavailable: int
    recreate: bool
    template: PodTemplate


def read(manifests: Path, patch: Mapping[str, Any] | None = None) -> Deployment:
    """The Deployment in a directory of manifests.

    Args:
        manifests: a directory with a `deployment.yaml`, or such a file.
        patch: merged into it before anything is made of it, see `patches`.

    Raises:
        ManifestError: the file can't be read, has a field that doesn't exist or a value of
            another kind, or asks for what a process on this machine can't have.
    """
    path = Path(manifests)
    path = (path if path.suffix in (".yaml", ".yml") else path / "deployment.yaml").resolve()
    resource = patches.merge(schema.load(path), patch or {})
    schema.check(resource, path, "V1Deployment")
    spec = resource["spec"]
    replicas = _counted(spec.get("replicas", 1), path, "spec.replicas")
    strategy = spec.get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    surge, unavailable = (
        _share(rolling.get(field, "25%"), replicas, up, path, f"{_ROLLING}.{field}")
        for field, up in (("maxSurge", True), ("maxUnavailable", False))
    )
    return Deployment(
        name=resource["metadata"].get("name") or "inception",
        path=path,
        replicas=replicas,
        max_surge=surge,
        # Kubernetes refuses 0 and 0 as well; from percentages it can come about, and means 1.
        max_unavailable=unavailable if surge or unavailable else 1,
        recreate=strategy.get("type") == "Recreate",
        template=_template(spec["template"]["spec"], path),
    )


_ROLLING = "spec.strategy.rollingUpdate"
_POD = "spec.template.spec"


def _template(pod: Mapping[str, Any], path: Path) -> PodTemplate:
    containers, where = pod["containers"], f"{_POD}.containers"
    if len(containers) != 1:
        raise wrong(
            path,
            where,
            f"there are {len(containers)}, and `local` runs one process a replica",
            "Leave the model server's container alone in it.",
        )
    if pod.get("restartPolicy", "Always") != "Always":
        at = f"{_POD}.restartPolicy"
        raise wrong(path, at, f"it is {pod['restartPolicy']}", "A Deployment's is Always.")
    container, where = containers[0], f"{where}[0]"
    ports = {port.get("name", ""): port["containerPort"] for port in container.get("ports") or []}
    probes = {
        field: _probe(container[field], ports, path, f"{where}.{field}")
        for field in ("startupProbe", "readinessProbe", "livenessProbe")
        if container.get(field)
    }
    lifecycle = container.get("lifecycle") or {}
    hook = lifecycle.get("preStop") or {}
    for other in [*({*lifecycle} - {"preStop"}), *(f"preStop.{a}" for a in {*hook} - _HOOKS)]:
        at = f"{where}.lifecycle.{other}"
        raise wrong(path, at, "`local` has no such hook", "It has preStop with sleep or exec.")
    requests = (container.get("resources") or {}).get("requests") or {}
    return PodTemplate(
        command=tuple(container.get("command") or ()),
        args=tuple(container.get("args") or ()),
        env=tuple(_env(container, path, where)),
        ports=tuple(ports.values()),
        startup=probes.get("startupProbe"),
        readiness=probes.get("readinessProbe"),
        liveness=probes.get("livenessProbe"),
        grace_period_s=_counted(
            pod.get("terminationGracePeriodSeconds", 30),
            path,
            f"{_POD}.terminationGracePeriodSeconds",
        ),
        pre_stop_sleep_s=(hook.get("sleep") or {}).get("seconds", 0),
        pre_stop_command=tuple((hook.get("exec") or {}).get("command") or ()),
        memory_bytes=_bytes(requests.get("memory", 0), path, f"{where}.resources.requests.memory"),
    )


def _env(container: Mapping[str, Any], path: Path, where: str) -> list[tuple[str, str]]:
    if container.get("envFrom"):
        raise wrong(path, f"{where}.envFrom", "`local` has no ConfigMaps or Secrets", _SECRETS)
    for index, variable in enumerate(container.get("env") or []):
        if variable.get("valueFrom"):
            at = f"{where}.env[{index}].valueFrom"
            raise wrong(path, at, "`local` has nothing to take it from", _SECRETS)
    return [(v["name"], v.get("value") or "") for v in container.get("env") or []]


def _probe(probe: Mapping[str, Any], ports: Mapping[str, int], path: Path, where: str) -> Probe:
    actions = [name for name in ("grpc", "httpGet", "tcpSocket", "exec") if probe.get(name)]
    if len(actions) != 1:
        raise wrong(
            path,
            where,
            f"it has {len(actions)} actions",
            "Give it one of grpc, httpGet, tcpSocket and exec.",
        )
    action = actions[0]
    details = probe[action]
    port = details.get("port", 0)
    if isinstance(port, str) and port not in ports:
        declared = ", ".join(filter(None, ports)) or "none"
        raise wrong(
            path, f"{where}.{action}.port", f"no port is named {port!r}", f"Named: {declared}."
        )
    if isinstance(port, int) and action != "exec" and not 0 < port < 65_536:
        raise wrong(path, f"{where}.{action}.port", f"it is {port}", "Ports are 1 to 65535.")
    numbers = {
        ours: _counted(probe[field], path, f"{where}.{field}", least=least)
        for ours, field, least in (
            ("initial_delay_s", "initialDelaySeconds", 0),
            ("period_s", "periodSeconds", 1),
            ("timeout_s", "timeoutSeconds", 1),
            ("failure_threshold", "failureThreshold", 1),
            ("success_threshold", "successThreshold", 1),
            ("grace_period_s", "terminationGracePeriodSeconds", 1),
        )
        if field in probe
    }
    return Probe(
        action=action,
        port=ports[port] if isinstance(port, str) else port,
        service=details.get("service") or "",
        path=details.get("path") or "/",
        scheme=details.get("scheme") or "HTTP",
        headers=tuple((h["name"], h["value"]) for h in details.get("httpHeaders") or []),
        command=tuple(details.get("command") or ()),
        **numbers,
    )


def _counted(value: int, path: Path, where: str, *, least: int = 0) -> int:
    if value < least:
        raise wrong(path, where, f"it is {value}", f"It has to be {least} or more.")
    return value


def _share(value: Any, replicas: int, up: bool, path: Path, where: str) -> int:
    """A number of pods, or a percentage of the replicas: rounded up or down as Kubernetes does."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _counted(value, path, where)
    if isinstance(value, str) and (percent := re.fullmatch(r"(\d+)%", value)):
        share = replicas * int(percent[1]) / 100
        return math.ceil(share) if up else math.floor(share)
    raise wrong(path, where, f"it is {value!r}", "Write a number of pods or a percentage.")


_UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    f"{prefix}i": 1024.0**power for power, prefix in enumerate("KMGT", start=1)
}


def _bytes(quantity: str | float, path: Path, where: str) -> int:
    match = re.fullmatch(r"([0-9.]+)(\w*)", str(quantity))
    if not match or match[2] not in _UNITS:
        raise wrong(path, where, f"it is {quantity!r}", "Write a quantity such as 512Mi or 1Gi.")
    return int(float(match[1]) * _UNITS[match[2]])
