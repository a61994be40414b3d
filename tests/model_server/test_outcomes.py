"""What a request waits for: settled, cancelled or failed, by whichever thread."""

import asyncio
import threading
from typing import Any

import pytest

from helpers.model_server import outcomes
from helpers.model_server.outcomes import Outcome


class Driven:
    """A coroutine that is driven, and what came of it."""

    def __init__(self, coroutine: Any) -> None:
        self.results: list[Any] = []
        self.waits: list[Outcome] = []
        outcomes.drive(coroutine, self.results.append, self.waits.append)


async def sum_of(*awaited: Outcome) -> int:
    return sum([await each for each in awaited])


def test_a_coroutine_goes_on_in_the_thread_that_settles() -> None:
    async def where() -> tuple[int, str]:
        return await first, threading.current_thread().name

    first = Outcome()
    driven = Driven(where())
    assert not driven.results
    thread = threading.Thread(target=first.settle, args=[3], name="settles")
    thread.start()
    thread.join()
    assert driven.results == [(3, "settles")]


def test_what_is_settled_before_it_is_awaited_is_not_waited_for() -> None:
    first, second = Outcome(), Outcome()
    first.settle(1)
    driven = Driven(sum_of(first, second))
    assert driven.waits == [second]
    second.settle(2)
    assert driven.results == [3]


def test_an_error_is_raised_where_it_is_awaited() -> None:
    first = Outcome()
    driven = Driven(sum_of(first))
    first.settle(ValueError("no photo"))
    assert [str(error) for error in driven.results] == ["no photo"]


def test_who_waits_is_told_once_whatever_comes_first() -> None:
    first = Outcome()
    driven = Driven(sum_of(first))
    first.cancel()
    first.settle(1)
    (error,) = driven.results
    assert isinstance(error, asyncio.CancelledError)


def test_settling_and_awaiting_at_once_loses_nothing() -> None:
    for _ in range(300):
        first = Outcome()
        thread = threading.Thread(target=first.settle, args=[1])
        thread.start()
        driven = Driven(sum_of(first))
        thread.join()
        assert driven.results == [1]


def test_the_event_loop_is_woken_once_for_all_that_wait_in_it() -> None:
    async def wait() -> tuple[list[Any], int]:
        loop, woken = asyncio.get_running_loop(), []
        wake = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *a, **k: woken.append(1) or wake(*a, **k)  # type: ignore[method-assign]
        waiting = [outcomes.outcome() for _ in range(3)]
        pairs = list(zip(waiting, range(3), strict=True))
        thread = threading.Thread(target=outcomes.settle, args=[pairs])
        thread.start()
        thread.join()
        return [await each for each in waiting], len(woken)

    assert asyncio.run(wait()) == ([0, 1, 2], 1)


def test_with_the_first_error_the_rest_is_given_up() -> None:
    first, second = Outcome(), Outcome()
    driven = Driven(outcomes.all_of([first, second]))
    first.settle(ValueError("too late"))
    assert second.done()
    assert [str(error) for error in driven.results] == ["too late"]


def test_what_runs_in_the_event_loop_is_cancelled_there_by_who_goes_away() -> None:
    async def run() -> str:
        started, ended = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            started.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.set()
                raise

        loop, driven = asyncio.get_running_loop(), []

        def elsewhere() -> None:
            driven.append(Driven(outcomes.in_loop(loop, work())))

        await loop.run_in_executor(None, elsewhere)
        await asyncio.wait_for(started.wait(), 10)
        driven[0].waits[0].cancel()
        await asyncio.wait_for(ended.wait(), 10)
        return type(driven[0].results[0]).__name__

    assert asyncio.run(run()) == "CancelledError"


@pytest.mark.parametrize("value", [None, b"", 0])
def test_nothing_is_a_result_too(value: Any) -> None:
    async def one() -> Any:
        return await first

    first = Outcome()
    driven = Driven(one())
    first.settle(value)
    assert driven.results == [value]
