"""What a client does about faults, as gRPC's own service config; and hedging, which gRPC lacks.

    resilient = Resilience(deadline_s=5, attempt_timeout_s=0.5)
    with Classifier(addresses, resilience=resilient) as classifier:
        classifier.classify([photo])

Retries, the budget for them, time limits of an attempt, health checks, balancing and ejection are
done inside gRPC, by request: no loop around a call can see what it sees.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from helpers.client import rpc

_Options = list[tuple[str, Any]]

# gRPC's own bounds of `retryThrottling`: a thousandth at least, a thousand at most.
_TOKENS = 100
_BURST = 10.0  # hedges that may follow each other before the budget counts
_EJECT_AFTER = 5  # requests in a second that an address has to have had before it is judged


@dataclass(frozen=True)
class Resilience:
    """How a client meets faults.

    Args:
        deadline_s: seconds for a request, all its attempts together. Each attempt is told what is
            left, so that no server works for a client that has gone.
        attempts: how often a request is sent at most, 1 to 5; again only after a code of
            `rpc.RETRIED`, or when an attempt's time was up. Either way the server may have computed
            it already, so retries are for *idempotent* calls, as classification is.
        attempt_timeout_s: seconds until an attempt is given up for another; None: never. It has to
            be more than an honest answer takes under load: otherwise the client multiplies an
            overload.
        budget: retries for each request, on the average: 0.1 is one more in ten. It is what keeps
            retries from making a failure worse.
        wait_for_ready: whether a request waits, up to its deadline, while no replica is there.
        balancing: `round_robin` over all addresses that are healthy, or `pick_first`.
        eject: whether an address half of whose answers are failures is left out for a while.
        eject_s: for how long, the first time.
        hedge_after_s: seconds without an answer after which the request is sent once more, to
            another replica, to be computed twice; the first answer counts. None: never.
            `AsyncClassifier` only.
        keepalive_s: seconds of silence after which the connection itself is asked; a peer that
            doesn't answer in as long again is given up. None: the operating system's, minutes.
    """

    deadline_s: float = 10.0
    attempts: int = 4
    attempt_timeout_s: float | None = None
    budget: float = 0.2
    wait_for_ready: bool = True
    balancing: str = "round_robin"
    eject: bool = False
    eject_s: float = 10.0
    hedge_after_s: float | None = None
    keepalive_s: float | None = 10.0

    def __post_init__(self) -> None:
        if self.balancing not in rpc.BALANCING:
            raise ValueError(f"balancing is one of {rpc.BALANCING}, not {self.balancing!r}")
        if not 1 <= self.attempts <= rpc.MAX_ATTEMPTS:
            raise ValueError(f"attempts is 1 to {rpc.MAX_ATTEMPTS}, not {self.attempts}")
        if not 0 < self.budget <= 1:
            raise ValueError(f"budget is more than 0 and at most 1, not {self.budget}")
        for name in ("deadline_s", "attempt_timeout_s", "hedge_after_s", "keepalive_s", "eject_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is more than 0, not {value}")

    def service_config(self) -> dict[str, Any]:
        """All of it but hedging and keepalive, as gRPC takes it (gRPC proposals A6, A50)."""
        config = rpc.service_config(balancing=self.balancing, max_attempts=self.attempts)
        (method,) = config["methodConfig"]
        method["waitForReady"] = self.wait_for_ready
        if "retryPolicy" in method:
            # Short, since a retry goes to another replica: the one that failed isn't waited for.
            method["retryPolicy"] |= {"initialBackoff": "0.05s", "maxBackoff": "1s"}
            if self.attempt_timeout_s is not None:
                method["retryPolicy"]["perAttemptRecvTimeout"] = f"{self.attempt_timeout_s:g}s"
        # A failed attempt takes a token, an answer brings back a share of one; with half of them
        # gone nothing is retried.
        config["retryThrottling"] = {"maxTokens": _TOKENS, "tokenRatio": self.budget}
        if self.eject:
            config["loadBalancingConfig"] = [self._ejecting(config["loadBalancingConfig"])]
        return config

    def _ejecting(self, child: list[dict[str, Any]]) -> dict[str, Any]:
        judged = {
            "threshold": 50,  # % of failures
            "enforcementPercentage": 100,
            "minimumHosts": 2,
            "requestVolume": _EJECT_AFTER,
        }
        return {
            # The name that it still has in gRPC's C core; A50 calls it outlier_detection.
            "outlier_detection_experimental": {
                "interval": "1s",
                "baseEjectionTime": f"{self.eject_s:g}s",
                "maxEjectionPercent": 50,  # never more: half of the replicas beat none
                "failurePercentageEjection": judged,
                "childPolicy": child,
            }
        }

    def channel_options(self, target: str) -> _Options:
        """The options of a channel to `target`."""
        plain = rpc.channel_options(target, balancing=self.balancing, max_attempts=self.attempts)
        options = [option for option in plain if option[0] != "grpc.service_config"]
        options.append(("grpc.service_config", json.dumps(self.service_config())))
        # `perAttemptRecvTimeout` is read only with it. Hedging itself isn't in the C core.
        options.append(("grpc.experimental.enable_hedging", 1))
        if self.keepalive_s is not None:
            silence_ms = round(self.keepalive_s * 1e3)
            options += [
                ("grpc.keepalive_time_ms", silence_ms),
                ("grpc.keepalive_timeout_ms", silence_ms),
            ]
        return options


# A client as most are: one connection, one attempt, a deadline.
PLAIN = Resilience(
    deadline_s=2.0,
    attempts=1,
    wait_for_ready=False,
    balancing="pick_first",
    keepalive_s=None,
)


class Hedge:
    """Asks a second time when an answer is late; the first answer counts, the other is cancelled.

    It cuts the tail that one slow replica makes (Dean and Barroso, The Tail at Scale, 2013), and
    costs requests: `extra` of `asked`. A budget keeps them few when everything is slow.

    Args:
        after_s: seconds to wait for an answer before asking again.
        budget: extra requests for each request, on the average.
    """

    def __init__(self, *, after_s: float, budget: float) -> None:
        self._after_s, self._budget = after_s, budget
        self._saved = _BURST
        self.asked = self.extra = self.won = 0

    async def __call__(self, call: Callable[[], Awaitable[bytes]]) -> bytes:
        """The first answer of `call`, made once or twice.

        Raises:
            grpc.RpcError: no call has an answer; the last one's failure.
        """
        self.asked += 1
        self._saved = min(self._saved + self._budget, _BURST)
        calls = {first := asyncio.ensure_future(call())}
        try:
            done, _ = await asyncio.wait(calls, timeout=self._after_s)
            if not done and self._saved >= 1:
                self._saved -= 1
                self.extra += 1
                calls.add(asyncio.ensure_future(call()))
            failure: BaseException | None = None
            while calls:
                done, calls = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    failure = each.exception()
                    if failure is None:
                        self.won += each is not first
                        return bytes(each.result())
            assert failure is not None
            raise failure
        finally:
            for each in calls:
                each.cancel()
