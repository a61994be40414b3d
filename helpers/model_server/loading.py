"""From a version's directory to a model that answers: load it, give it its queues."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from helpers.model_server import config, metrics, outcomes
from helpers.model_server.batching import FOREVER, Answer, Queue, Scheduler
from helpers.model_server.flags import Flags
from helpers.model_server.servable import SavedModel
from helpers.model_server.status import Code, StatusError, from_exception

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(eq=False)
class Model:
    """One loaded version. `run` joins its requests with those of other connections."""

    name: str
    version: int
    path: Path
    servable: Any  # SavedModel or TfliteModel
    loader: Loader
    batching: config.Batching | None
    queues: dict[tuple[Any, Any], Queue] = dataclasses.field(default_factory=dict)
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    @property
    def signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        """Every signature of the model by its name."""
        found: Mapping[str, meta_graph_pb2.SignatureDef] = self.servable.signatures
        return found

    async def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str], *, deadline: float
    ) -> Answer:
        """Run the graph, in a batch with others where batching is on.

        Args:
            inputs: graph tensor name to array.
            outputs: graph tensor names.
            deadline: of `time.monotonic()`; infinity: none.

        Raises:
            StatusError: with TensorFlow's code and text where an operation failed.
        """
        # What no rows mean is for the graph to say; there is nothing to join.
        empty = all(array.ndim and not len(array) for array in inputs.values())
        if self.batching is None or empty:
            return await self.loader.run_alone(self.servable, inputs, outputs, deadline)
        key = (tuple(sorted(inputs)), tuple(outputs))
        queue = self.queues.get(key) or self._queue(key, outputs, self.batching)
        return await queue.submit(inputs, deadline=deadline)

    def _queue(
        self, key: tuple[Any, Any], outputs: Sequence[str], batching: config.Batching
    ) -> Queue:
        with self.lock:
            if key not in self.queues:
                self.queues[key] = self.loader.scheduler.queue(
                    lambda merged, timeout_ms: self.servable.run(merged, outputs, timeout_ms),
                    batching,
                )
            return self.queues[key]

    def close(self) -> None:
        """Free it. Nothing may be running."""
        for queue in self.queues.values():
            self.loader.scheduler.remove(queue)
        self.queues.clear()  # each holds this model by what it runs
        self.servable.close()


class Loader:
    """Loads versions with the flags' session settings; owns the threads that run them."""

    def __init__(self, flags: Flags) -> None:
        self.flags = flags
        self.batching = config.server_batching(flags)
        self._session = _session_config(flags)
        if self.batching is not None:
            self.scheduler = Scheduler(
                threads=self.batching.num_batch_threads, name=self.batching.thread_pool_name
            )
        self._threads = concurrent.futures.ThreadPoolExecutor(max(1, flags.grpc_max_threads), "run")

    def load(self, name: str, version: int, path: Path) -> Model:
        """Load a version, in this thread.

        Raises:
            StatusError: with what is wrong with the directory.
        """
        begun = time.monotonic()
        try:
            model = Model(name, version, path, self._servable(path), self, self._batching(path))
        except Exception as error:
            metrics.load_attempts.add(str(path), "fail")
            raise from_exception(error) from error
        metrics.load_attempts.add(str(path), "success")
        metrics.load_latency.add(str(path), by=(time.monotonic() - begun) * 1e6)
        return model

    def _servable(self, path: Path) -> Any:
        if self.flags.prefer_tflite_model and (path / "model.tflite").exists():
            from helpers.model_server.tflite import TfliteModel

            return TfliteModel(path, interpreters=self.flags.num_tflite_pools)
        tags = frozenset(self.flags.saved_model_tags.split(","))
        return SavedModel(path, tags=tags, config=self._session)

    def _batching(self, path: Path) -> config.Batching | None:
        if self.batching is None or not self.flags.enable_per_model_batching_parameters:
            return self.batching
        file = path / "batching_params.pbtxt"
        if not file.exists():
            return None  # as the original: such a model isn't batched
        own = config.batching(file)
        return dataclasses.replace(own, thread_pool_name=self.batching.thread_pool_name)

    async def run_alone(
        self, servable: Any, inputs: Mapping[str, Array], outputs: Sequence[str], deadline: float
    ) -> Answer:
        """Run a request by itself, in one of `--grpc_max_threads` threads."""
        queued, answer = time.monotonic(), outcomes.outcome()

        def run() -> tuple[float, Sequence[Array]]:
            begun = time.monotonic()
            if begun >= deadline:
                raise StatusError(Code.DEADLINE_EXCEEDED, "Deadline exceeded before it ran")
            timeout_ms = 0 if deadline == FOREVER else int((deadline - begun) * 1e3) + 1
            return begun, servable.run(inputs, outputs, timeout_ms)

        def settle(running: concurrent.futures.Future[tuple[float, Sequence[Array]]]) -> None:
            error = running.exception()
            outcomes.settle([(answer, from_exception(error) if error else running.result())])

        self._threads.submit(run).add_done_callback(settle)
        begun, arrays = await answer
        rows = max((len(array) for array in inputs.values() if array.ndim), default=1)
        return Answer(arrays, (begun - queued) * 1e6, (time.monotonic() - begun) * 1e6, rows)

    def close(self) -> None:
        """End the threads."""
        if self.batching is not None:
            self.scheduler.close()
        self._threads.shutdown()


def _session_config(flags: Flags) -> config_pb2.ConfigProto:
    """The ConfigProto that the flags make: threads, GPU memory, data types.

    Raises:
        StatusError: a file that a flag names can't be read.
    """
    result = config_pb2.ConfigProto()
    if flags.tensorflow_session_config_file:
        result = config.read(flags.tensorflow_session_config_file, config_pb2.ConfigProto)
    both = flags.tensorflow_session_parallelism
    if both or flags.tensorflow_intra_op_parallelism:
        result.intra_op_parallelism_threads = both or flags.tensorflow_intra_op_parallelism
    if both or flags.tensorflow_inter_op_parallelism:
        result.inter_op_parallelism_threads = both or flags.tensorflow_inter_op_parallelism
    if flags.per_process_gpu_memory_fraction:
        result.gpu_options.per_process_gpu_memory_fraction = flags.per_process_gpu_memory_fraction
    if flags.mixed_precision == "bfloat16":
        rewrites = result.graph_options.rewrite_options
        rewrites.auto_mixed_precision_onednn_bfloat16 = rewrites.ON
    return result
