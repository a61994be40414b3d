"""A server that misbehaves exactly as told, to see whether a load generator reports it.

    with faulty_server(service_s=0.05, stall_after=200, stall_s=2) as address:
        run = load.open_loop(address, photos, rate_per_s=100, duration_s=10)

It speaks enough of TensorFlow Serving for a client: Predict answers every photo with the same
label, GetModelStatus says AVAILABLE. What goes wrong is decided by counting requests, so that it
goes wrong in the same way on any machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import grpc

from helpers import settings
from helpers.child import Child
from helpers.client import protos
from helpers.errors import LoadError


@dataclass(frozen=True)
class Faults:
    """What a faulty server does.

    Attributes:
        service_s: seconds that each request takes.
        workers: how many requests are served at a time, the others queue; 0 for all.
        stall_after: the number of the request whose arrival stops the server; 0 for none.
        stall_s: for how many seconds nothing is answered then.
        fail_first: how many of the first requests fail.
        fail_every: one request in so many fails; 0 for none.
        code: the gRPC status of a failure, by name.
        details: its message.
        die_after: the number of the request at whose arrival the process ends; 0 for never.
        loading_asks: how often GetModelStatus says LOADING before it says AVAILABLE.
    """

    service_s: float = 0.0
    workers: int = 0
    stall_after: int = 0
    stall_s: float = 0.0
    fail_first: int = 0
    fail_every: int = 0
    code: str = "UNAVAILABLE"
    details: str = "told to fail"
    die_after: int = 0
    loading_asks: int = 0


class _Service(grpc.GenericRpcHandler):
    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.arrived = self.asked = 0
        self.stalled_until = 0.0
        self.free_at = [0.0] * faults.workers

    def service(self, handler_call_details: Any) -> Any:
        methods = {protos.PREDICT: self.predict, protos.GET_MODEL_STATUS: self.status}
        method = methods.get(handler_call_details.method)
        return grpc.unary_unary_rpc_method_handler(method) if method else None

    async def predict(self, request: bytes, context: Any) -> bytes:
        faults = self.faults
        self.arrived += 1
        number = self.arrived
        if number == faults.die_after:
            os._exit(1)
        now = asyncio.get_running_loop().time()
        if number == faults.stall_after:
            self.stalled_until = now + faults.stall_s
        await asyncio.sleep(self._end(max(now, self.stalled_until)) - now)
        if number <= faults.fail_first or (faults.fail_every and number % faults.fail_every == 0):
            await context.abort(grpc.StatusCode[faults.code], faults.details)
        photos = protos.predict_pb2.PredictRequest.FromString(request).inputs
        return _answer(protos.shape(photos[settings.PREDICT_INPUT])[0])

    def _end(self, start: float) -> float:
        """When a request that could start now is done.

        Computed, not waited for step by step: the timers' lateness doesn't add up, and a saturated
        server answers at exactly `workers / service_s`.
        """
        if self.free_at:
            worker = self.free_at.index(min(self.free_at))
            start = max(start, self.free_at[worker])
            self.free_at[worker] = start + self.faults.service_s
        return start + self.faults.service_s

    async def status(self, request: bytes, context: Any) -> bytes:
        self.asked += 1
        loading = self.asked <= self.faults.loading_asks
        response = protos.get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=1, state="LOADING" if loading else "AVAILABLE")
        return bytes(response.SerializeToString())


def _answer(count: int) -> bytes:
    response = protos.predict_pb2.PredictResponse()
    labels = protos.string_tensor([b"golden retriever", b"tennis ball"] * count)
    labels.tensor_shape.dim[0].size = count
    labels.tensor_shape.dim.add(size=2)
    response.outputs[settings.CLASSES_OUTPUT].CopyFrom(labels)
    scores = response.outputs[settings.SCORES_OUTPUT]
    scores.dtype = protos.types_pb2.DT_FLOAT
    scores.tensor_shape.CopyFrom(labels.tensor_shape)
    scores.float_val.extend([0.75, 0.25] * count)
    return bytes(response.SerializeToString())


@contextmanager
def faulty_server(**faults: Any) -> Iterator[str]:
    """Runs a faulty server in a process of its own; gives its address.

    Args:
        **faults: the fields of `Faults`.

    Raises:
        LoadError: it didn't start.
    """
    plan = json.dumps(asdict(Faults(**faults)))
    with Child("helpers.load.faulty_server", plan, failed=_failed) as child:
        yield f"127.0.0.1:{child.next()}"


def _failed(why: str) -> LoadError:
    return LoadError(
        "The faulty server didn't start", cause=why, next_step="Is each of its faults one?"
    )


async def _serve(faults: Faults) -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((_Service(faults),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    # Its standard input closes when whoever started it ends, in whatever way.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(_serve(Faults(**json.loads(sys.argv[1]))))
