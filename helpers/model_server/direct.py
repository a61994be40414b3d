"""Unary calls of grpcio's server without a thread or a task each.

`grpc.aio` takes 300 us of processor time for an empty call with a photo in it, `grpc.server` a
thread for as long as a call lasts, and a model's answer may take seconds. Here `grpc.server` keeps
all that it does but for one thing: where it would hand a call to a pool of threads, it hands it to
a `Direct`, which asks the core for the message and begins the call in the thread that gets it.
Whoever has the answer sends it. That is 100 us (`python -m benchmarks serving-parts`).

grpcio has no public API for that. What is used of its private one is in this module; the version
is pinned, and tests/model_server holds the behaviour.
"""

from __future__ import annotations

import concurrent.futures
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from grpc import _server
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from helpers.model_server import outcomes
from helpers.model_server.batching import FOREVER
from helpers.model_server.outcomes import Outcome
from helpers.model_server.status import Code, from_exception

log = logging.getLogger("model_server")
_LONGEST_S = 1e9  # the core's "no deadline" is a date beyond it
# The message of a call, and its deadline on the clock of time.monotonic(); bytes come back.
Answer = Callable[[bytes, float], Coroutine[Outcome, None, bytes]]


class Direct(concurrent.futures.ThreadPoolExecutor):
    """Stands where `grpc.server` expects a pool for a method's calls; it never has a thread.

    Args:
        answer: a method. A StatusError that it raises is the call's status. When the client goes
            away or its deadline passes, what it awaits raises a CancelledError.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(max_workers=1)
        self._answer = answer

    def submit(self, *arguments: Any, **_: Any) -> Any:
        """Begin a call: what `grpc._server._handle_unary_unary` gives to its pool."""
        _run, _respond, event, state, *_unused = arguments
        _Call(event, state, self._answer).receive()
        return _ANSWERED


class _Answered:
    """The future of a call that takes up no thread."""

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self)


_ANSWERED = _Answered()


class _Call:
    __slots__ = ("answer", "awaited", "event", "state")

    def __init__(self, event: Any, state: Any, answer: Answer) -> None:
        self.event, self.state, self.answer = event, state, answer
        self.awaited: Outcome | None = None

    def receive(self) -> None:
        """Ask for the message. The server holds the call's lock."""
        note = _server._receive_message(self.state, self.event.call, None)

        def received(event: Any) -> Any:
            finished = note(event)
            message, self.state.request = self.state.request, None
            if message is not None:
                self.begin(message)
            elif self.state.client is not _server._CANCELLED:
                self.abort(Code.UNIMPLEMENTED, "The call requires exactly one request message.")
            return finished

        self.state.callbacks.append(self.over)
        self.state.due.add(_server._RECEIVE_MESSAGE_TOKEN)
        operations = (cygrpc.ReceiveMessageOperation(0),)
        self.event.call.start_server_batch(operations, received)

    def begin(self, message: bytes) -> None:
        remaining_s = self.event.call_details.deadline - time.time()
        deadline = time.monotonic() + remaining_s if remaining_s < _LONGEST_S else FOREVER
        outcomes.drive(self.answer(message, deadline), self.finish, self.wait)

    def wait(self, awaited: Outcome) -> None:
        self.awaited = awaited
        if self.state.callbacks is None:  # it was over before there was something to cancel
            awaited.cancel()

    def over(self) -> None:
        """The call is over: answered, cancelled or past its deadline."""
        if self.awaited is not None:
            self.awaited.cancel()

    def finish(self, result: Any) -> None:
        """Send the answer, from any thread, which goes on whatever happens."""
        try:
            if isinstance(result, bytes):
                _server._status(self.event, self.state, result)
            elif isinstance(result, Exception):
                failure = from_exception(result)
                self.abort(failure.code, failure.short)
        except Exception:
            log.exception("an answer to %s couldn't be sent", self.event.call_details.method)

    def abort(self, code: Code, details: str) -> None:
        with self.state.condition:
            _server._abort(self.state, self.event.call, code.value[0], details.encode())
