"""`AsyncClassifier`: the same for asyncio."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import grpc

from helpers import settings
from helpers.client import protos
from helpers.client.answers import ModelVersion, Prediction, predictions, versions
from helpers.client.questions import POLL_S, HasBytes, Settings, Waiting
from helpers.client.resilience import Hedge, Resilience
from helpers.errors import DeadlineError, ServerUnavailableError


class AsyncClassifier:
    """`Classifier` for asyncio: the same arguments, the same methods, awaited.

    Make it in the event loop that uses it.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        *,
        model: str = settings.MODEL_NAME,
        version: int | str | None = None,
        timeout_s: float = 10.0,
        channels: int = 1,
        balancing: str = "pick_first",
        max_attempts: int = 3,
        resilience: Resilience | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        if resilience is not None:
            timeout_s = resilience.deadline_s
        self._settings = s = Settings(
            address, model, version, timeout_s, channels, balancing, max_attempts, resilience
        )
        self.hedge: Hedge | None = None  # what hedging has cost so far, where it is on
        if resilience is not None and resilience.hedge_after_s is not None:
            self.hedge = Hedge(after_s=resilience.hedge_after_s, budget=resilience.budget)
        self._channels = [
            grpc.aio.secure_channel(s.target, credentials, options=s.options)
            if credentials is not None
            else grpc.aio.insecure_channel(s.target, options=s.options)
            for _ in range(channels)
        ]
        calls = [c.unary_unary(protos.PREDICT, None, None) for c in self._channels]
        self._predict = itertools.cycle(calls)
        self._status = self._channels[0].unary_unary(protos.GET_MODEL_STATUS, None, None)

    async def classify(
        self, photos: Sequence[bytes | HasBytes], *, timeout_s: float | None = None
    ) -> list[Prediction]:
        """`Classifier.classify`, awaited."""
        request = self._settings.predict_request(photos)
        return predictions(await self.predict(request, timeout_s=timeout_s))

    async def predict(self, request: bytes, *, timeout_s: float | None = None) -> bytes:
        """The serialized answer to a serialized PredictRequest, for who has one at hand."""
        if self.hedge is None:
            return await self._call(next(self._predict), request, timeout_s)
        return await self.hedge(lambda: self._call(next(self._predict), request, timeout_s))

    async def connected(self) -> None:
        """Waits until each channel has a connection."""
        for channel in self._channels:
            await channel.channel_ready()

    async def status(self, *, timeout_s: float | None = None) -> list[ModelVersion]:
        """`Classifier.status`, awaited."""
        request = self._settings.status_request()
        return versions(await self._call(self._status, request, timeout_s))

    async def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """`Classifier.wait_until_ready`, awaited."""
        waiting = Waiting(self._settings, timeout_s)
        while True:
            try:
                if self._settings.ready(await self.status(timeout_s=waiting.next_timeout_s())):
                    return
                waiting.go_on(None)
            except (ServerUnavailableError, DeadlineError) as error:
                waiting.go_on(error)
            await asyncio.sleep(POLL_S)

    async def _call(self, call: Any, request: bytes, timeout_s: float | None) -> bytes:
        timeout_s = self._settings.timeout_s if timeout_s is None else timeout_s
        try:
            return bytes(await call(request, timeout=timeout_s))
        except grpc.RpcError as error:
            raise self._settings.explain(error, timeout_s) from error

    async def close(self) -> None:
        """Closes the connections. Requests on their way are given up."""
        for channel in self._channels:
            await channel.close(None)

    async def __aenter__(self) -> AsyncClassifier:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
