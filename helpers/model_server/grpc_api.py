"""The APIs over gRPC: PredictionService, ModelService, ProfilerService, Health and reflection."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_health.v1.health import HealthServicer
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2,
    prediction_service_pb2,
)

from helpers.model_server import outcomes, profiler
from helpers.model_server.direct import Answer, Direct
from helpers.model_server.flags import Flags
from helpers.model_server.inference import Call, Inference
from helpers.model_server.metrics import finished
from helpers.model_server.status import Code, StatusError, from_exception, invalid

log = logging.getLogger("model_server")
PREDICTION_SERVICE = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]
MODEL_SERVICE = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]
_LARGEST = 2**31 - 1  # of an int in gRPC's core
# What today's core limits by default and the original's doesn't. A server that is behind answers
# late, or by its queue's rule; it never cancels what it was sent.
_NO_LIMITS = {
    "grpc.max_receive_message_length": _LARGEST,  # bytes; the original sets both
    "grpc.max_send_message_length": _LARGEST,
    # Calls that wait for the event loop: some are cancelled from 1,000 on, all from 3,000 on ...
    "grpc.server.max_pending_requests": _LARGEST,
    "grpc.server.max_pending_requests_hard_limit": _LARGEST,
    # ... and each after 30 s.
    "grpc.server_max_unrequested_time_in_server": _LARGEST,
    # A client that is stopped for a minute and answers no PING or SETTINGS keeps its connection.
    "grpc.http2.ping_timeout_ms": _LARGEST,
    "grpc.http2.settings_timeout": _LARGEST,
    "grpc.so_reuseport": 0,  # a second server on this port fails instead of sharing it
}
_COUNTED = ("Predict", "Classify", "Regress")  # by the original, in its metrics
_THREADS = 256  # at most, for health checks and reflection; a thread is made when it is needed

Serve = Callable[[Any, Call], Coroutine[Any, Any, Any]]


def build(
    flags: Flags, inference: Inference, reload: Callable[[Any], Awaitable[None]]
) -> tuple[grpc.Server, HealthServicer]:
    """The gRPC server with its services, and its health. It listens on nothing yet.

    Call it in the event loop, where everything runs but the requests for an inference.

    Args:
        reload: replaces the model configuration.

    Raises:
        StatusError: `--grpc_channel_arguments` is malformed.
    """
    options = _NO_LIMITS | _channel_arguments(flags.grpc_channel_arguments)
    threads = concurrent.futures.ThreadPoolExecutor(_THREADS, "health")
    server = grpc.server(threads, options=list(options.items()))
    loop = asyncio.get_running_loop()

    def in_loop(serve: Serve) -> Serve:
        return lambda request, call: outcomes.in_loop(loop, serve(request, call))

    async def metadata(request: Any, _: Call) -> Any:
        return inference.metadata(request)

    async def status(request: Any, _: Call) -> Any:
        return inference.status(request)

    async def handle_reload(request: Any, _: Call) -> Any:
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                "ModelConfigList is currently supported"
            )
        await reload(request.config)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response

    served: dict[str, Serve] = {
        "Predict": inference.predict, "Classify": inference.classify, "Regress": inference.regress,
        "MultiInference": inference.multi_inference, "GetModelMetadata": in_loop(metadata),
        "GetModelStatus": in_loop(status), "HandleReloadConfigRequest": in_loop(handle_reload),
    }  # fmt: skip
    services = [PREDICTION_SERVICE, MODEL_SERVICE]
    if flags.enable_profiler:
        services.append(profiler.SERVICE)
        served |= {name: in_loop(serve) for name, serve in profiler.Profiler().served().items()}
    for service in services:
        handlers = {
            method.name: _handler(_answer(method, served[method.name]))
            for method in service.methods
            if method.name in served
        }
        generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
        server.add_generic_rpc_handlers((generic,))
    names = [PREDICTION_SERVICE.full_name, MODEL_SERVICE.full_name, reflection.SERVICE_NAME]
    servicer = HealthServicer()
    if flags.enable_grpc_healthcheck_service:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        names.append(HEALTH_SERVICE)
    reflection.enable_server_reflection(names, server, pool=_PoolWithMethods())
    return server, servicer


# The original's names are the short ones; the full ones are what other tools ask for.
HEALTH_NAMES = (
    "", "PredictionService", "ModelService", PREDICTION_SERVICE.full_name, MODEL_SERVICE.full_name
)  # fmt: skip


def set_health(servicer: HealthServicer, *, serving: bool) -> None:
    """Tell whoever asks, and whoever watches, whether requests are welcome."""
    status = health_pb2.HealthCheckResponse
    for name in HEALTH_NAMES:
        servicer.set(name, status.SERVING if serving else status.NOT_SERVING)


class _PoolWithMethods:
    """The descriptors for reflection, where a method's name finds its service's file too.

    The reflection service of C++ does that and ghz relies on it; Python's pool knows no methods.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(descriptor_pool.Default(), name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802  the pool's own name
        """The file that declares a message, service or method."""
        try:
            return descriptor_pool.Default().FindFileContainingSymbol(symbol)
        except KeyError:
            return descriptor_pool.Default().FindFileContainingSymbol(symbol.rpartition(".")[0])


def _handler(answer: Answer) -> grpc.RpcMethodHandler[Any, Any]:
    def behavior(_message: bytes, _context: grpc.ServicerContext) -> bytes:
        raise AssertionError("its pool answers the calls")

    behavior.experimental_thread_pool = Direct(answer)  # type: ignore[attr-defined]
    return grpc.unary_unary_rpc_method_handler(behavior)


def _answer(method: Any, serve: Serve) -> Answer:
    request_class = message_factory.GetMessageClass(method.input_type)
    name = method.name

    async def answer(raw: bytes, deadline: float) -> bytes:
        begun = time.monotonic()
        call = Call(name, deadline=deadline)
        failure: StatusError | None = None
        try:
            response = await serve(request_class.FromString(raw), call)
            return response if isinstance(response, bytes) else response.SerializeToString()
        except DecodeError as error:
            failure = StatusError(
                Code.INTERNAL, f"Failed to parse {request_class.__name__}: {error}"
            )
        except asyncio.CancelledError:  # the client went away, or its deadline passed
            failure = StatusError(Code.CANCELLED, "Cancelled")
            raise
        except Exception as error:
            failure = from_exception(error)
            if failure.code == Code.INTERNAL and not isinstance(error, StatusError):
                log.exception("%s failed", name)
        finally:
            finished(call, failure, begun, entrypoint="GRPC", api=name, counted=name in _COUNTED)
        raise failure

    return answer


def _channel_arguments(text: str) -> dict[str, int | str]:
    arguments: dict[str, int | str] = {}
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            raise invalid(f"--grpc_channel_arguments: {item!r} is not of the form name=value")
        number = re.fullmatch("-?[0-9]{1,10}", value) and abs(int(value)) <= _LARGEST
        # What is no int32 goes to the core as text, as in the original; the core logs it.
        arguments[key.strip()] = int(value) if number else value
    return arguments
