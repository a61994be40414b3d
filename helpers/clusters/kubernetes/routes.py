"""The ways from this machine to the Service and to its pods."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from kubernetes import client

from helpers import proxies, settings
from helpers.client import addresses
from helpers.clusters.interface import Pod
from helpers.clusters.kubernetes import render
from helpers.clusters.kubernetes.forward import Forward, accepts
from helpers.clusters.kubernetes.problems import translated

_SETTLE_S = 10.0
_READING = f"the Service {render.DEPLOYMENT} can't be read"


class Routes:
    """Addresses that work from here: a load balancer's, the pods' own, or a forwarded port's.

    Args:
        core: the client.
        context: for errors to name.
        namespace: where the Service is.
        options: kubectl's, for forwarded ports.
    """

    def __init__(
        self, core: client.CoreV1Api, context: str, namespace: str, options: Sequence[str]
    ) -> None:
        self._core, self._context, self._namespace = core, context, namespace
        self._options = list(options)
        self._forwards: dict[str, Forward] = {}
        self._routed: dict[str, bool] = {}  # whether this machine reaches a load balancer's address
        self.direct: bool | None = None  # whether this machine reaches the pods' own addresses

    def service(self, port: int) -> str:
        """`host:port` of the Service: its load balancer's, or a forwarded port's.

        Forwarded where it has no load balancer, or one that is out of reach: inside another
        network, as overlays/gke-gpu asks for.
        """
        with translated(_READING, context=self._context):
            service = self._core.read_namespaced_service(render.DEPLOYMENT, self._namespace)
        address = _balancer(service, port)
        if address:
            if address not in self._routed:
                self._routed[address] = accepts(address) is not None
            if self._routed[address]:
                proxies.reach_directly(addresses.split(address)[0])
                return address
        return self._forwarded(f"service/{render.DEPLOYMENT}", port)

    def settle(self) -> None:
        """Waits until the load balancer no longer refuses, for a few seconds at most.

        The nodes' proxies learn of the first replica a moment after it is ready.
        """
        with translated(_READING, context=self._context):
            services = self._core.list_namespaced_service(
                self._namespace, field_selector=f"metadata.name={render.DEPLOYMENT}"
            )
        deadline = time.monotonic() + _SETTLE_S
        for service in services.items:
            address = _balancer(service, settings.GRPC_PORT)
            while address and accepts(address) is False and time.monotonic() < deadline:
                time.sleep(0.1)

    def pods(self, pods: Sequence[Pod]) -> list[str]:
        """`host:port` of each pod's gRPC service: its own, or a forwarded port's."""
        if self.direct is None and pods:
            self.direct = accepts(pods[0].address) is True
        if self.direct:
            proxies.reach_directly(*(addresses.split(pod.address)[0] for pod in pods))
            return [pod.address for pod in pods]
        return [self._forwarded(f"pod/{pod.name}", settings.GRPC_PORT) for pod in pods]

    def close(self) -> None:
        """Ends the forwarded ports. May be called again."""
        while self._forwards:
            self._forwards.popitem()[1].close()

    def _forwarded(self, what: str, port: int) -> str:
        key = f"{what}:{port}"
        known = self._forwards.get(key)
        if known is None or not known.alive:
            self._forwards[key] = Forward(what, port, self._options)
        return self._forwards[key].address


def _balancer(service: Any, port: int) -> str:
    """`host:port` of a Service's load balancer; empty while it has none."""
    status = service.status.load_balancer
    ingress = (status.ingress if status else None) or []
    return f"{ingress[0].ip or ingress[0].hostname}:{port}" if ingress else ""
