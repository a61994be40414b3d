"""How requests become batches: the scheduler by itself, with a function in the model's place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from running import (
    Server,
    photo_request,
    prediction_service_grpc,
    refusal,
    request,
    tensor,
)

from helpers.model_server import config
from helpers.model_server.batching import Answer, Queue, Scheduler
from helpers.model_server.config import Batching
from helpers.model_server.status import Code, StatusError, invalid

FOREVER = float("inf")
Run = Callable[[Mapping[str, Any], int], Sequence[Any]]


class Gate:
    """A model that waits until it is let through, and remembers its batches."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.batches: list[list[float]] = []
        self.timeouts_ms: list[int] = []

    def __call__(self, inputs: Mapping[str, Any], timeout_ms: int) -> Sequence[Any]:
        self.open.wait(30)
        self.batches.append(inputs["x"].ravel().tolist())
        self.timeouts_ms.append(timeout_ms)
        if (inputs["x"] < 0).any():
            raise invalid("negative")
        return [inputs["x"] * 2]


def row(*values: float) -> Mapping[str, Any]:
    return {"x": np.array(values, np.float32)}


def scheduled(run: Run, test: Callable[[Queue], Any], *, threads: int = 1, **fields: Any) -> Any:
    """Run a test with a queue; the threads are gone afterwards."""
    scheduler = Scheduler(threads=threads, name="test")
    fields.setdefault("max_execution_batch_size", fields.get("max_batch_size", 1000))

    async def main() -> Any:
        return await test(scheduler.queue(run, Batching(**fields)))

    try:
        return asyncio.run(main())
    finally:
        scheduler.close()


async def send(queue: Queue, *sent: Mapping[str, Any]) -> list[Any]:
    """All at once, in this order."""
    tasks = [asyncio.ensure_future(queue.submit(each, deadline=FOREVER)) for each in sent]
    await asyncio.sleep(0)
    return list(tasks)


async def blocked(queue: Queue, gate: Gate, *sent: Mapping[str, Any]) -> list[Any]:
    """Send while the only thread is busy with a first request, so that they gather."""
    first = await send(queue, row(0))
    while queue._batches:
        await asyncio.sleep(0.001)
    tasks = await send(queue, *sent)
    gate.open.set()
    await asyncio.gather(*first)
    return tasks


def values(answers: Sequence[Answer]) -> list[list[float]]:
    return [answer.outputs[0].tolist() for answer in answers]


def test_requests_that_come_while_the_thread_is_busy_form_one_batch() -> None:
    gate = Gate()

    async def test(queue: Queue) -> Any:
        return await asyncio.gather(*await blocked(queue, gate, row(1), row(2, 3), row(4)))

    answers = scheduled(gate, test)
    assert gate.batches == [[0.0], [1.0, 2.0, 3.0, 4.0]]
    assert values(answers) == [[2.0], [4.0, 6.0], [8.0]]
    assert [answer.batch_rows for answer in answers] == [4, 4, 4]


def test_a_batch_is_closed_by_a_request_that_does_not_fit() -> None:
    gate = Gate()

    async def test(queue: Queue) -> Any:
        return await asyncio.gather(*await blocked(queue, gate, row(1, 2), row(3, 4), row(5)))

    scheduled(gate, test, max_batch_size=3)
    assert gate.batches == [[0.0], [1.0, 2.0], [3.0, 4.0, 5.0]]


def test_a_bad_request_fails_alone() -> None:
    gate = Gate()

    async def test(queue: Queue) -> Any:
        tasks = await blocked(queue, gate, row(1), row(-1), row(2), row(3))
        return await asyncio.gather(*tasks, return_exceptions=True)

    good, bad, *more = scheduled(gate, test)
    assert bad.message == "negative"
    assert values([good, *more]) == [[2.0], [4.0], [6.0]]


def test_requests_of_different_shapes_do_not_disturb_each_other() -> None:
    gate = Gate()
    wide = {"x": np.ones((1, 2), np.float32)}

    async def test(queue: Queue) -> Any:
        return await asyncio.gather(*await blocked(queue, gate, row(1), wide, row(2)))

    assert values(scheduled(gate, test)) == [[2.0], [[2.0, 2.0]], [4.0]]


def test_variable_lengths_are_padded_with_the_first_value_where_asked() -> None:
    gate = Gate()
    short, long = ({"x": np.full((1, n), n, np.float32)} for n in (1, 3))

    async def test(queue: Queue) -> Any:
        return await asyncio.gather(*await blocked(queue, gate, short, long))

    answers = scheduled(gate, test, pad_variable_length_inputs=True)
    assert values(answers) == [[[2.0, 2.0, 2.0]], [[6.0, 6.0, 6.0]]]


def test_a_batch_is_padded_to_an_allowed_size_with_a_row_of_its_last_request() -> None:
    gate = Gate()

    async def test(queue: Queue) -> Any:
        return await asyncio.gather(*await blocked(queue, gate, row(1), row(2, 3)))

    answers = scheduled(gate, test, max_batch_size=8, allowed_batch_sizes=(1, 4, 8))
    assert gate.batches[1] == [1.0, 2.0, 3.0, 2.0]
    assert values(answers) == [[2.0], [4.0, 6.0]]


def test_a_full_queue_refuses_with_unavailable() -> None:
    gate = Gate()

    async def test(queue: Queue) -> Any:
        tasks = await blocked(queue, gate, row(1, 1), row(2, 2), row(3, 3))
        return await asyncio.gather(*tasks, return_exceptions=True)

    *_, third = scheduled(gate, test, max_batch_size=2, max_enqueued_batches=2)
    assert third.code == Code.UNAVAILABLE
    assert third.message == "The batch scheduling queue to which this task was submitted is full"


def test_a_request_larger_than_a_batch_is_refused() -> None:
    with pytest.raises(StatusError, match="Task size 3 is larger than maximum batch size 2"):
        scheduled(Gate(), lambda queue: queue.submit(row(1, 2, 3), deadline=FOREVER),
                  max_batch_size=2)  # fmt: skip


def test_a_large_request_is_split_where_asked_and_fills_the_open_batch_first() -> None:
    gate = Gate()

    async def test(queue: Queue) -> Any:
        return await asyncio.gather(*await blocked(queue, gate, row(1), row(2, 3, 4, 5, 6)))

    answers = scheduled(
        gate, test, max_batch_size=6, enable_large_batch_splitting=True, max_execution_batch_size=2
    )
    assert gate.batches == [[0.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert values(answers) == [[2.0], [4.0, 6.0, 8.0, 10.0, 12.0]]


def test_a_request_that_is_split_is_refused_whole_when_the_queue_is_full() -> None:
    gate = Gate()

    async def test(queue: Queue) -> Any:
        tasks = await blocked(queue, gate, row(1, 2, 3, 4, 5, 6), row(7))
        return await asyncio.gather(*tasks, return_exceptions=True)

    refused, answered = scheduled(
        gate, test, max_batch_size=6, enable_large_batch_splitting=True,
        max_execution_batch_size=2, max_enqueued_batches=2,
    )  # fmt: skip
    assert refused.code == Code.UNAVAILABLE
    assert answered.outputs[0].tolist() == [14.0]


def test_a_batch_waits_for_its_timeout_but_not_once_it_is_full() -> None:
    gate = Gate()
    gate.open.set()

    async def test(queue: Queue) -> Any:
        waiting = await send(queue, row(1))
        await asyncio.sleep(0.05)
        assert gate.batches == []
        return await asyncio.gather(*waiting, *await send(queue, row(2)))

    scheduled(gate, test, max_batch_size=2, batch_timeout_micros=3_600_000_000)
    assert gate.batches == [[1.0, 2.0]]


def test_a_request_whose_deadline_passed_in_the_queue_is_not_run() -> None:
    gate = Gate()

    async def test(queue: Queue) -> Any:
        loop = asyncio.get_running_loop()
        first = await send(queue, row(0))
        while queue._batches:
            await asyncio.sleep(0.001)
        late = asyncio.ensure_future(queue.submit(row(1), deadline=0.0))
        fine = asyncio.ensure_future(queue.submit(row(2), deadline=FOREVER))
        loop.call_later(0.01, gate.open.set)
        return await asyncio.gather(*first, late, fine, return_exceptions=True)

    _, late, _ = scheduled(gate, test)
    assert (
        late.code,
        late.message,
    ) == (Code.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue")
    assert gate.batches == [[0.0], [2.0]]


def test_a_request_whose_client_went_away_is_not_run() -> None:
    gate = Gate()

    async def test(queue: Queue) -> Any:
        first = await send(queue, row(0))
        while queue._batches:
            await asyncio.sleep(0.001)
        gone, stays = await send(queue, row(1), row(2))
        gone.cancel()
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(*first, stays)

    scheduled(gate, test)
    assert gate.batches == [[0.0], [2.0]]


def test_the_latest_deadline_of_a_batch_is_its_time_out() -> None:
    gate = Gate()
    gate.open.set()

    async def test(queue: Queue) -> Any:
        deadline = asyncio.get_running_loop().time() + 100  # both clocks are time.monotonic
        await queue.submit(row(1), deadline=deadline)

    scheduled(gate, test)
    assert 90_000 < gate.timeouts_ms[0] <= 100_000


def test_queues_share_the_threads_in_turn() -> None:
    gate = Gate()
    scheduler = Scheduler(threads=1, name="test")
    parameters = Batching(max_batch_size=1)

    async def test() -> None:
        first, second = (scheduler.queue(gate, parameters) for _ in range(2))
        tasks = await send(first, row(0))
        while first._batches:
            await asyncio.sleep(0.001)
        tasks += await send(first, row(1), row(2)) + await send(second, row(10), row(20))
        gate.open.set()
        await asyncio.gather(*tasks)

    asyncio.run(test())
    scheduler.close()
    assert gate.batches == [[0.0], [10.0], [1.0], [20.0], [2.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size { value: 0 }", "max_batch_size must be positive"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative"),
        ("allowed_batch_sizes: 4 allowed_batch_sizes: 2", "monotonically increasing"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "must equal max_batch_size"),
        (
            "max_batch_size { value: 8 } enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 4 } allowed_batch_sizes: 8",
            "must equal max_execution_batch_size",
        ),
        (
            "max_batch_size { value: 8 }\n  max_batch_sice { value: 8 }",
            "Error parsing text-format tensorflow.serving.BatchingParameters: 2:3: ",
        ),
        ("max_batch_size: 8", "Invalid protobuf file"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "batching.config"
    file.write_text(text)
    with pytest.raises(StatusError, match=message):
        config.batching(file)


def test_every_field_is_read(tmp_path: Path) -> None:
    file = tmp_path / "batching.config"
    file.write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 5 } "
        "max_enqueued_batches { value: 3 } num_batch_threads { value: 2 } "
        'thread_pool_name { value: "pool" } allowed_batch_sizes: 2 allowed_batch_sizes: 4 '
        "pad_variable_length_inputs: true enable_large_batch_splitting { value: true } "
        "max_execution_batch_size { value: 4 }"
    )
    assert Batching(8, 5, 3, 2, "pool", (2, 4), True, True, 4) == config.batching(file)


def test_the_tutorials_own_parameters_are_valid() -> None:
    serving = Path(__file__).resolve().parents[2] / "serving"
    assert config.batching(serving / "batching.config").max_batch_size > 0


def test_a_batch_may_wait_for_longer_than_a_lock_can() -> None:
    """2**63 - 1 microseconds is what an int64 holds; the thread goes on when the batch is full."""

    async def test(queue: Queue) -> Any:
        return await asyncio.gather(*await send(queue, row(1), row(2)))

    gate = Gate()
    gate.open.set()
    answers = scheduled(gate, test, max_batch_size=2, batch_timeout_micros=2**63 - 1)
    assert values(answers) == [[2.0], [4.0]]


def test_requests_of_different_connections_share_a_batch(server: Server) -> None:
    """Both batch threads are kept busy, so that what comes meanwhile gathers."""
    busy = [
        server.prediction.Predict.future(
            request("slow", {"seconds": tensor([0.5], "float64")}, signature="wait")
        )
        for _ in range(2)
    ]
    channels = [
        grpc.insecure_channel(f"127.0.0.1:{server.port}", [("grpc.use_local_subchannel_pool", 1)])
        for _ in range(4)
    ]
    waiting = [
        prediction_service_grpc.PredictionServiceStub(channel).Predict.future(
            request("slow", {"x": tensor([[1.0, 2.0]], "float32")})
        )
        for channel in channels
    ]
    rows = [future.result(60).outputs["rows"].int_val[0] for future in waiting]
    for future in busy:
        future.result(60)
    for channel in channels:
        channel.close()
    assert max(rows) > 1


def test_a_text_file_among_photos_fails_alone(server: Server, photo: bytes) -> None:
    busy = [
        server.prediction.Predict.future(
            request("slow", {"seconds": tensor([0.3], "float64")}, signature="wait")
        )
        for _ in range(2)
    ]
    photos = [server.prediction.Predict.future(photo_request(photo)) for _ in range(6)]
    code, _ = refusal(server.prediction.Predict, photo_request(b"a text file"))
    assert code == "INVALID_ARGUMENT"
    assert [f.result(60).outputs["classes"].string_val[0] for f in photos] == [b"red"] * 6
    assert len([future.result(60) for future in busy]) == 2
