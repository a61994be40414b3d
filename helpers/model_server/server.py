"""Start, serve, drain, stop.

As in the original the ports open when every model is loaded and warmed up, so a port that answers
is a server that is ready. On SIGTERM, unlike the original, it stops being ready, answers what is in
flight and exits with 0.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import grpc

from helpers.model_server import config, grpc_api, listening, metrics, sources, warmup
from helpers.model_server.flags import Flags
from helpers.model_server.inference import Inference
from helpers.model_server.loading import Loader, Model
from helpers.model_server.models import Models
from helpers.model_server.rest_api import Rest
from helpers.model_server.status import Code, StatusError, from_exception

log = logging.getLogger("model_server")
FAILED = 255  # the original's -1
_ON_THE_WIRE_S = 0.1  # what a client sent before it heard of the stop is still let in


def run(flags: Flags) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr,
        format="%(asctime)s.%(msecs)03d %(levelname).1s %(message)s", datefmt="%Y-%m-%d %H:%M:%S",
    )  # fmt: skip
    metrics.log_requests = flags.request_log
    # What is imported stays: a collection without it takes a few ms, not 200.
    gc.freeze()
    # What 64 requests make at once isn't garbage: looking through it took 8 % of their thread.
    gc.set_threshold(10_000)
    # A batch thread that comes back from TensorFlow waits this long for the interpreter at most.
    sys.setswitchinterval(0.0005)
    try:
        return asyncio.run(_serve(flags))
    except StatusError as error:
        log.error("Failed to start server. Error: %s", error)
        return FAILED
    except KeyboardInterrupt:
        return 130


async def _serve(flags: Flags) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics_path = config.prometheus_path(flags)
    credentials = listening.check(flags)
    configured = sources.configured(flags)
    loader = Loader(flags)

    async def warm_up(model: Model) -> None:
        if flags.enable_model_warmup:
            iterations = flags.num_request_iterations_for_warmup or 1
            await warmup.run(model, inference.replay, iterations=iterations)

    models = Models(flags, loader, warm_up)
    inference = Inference(
        models,
        as_content=flags.enable_serialization_as_tensor_content,
        check_methods=flags.enable_signature_method_name_check,
    )
    server, health = grpc_api.build(flags, inference, models.reload)
    rest = Rest(flags, inference, metrics_path)
    tasks: list[asyncio.Task[Any]] = []
    try:
        if flags.model_config_file and flags.model_config_file_poll_wait_seconds > 0:
            tasks.append(asyncio.create_task(_follow_config(flags, models)))
        if not await _before(stop, models.start(configured)):
            return 0
        _listen(flags, server, credentials)
        grpc_api.set_health(health, serving=True)
        if flags.rest_api_port:
            _listen_for_rest(rest, flags.rest_api_port)
            log.info("Exporting HTTP/REST API at:localhost:%d ...", flags.rest_api_port)
        tasks.append(asyncio.create_task(_follow_health(models, health)))
        await stop.wait()
        log.info("Stopping: requests in flight have %g s", flags.drain_timeout_seconds)
        grpc_api.set_health(health, serving=False)
        await asyncio.sleep(_ON_THE_WIRE_S)
    finally:
        for task in tasks:
            task.cancel()
        patience_s = flags.drain_timeout_seconds
        stopped, loop = server.stop(patience_s), asyncio.get_running_loop()
        await asyncio.gather(loop.run_in_executor(None, stopped.wait), rest.drain(patience_s))
        await models.close()
        await loop.run_in_executor(None, loader.close)
        if flags.grpc_socket_path:
            Path(flags.grpc_socket_path).unlink(missing_ok=True)
    log.info("Stopped")
    return 0


async def _before(stop: asyncio.Event, work: Any) -> bool:
    """Finish the work unless asked to stop before. Returns whether it finished."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return False
    working.result()
    return True


def _listen(flags: Flags, server: grpc.Server, credentials: grpc.ServerCredentials | None) -> None:
    addresses = [f"0.0.0.0:{flags.port}"] if flags.port else []
    addresses += [f"unix:{flags.grpc_socket_path}"] if flags.grpc_socket_path else []
    for address in addresses:
        try:
            if credentials is None or address.startswith("unix:"):
                server.add_insecure_port(address)
            else:
                server.add_secure_port(address, credentials)
        except RuntimeError as error:  # what was in order before the models were loaded
            if not address.startswith("unix:"):
                listening.check_port(flags.port)
            raise StatusError(Code.UNAVAILABLE, f"can't listen on {address}: {error}") from error
    server.start()
    for address in addresses:
        log.info("Running gRPC ModelServer at %s ...", address)


def _listen_for_rest(rest: Rest, port: int) -> None:
    try:
        rest.listen()
    except OSError as error:
        text = f"can't listen on port {port} for REST: {error.strerror}"
        raise StatusError(Code.UNAVAILABLE, text) from error


async def _follow_health(models: Models, health: Any) -> None:
    """Keep grpc.health.v1 true to the models (the original says SERVING for ever)."""
    said = True
    while True:
        await asyncio.sleep(1)
        if models.all_available() != said:
            said = not said
            grpc_api.set_health(health, serving=said)
            log.info("grpc.health.v1 now says %s", "SERVING" if said else "NOT_SERVING")


async def _follow_config(flags: Flags, models: Models) -> None:
    """Apply `--model_config_file` again and again, as the original does, whatever is in it.

    A file that is invalid changes nothing. A label waits here for its version.
    """
    applied, said = None, ""
    while True:
        await asyncio.sleep(flags.model_config_file_poll_wait_seconds)
        try:
            new = sources.configured(flags)
            await models.apply(new)
            models.set_labels()
        except Exception as error:
            problem = str(from_exception(error))
            if problem != said:
                log.error(
                    "%s was not applied: %s. The next try is in %d s", flags.model_config_file,
                    problem, flags.model_config_file_poll_wait_seconds,
                )  # fmt: skip
            applied, said = None, problem
        else:
            if new != applied:
                log.info("Applied %s", flags.model_config_file)
            applied, said = new, ""
