"""What a request waits for, and who goes on with it: the event loop, or the thread that knows.

REST's requests are tasks of the event loop. A call of gRPC is no task: its coroutine is `drive`n
until it waits, and the thread that settles what it waits for drives it on. An answer is therefore
made, serialized and sent by the thread that ran its batch, and no thread has to be woken up for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, TypeAlias


class Outcome:
    """A result or an error that is yet to come; one coroutine may await it."""

    __slots__ = ("_done", "_lock", "_result", "_resume")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = False
        self._result: Any = None
        self._resume: Callable[[], None] | None = None

    def done(self) -> bool:
        """Whether it is settled, or whoever waited has gone."""
        return self._done

    def settle(self, result: Any) -> None:
        """Give it its result, or an exception to raise; what is already settled stays as it is."""
        with self._lock:
            if self._done:
                return
            self._done, self._result = True, result
            resume = self._resume
        if resume is not None:
            resume()

    def cancel(self) -> None:
        """Nobody waits any more: whoever awaits it gets a CancelledError."""
        self.settle(asyncio.CancelledError())

    def then(self, resume: Callable[[], None]) -> None:
        """Call this when it is settled, in the thread that settles it; at once if it is."""
        with self._lock:
            if not self._done:
                self._resume = resume
                return
        resume()

    def __await__(self) -> Generator[Outcome, None, Any]:
        if not self._done:
            yield self
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result


Awaited: TypeAlias = "Outcome | asyncio.Future[Any]"


def outcome() -> Awaited:
    """Something to wait for, of the kind that suits whoever is running."""
    try:
        return asyncio.get_running_loop().create_future()
    except RuntimeError:
        return Outcome()


def settle(pairs: Iterable[tuple[Awaited, Any]]) -> None:
    """Settle several at once, from any thread: results, or exceptions to raise.

    The event loop is woken up once for all that wait in it, and before the others are answered.
    """
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    here: list[tuple[Outcome, Any]] = []
    for awaited, result in pairs:
        if isinstance(awaited, Outcome):
            here.append((awaited, result))
        else:
            loops.setdefault(awaited.get_loop(), []).append((awaited, result))
    for loop, futures in loops.items():
        loop.call_soon_threadsafe(_settle_futures, futures)
    for awaited, result in here:
        awaited.settle(result)


def _settle_futures(pairs: Iterable[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in pairs:
        if future.done():
            continue  # the client went away
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)


async def all_of(awaited: Iterable[Awaited]) -> list[Any]:
    """Their results; with the first error, the rest is given up."""
    awaited = list(awaited)
    try:
        return [await each for each in awaited]
    finally:
        for each in awaited:
            each.cancel()
            if isinstance(each, asyncio.Future) and not each.cancelled():
                each.exception()  # or asyncio says that nobody has looked at it


async def in_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    """Await in the event loop from outside of it; who goes away cancels it there."""
    running, result = asyncio.run_coroutine_threadsafe(work, loop), Outcome()

    def finish(_: Any) -> None:
        cancelled = running.cancelled()
        result.settle(
            asyncio.CancelledError() if cancelled else running.exception() or running.result()
        )

    running.add_done_callback(finish)
    try:
        return await result
    finally:
        running.cancel()


def drive(
    coroutine: Coroutine[Outcome, None, Any],
    done: Callable[[Any], None],
    waits: Callable[[Outcome], None],
) -> None:
    """Run a coroutine up to its next `Outcome`, and go on with it from there.

    Args:
        coroutine: awaits nothing but what `outcome` and `in_loop` give.
        done: gets what it returned, or the exception that ended it.
        waits: is told what it waits for, so that this can be cancelled.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration as end:
        done(end.value)
    except BaseException as error:
        done(error)
    else:
        waits(awaited)
        awaited.then(lambda: drive(coroutine, done, waits))
