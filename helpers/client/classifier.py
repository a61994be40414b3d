"""`Classifier`: photos to labels, by gRPC, without TensorFlow."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import grpc

from helpers import settings
from helpers.client import protos
from helpers.client.answers import ModelVersion, Prediction, predictions, versions
from helpers.client.questions import POLL_S, HasBytes, Settings, Waiting
from helpers.client.resilience import Hedge, Resilience
from helpers.closing import Closing
from helpers.errors import DeadlineError, ServerUnavailableError


class Client:
    """The channels of a client and what it asks for. The arguments are `Classifier`'s."""

    _grpc: Any  # the module that opens the channels: grpc, or grpc.aio

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
        self.hedge: Hedge | None = None  # what hedging has cost so far, where it is on
        if resilience is not None:
            timeout_s = resilience.deadline_s
            if resilience.hedge_after_s is not None:
                if self._grpc is not grpc.aio:
                    raise ValueError("hedge_after_s needs asyncio: use AsyncClassifier")
                self.hedge = Hedge(after_s=resilience.hedge_after_s, budget=resilience.budget)
        self._settings = s = Settings(
            address, model, version, timeout_s, channels, balancing, max_attempts, resilience
        )
        self._channels = [
            self._grpc.secure_channel(s.target, credentials, options=s.options)
            if credentials is not None
            else self._grpc.insecure_channel(s.target, options=s.options)
            for _ in range(channels)
        ]
        calls = [c.unary_unary(protos.PREDICT, None, None) for c in self._channels]
        self._predict = itertools.cycle(calls)
        self._status = self._channels[0].unary_unary(protos.GET_MODEL_STATUS, None, None)


class Classifier(Client, Closing):
    """Asks a model server, or several, what is in a photo. Close it, or use it in a `with`.

    Safe to use from several threads at once.

    Args:
        address: `host:port` of a gRPC port; several for several replicas, with
            `balancing="round_robin"`; or a gRPC name such as `dns:///host:port`.
        model: the servable's name.
        version: a version's number or its label; None for the newest.
        timeout_s: seconds from a call to its answer, all attempts together.
        channels: connections, taken in turns. One is enough for a client; several let a Service
            that balances connections (ClusterIP) spread one client over its replicas.
        balancing: `pick_first` stays with the first address that answers, `round_robin` takes all
            in turns, request by request.
        max_attempts: how often a request is sent at most, 1 to 5; again only when nothing
            was computed (`rpc.RETRIED`).
        resilience: all that a client can do about faults; it takes the place of `timeout_s`,
            `balancing` and `max_attempts`.
        credentials: for TLS, as `grpc.ssl_channel_credentials` makes them; None: no TLS.
    """

    _grpc = grpc

    def classify(
        self, photos: Sequence[bytes | HasBytes], *, timeout_s: float | None = None
    ) -> list[Prediction]:
        """The labels of some photos, in one request.

        Args:
            photos: JPEG or PNG bytes, or objects that hold them in `data`.
            timeout_s: seconds until the answer; None for the classifier's own.

        Returns:
            One prediction a photo, in their order.

        Raises:
            BadRequestError: a photo isn't one, or the model has no such signature or input.
            ModelNotFoundError: the server has no such model or version.
            ServerUnavailableError: nothing answers, or the server's queue is full.
            DeadlineError: no answer within `timeout_s`.
            ServingError: anything else that went wrong there.
        """
        request = self._settings.predict_request(photos)
        return predictions(self._call(next(self._predict), request, timeout_s))

    def status(self, *, timeout_s: float | None = None) -> list[ModelVersion]:
        """The versions of the model that the server knows, and their states.

        Raises:
            ServingError: or one of its kinds, as for `classify`.
        """
        answer = self._call(self._status, self._settings.status_request(), timeout_s)
        return versions(answer)

    def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Returns as soon as the server has a version that it can serve.

        Raises:
            ModelNotFoundError: the server runs, but has no such model or can't load it.
            ServerUnavailableError: it did not come up within `timeout_s` seconds.
        """
        waiting = Waiting(self._settings, timeout_s)
        while True:
            try:
                if self._settings.ready(self.status(timeout_s=waiting.next_timeout_s())):
                    return
                waiting.go_on(None)
            except (ServerUnavailableError, DeadlineError) as error:
                waiting.go_on(error)
            time.sleep(POLL_S)

    def _call(self, call: Any, request: bytes, timeout_s: float | None) -> bytes:
        timeout_s = self._settings.timeout_s if timeout_s is None else timeout_s
        try:
            return bytes(call(request, timeout=timeout_s))
        except grpc.RpcError as error:
            raise self._settings.explain(error, timeout_s) from error

    def close(self) -> None:
        """Closes the connections. Requests on their way are given up."""
        for channel in self._channels:
            channel.close()
