"""What a client is told to do about faults, as gRPC reads it."""

from __future__ import annotations

import asyncio
import json

import pytest

from helpers.client import PLAIN, Resilience
from helpers.client.resilience import Hedge


def test_a_plain_client_sends_once_and_waits_for_nobody() -> None:
    (method,) = PLAIN.service_config()["methodConfig"]
    assert ("retryPolicy" in method, method["waitForReady"]) == (False, False)


def test_only_what_was_not_computed_is_sent_again() -> None:
    (method,) = Resilience().service_config()["methodConfig"]
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE", "CANCELLED"]


def test_the_budget_is_grpcs_own() -> None:
    assert Resilience(budget=0.1).service_config()["retryThrottling"]["tokenRatio"] == 0.1


def test_ejection_is_around_the_balancing() -> None:
    (policy,) = Resilience(eject=True).service_config()["loadBalancingConfig"]
    assert policy["outlier_detection_experimental"]["childPolicy"] == [{"round_robin": {}}]


def test_channel_options_hold_the_service_config_once() -> None:
    options = Resilience().channel_options("127.0.0.1:1")
    (config,) = [value for name, value in options if name == "grpc.service_config"]
    assert json.loads(config) == Resilience().service_config()


@pytest.mark.parametrize(
    "wrong", [{"attempts": 6}, {"budget": 0}, {"deadline_s": -1}, {"balancing": "random"}]
)
def test_what_grpc_would_ignore_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Resilience(**wrong)  # type: ignore[arg-type]


class Answers:
    """Calls that answer when they are told to: each waits for an event of its own."""

    def __init__(self) -> None:
        self.events: list[asyncio.Event] = []
        self.cancelled = 0

    async def __call__(self) -> bytes:
        event, number = asyncio.Event(), len(self.events)
        self.events.append(event)
        try:
            await event.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return str(number).encode()

    async def made(self, count: int) -> None:
        while len(self.events) < count:
            await asyncio.sleep(0.001)


def test_a_late_answer_is_asked_for_again_and_the_first_one_counts() -> None:
    async def run() -> tuple[bytes, int]:
        answers, hedge = Answers(), Hedge(after_s=0.01, budget=1)
        asking = asyncio.ensure_future(hedge(answers))
        await answers.made(2)
        answers.events[1].set()
        answer = await asking
        await asyncio.sleep(0)
        assert (hedge.asked, hedge.extra, hedge.won) == (1, 1, 1)
        return answer, answers.cancelled

    assert asyncio.run(run()) == (b"1", 1)


def test_without_budget_nothing_is_asked_again() -> None:
    async def run() -> int:
        hedge = Hedge(after_s=0.001, budget=1e-9)
        for _ in range(10):  # what may follow each other at once
            answers = Answers()
            asking = asyncio.ensure_future(hedge(answers))
            await answers.made(2)
            answers.events[0].set()
            await asking
        answers = Answers()
        asking = asyncio.ensure_future(hedge(answers))
        await answers.made(1)
        done, _ = await asyncio.wait({asking}, timeout=0.05)
        assert not done
        answers.events[0].set()
        await asking
        return len(answers.events)

    assert asyncio.run(run()) == 1
