"""`AsyncClassifier`: the same for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc

from helpers.client.answers import ModelVersion, Prediction, predictions, versions
from helpers.client.classifier import Client
from helpers.client.questions import POLL_S, HasBytes, Waiting
from helpers.errors import DeadlineError, ServerUnavailableError


class AsyncClassifier(Client):
    """`Classifier` for asyncio: the same arguments, the same methods, awaited.

    Make it in the event loop that uses it.
    """

    _grpc = grpc.aio

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

    async def __aexit__(self, *_: object) -> None:
        await self.close()
