"""Requests of all connections become batches, by the rules of TensorFlow's SharedBatchScheduler.

Each set of (model version, inputs, outputs) has a queue of batches; one pool of threads serves all
queues in turn. A thread that becomes free takes the oldest batch of the next queue as soon as
that batch is full, or is as old as `batch_timeout_micros`. With a timeout of 0 that is greedy: a
batch is whatever came in while the processor was busy.

Unlike the original, a request that can't be run fails alone: its batch is run again in halves.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from helpers.model_server import metrics, outcomes
from helpers.model_server.config import Batching
from helpers.model_server.outcomes import Awaited
from helpers.model_server.status import (
    Code,
    StatusError,
    failed_precondition,
    from_exception,
    invalid,
)

Array = np.ndarray[Any, Any]
Inputs = Mapping[str, Array]
Run = Callable[[Inputs, int], Sequence[Array]]  # inputs, timeout in ms
FOREVER = float("inf")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a request got.

    Args:
        outputs: in the order that was asked for, with the request's own rows.
        queue_us: microseconds from its arrival to the start of its batch.
        run_us: microseconds that the batch ran.
        batch_rows: rows of the batch, padding included.
    """

    outputs: Sequence[Array]
    queue_us: float
    run_us: float
    batch_rows: int


@dataclasses.dataclass(eq=False)
class _Task:
    inputs: Inputs
    rows: int
    deadline: float  # of time.monotonic(); FOREVER: none
    answer: Awaited
    queued: float = dataclasses.field(default_factory=time.monotonic)


@dataclasses.dataclass(eq=False)
class _Batch:
    tasks: list[_Task] = dataclasses.field(default_factory=list)
    rows: int = 0
    opened: float = dataclasses.field(default_factory=time.monotonic)


class Queue:
    """The batches of one set of inputs and outputs. Made by `Scheduler.queue`."""

    def __init__(self, scheduler: Scheduler, run: Run, parameters: Batching) -> None:
        self._scheduler, self._run, self.parameters = scheduler, run, parameters
        self._batches: collections.deque[_Batch] = collections.deque()

    async def submit(self, inputs: Inputs, *, deadline: float) -> Answer:
        """Run these inputs in a batch with others, whose thread answers all of them.

        Args:
            inputs: graph tensor name to array; dimension 0 is the batch.
            deadline: of `time.monotonic()`. A request that waits longer isn't run.

        Raises:
            StatusError: the inputs can't be batched, the queue is full, the deadline passed.
        """
        rows = _rows(inputs)
        metrics.input_batch_size.observe(rows)
        most = self.parameters.max_batch_size
        if rows > most:
            raise invalid(f"Task size {rows} is larger than maximum batch size {most}")
        with self._scheduler.lock:
            tasks = [
                _Task(
                    {name: array[start:end] for name, array in inputs.items()}, end - start,
                    deadline, outcomes.outcome(),
                )
                for start, end in itertools.pairwise(self._cuts(rows))
            ]  # fmt: skip
            self._add(tasks)
            self._scheduler.changed.notify(len(tasks))
        if len(tasks) == 1:
            answer: Answer = await tasks[0].answer
            return answer
        parts: list[Answer] = await outcomes.all_of(task.answer for task in tasks)
        return Answer(
            [np.concatenate(each) for each in zip(*(part.outputs for part in parts), strict=True)],
            parts[0].queue_us,
            sum(part.run_us for part in parts),
            sum(part.batch_rows for part in parts),
        )

    # What follows is called with the scheduler's lock held.

    def _cuts(self, rows: int) -> list[int]:
        """Where a request is split, so that it fills the open batch and no part is too large."""
        if not self.parameters.enable_large_batch_splitting:
            return [0, rows]
        largest = self.parameters.largest
        room = largest - (self._batches[-1].rows if self._batches else 0)
        return [0, *range(room or largest, rows, largest), rows]

    def _add(self, tasks: Sequence[_Task]) -> None:
        """Put tasks into the open batch or into new ones, all or none."""
        opened = [self._batches[-1]] if self._batches else []
        sizes = [batch.rows for batch in opened]
        places = []
        for task in tasks:
            if not sizes or sizes[-1] + task.rows > self.parameters.largest:
                sizes.append(0)
            sizes[-1] += task.rows
            places.append(len(sizes) - 1)
        new = [_Batch() for _ in sizes[len(opened) :]]
        if new and len(self._batches) + len(new) > self.parameters.max_enqueued_batches:
            raise StatusError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full",
            )
        self._batches.extend(new)
        for place, task in zip(places, tasks, strict=True):
            batch = (opened + new)[place]
            batch.tasks.append(task)
            batch.rows += task.rows

    def _ready_at(self) -> float:
        """When the oldest batch may be run."""
        if not self._batches:
            return FOREVER
        oldest = self._batches[0]
        if len(self._batches) > 1 or oldest.rows >= self.parameters.largest:
            return 0.0  # closed: nothing more goes into it
        return oldest.opened + self.parameters.batch_timeout_micros / 1e6

    # What follows is called by a batch thread, without the lock.

    def _process(self, batch: _Batch) -> None:
        started = time.monotonic()
        groups: dict[Any, list[_Task]] = {}  # whose arrays can be joined
        for task in batch.tasks:
            metrics.queuing_latency.observe((started - task.queued) * 1e6, self._scheduler.name)
            if task.deadline <= started:
                late = "Run() timeout exceeded while waiting in batching queue"
                _deliver([task], [StatusError(Code.RESOURCE_EXHAUSTED, late)])
            elif not task.answer.done():  # done: the client went away
                pad, arrays = self.parameters.pad_variable_length_inputs, task.inputs.values()
                key = tuple(array.ndim if pad else array.shape[1:] for array in arrays)
                groups.setdefault(key, []).append(task)
        for tasks in groups.values():
            self._run_group(tasks, started)

    def _run_group(self, tasks: Sequence[_Task], started: float) -> None:
        try:
            _deliver(tasks, self._run_merged(tasks, started))
        except Exception as error:
            failure = from_exception(error)
            if len(tasks) == 1 or failure.code == Code.DEADLINE_EXCEEDED:
                _deliver(tasks, [failure] * len(tasks))
                return
            # Somebody's photo is no photo. Halves find it in a few runs, and the rest is answered.
            middle = len(tasks) // 2
            self._run_group(tasks[:middle], started)
            self._run_group(tasks[middle:], started)

    def _run_merged(self, tasks: Sequence[_Task], started: float) -> list[Answer]:
        rows = sum(task.rows for task in tasks)
        padded = self.parameters.padded(rows)
        metrics.processed_batch_size.observe(padded)
        metrics.padding_size.observe(padded - rows, str(padded))
        metrics.wrapped_run_count.add()
        merged = _merge(tasks, padded - rows)
        begun, deadline = time.monotonic(), max(task.deadline for task in tasks)
        timeout_ms = 0 if deadline == FOREVER else max(1, int((deadline - begun) * 1e3))
        outputs = self._run(merged, timeout_ms)
        run_us = (time.monotonic() - begun) * 1e6
        if any(np.ndim(output) == 0 for output in outputs):
            raise failed_precondition("Batched output tensor has 0 dimensions")
        if any(len(output) != padded for output in outputs):
            raise failed_precondition(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                "dimension sizes of the input tensors"
            )
        ends = [0, *itertools.accumulate(task.rows for task in tasks)]
        return [
            Answer([o[start:end] for o in outputs], (started - t.queued) * 1e6, run_us, padded)
            for t, (start, end) in zip(tasks, itertools.pairwise(ends), strict=True)
        ]


class Scheduler:
    """Threads that run the batches of all queues in turn.

    Args:
        threads: how many batches run at once.
        name: of the pool, a label of the queuing latency.
    """

    def __init__(self, *, threads: int, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self._queues: list[Queue] = []
        self._next = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{index}", daemon=True)
            for index in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def queue(self, run: Run, parameters: Batching) -> Queue:
        """A new queue, whose batches are run by `run` in one of the threads."""
        queue = Queue(self, run, parameters)
        with self.lock:
            self._queues.append(queue)
        return queue

    def remove(self, queue: Queue) -> None:
        """Forget a queue that gets no more requests."""
        with self.lock:
            self._queues.remove(queue)

    def close(self) -> None:
        """Let the threads finish what they run, and end them."""
        with self.lock:
            self._closed = True
            self.changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            queue, batch = taken
            queue._process(batch)
            # An idle thread would keep the last batch, and the version that it ran on, in memory.
            del taken, queue, batch

    def _take(self) -> tuple[Queue, _Batch] | None:
        with self.lock:
            while not self._closed:
                now, soonest = time.monotonic(), FOREVER
                for offset in range(len(self._queues)):
                    index = (self._next + offset) % len(self._queues)
                    queue = self._queues[index]
                    ready_at = queue._ready_at()
                    if ready_at <= now:
                        self._next = index + 1
                        return queue, queue._batches.popleft()
                    soonest = min(soonest, ready_at)
                # A timeout of 2**63 microseconds is allowed, and is more than a lock can wait.
                self.changed.wait(min(soonest - now, threading.TIMEOUT_MAX))
        return None


def _rows(inputs: Inputs) -> int:
    if any(array.ndim == 0 for array in inputs.values()):
        raise invalid("Batching Run() input tensors must have at least one dimension")
    sizes = {len(array) for array in inputs.values()}
    if len(sizes) > 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop() if sizes else 0


def _merge(tasks: Sequence[_Task], padding: int) -> Inputs:
    if len(tasks) == 1 and not padding:
        return tasks[0].inputs
    merged = {}
    for name in tasks[0].inputs:
        arrays = [task.inputs[name] for task in tasks]
        shape = np.max([array.shape[1:] for array in arrays], axis=0)
        arrays = [_grown(array, shape) for array in arrays]
        # A row of the last request is valid input, so it is safe to pad with.
        merged[name] = np.concatenate(arrays + [arrays[-1][:1]] * padding)
    return merged


def _grown(array: Array, shape: Sequence[int]) -> Array:
    """Grow all dimensions but the first, with the array's first value, as the original does."""
    missing = [int(size - own) for size, own in zip(shape, array.shape[1:], strict=True)]
    if not any(missing):
        return array
    if not array.size:
        raise invalid("Got empty tensor in batch of non-empty tensors.")
    return np.pad(array, [(0, 0), *((0, size) for size in missing)], constant_values=array.flat[0])


def _deliver(tasks: Sequence[_Task], results: Sequence[Answer | StatusError]) -> None:
    outcomes.settle(zip((task.answer for task in tasks), results, strict=True))
