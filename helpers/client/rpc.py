"""How this project calls a model server by gRPC: channels, retries, and errors in plain words."""

from __future__ import annotations

import json
from typing import Any

from helpers import proxies
from helpers.client import addresses
from helpers.errors import (
    BadRequestError,
    DeadlineError,
    ModelNotFoundError,
    ServerUnavailableError,
    ServingError,
)

BALANCING = ("pick_first", "round_robin")

# gRPC's own bound on attempts (`kMaxMaxRetryAttempts` in its retry_service_config.cc).
MAX_ATTEMPTS = 5

# What is worth another attempt. UNAVAILABLE is no proof that nothing was computed (the connection
# may have broken after the work was done): it may be retried because classification is idempotent.
# CANCELLED is how gRPC's C core, and so every server in C++ or Python, answers what comes in the
# moment in which it begins to stop, before its client has read the GOAWAY. (What the caller cancels
# itself is never sent again.)
RETRIED = ("UNAVAILABLE", "CANCELLED")

# A request larger than this buffer can't be sent again, and so isn't: gRPC's 256 kB would end
# retries at five photos.
_RETRY_BUFFER_BYTES = 64 * 2**20

_Option = tuple[str, Any]


def service_config(*, balancing: str, max_attempts: int) -> dict[str, Any]:
    """gRPC's service config: who gets a request, and when it is sent again.

    Only UNAVAILABLE and CANCELLED are retried: another replica may answer, while after any other
    failure the same request would fail again, or is too late. They don't mean that nothing was
    computed; a call that isn't idempotent must not be retried so. gRPC waits between attempts
    (0.1 s, then twice as long, each ± 20 %), counts all of them against the one deadline, and stops
    retrying altogether while most requests of a channel fail, so that clients don't keep an
    overloaded server down. Source: gRPC proposal A6, client retries.
    """
    method: dict[str, Any] = {"name": [{}]}
    if max_attempts > 1:
        method["retryPolicy"] = {
            "maxAttempts": max_attempts,
            "initialBackoff": "0.1s",
            "maxBackoff": "2s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": list(RETRIED),
        }
    return {
        "loadBalancingConfig": [{balancing: {}}],
        # A replica that says it isn't serving gets no requests (round_robin only); one that has no
        # health service, as TensorFlow Serving by default, counts as healthy.
        "healthCheckConfig": {"serviceName": ""},
        "methodConfig": [method],
        "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.1},
    }


def channel_options(address: str, *, balancing: str, max_attempts: int) -> list[_Option]:
    """The gRPC channel options that every channel of this project has."""
    options: list[_Option] = [
        # Answers with many photos' tensors pass gRPC's 4 MB; the server has no limit either.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER_BYTES),
        (
            "grpc.service_config",
            json.dumps(service_config(balancing=balancing, max_attempts=max_attempts)),
        ),
        # Without it all channels of a process to one address share one connection.
        ("grpc.use_local_subchannel_pool", 1),
        # A restarted replica is found within the deadline of a request, not minutes later.
        ("grpc.initial_reconnect_backoff_ms", 100),
        # Against its name it bounds a connection's making, which a busy server takes a while for.
        ("grpc.min_reconnect_backoff_ms", 2000),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
    if not proxies.grpc_proxy(addresses.hosts(address)):
        options.append(("grpc.enable_http_proxy", 0))
    return options


def explain(error: Any, *, address: str, model: str, timeout_s: float | None) -> ServingError:
    """The project's error for a gRPC status.

    Args:
        error: a `grpc.RpcError` that has `code()` and `details()`.
        address: where the request went.
        model: the servable that was asked for.
        timeout_s: the deadline that the request had, in seconds.

    Returns:
        The error to raise. It carries the code's name and the server's own message.
    """
    code, details = error.code().name, error.details() or ""
    kind, what, cause, next_step = _words(code, details, address, model, timeout_s)
    return kind(what, cause=cause, next_step=next_step, code=code, details=details)


_Words = tuple[type[ServingError], str, str, str]


def _words(code: str, details: str, address: str, model: str, timeout_s: float | None) -> _Words:
    name = f"{model} on {address}"
    proxy = proxies.grpc_proxy(addresses.hosts(address))
    if code in RETRIED:
        return _unavailable(details, name, address, proxy)
    if code == "DEADLINE_EXCEEDED" or "timeout exceeded while waiting in batching" in details:
        within = f" in {timeout_s:g} s" if timeout_s else " in time"
        return (
            DeadlineError,
            f"{name} did not answer{within}",
            "the server is overloaded, or still loading the model"
            + (f"; or the proxy on the way, {proxy}, doesn't reach it" if proxy else ""),
            "Read its log; allow more time with timeout_s=…, or send fewer requests at once.",
        )
    if code == "NOT_FOUND":
        return (
            ModelNotFoundError,
            f"{name} was not found",
            f"the server says: {details}",
            "Check the model's name and version against the server's --model_name and the version "
            "directories; one that was added to a running server is not found until it is loaded.",
        )
    if code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"):
        return _refused(details, name)
    if code == "RESOURCE_EXHAUSTED":
        return (
            ServingError,
            f"{name} has too little room",
            f"gRPC says: {details}",
            "Send fewer photos in a request.",
        )
    if code == "UNIMPLEMENTED":
        return (
            ServingError,
            f"What listens on {address} doesn't know this request",
            details,
            "Check the port: is it a model server's gRPC port?",
        )
    return (
        ServingError,
        f"{name} failed with {code}",
        details,
        "Read the server's log: it says what happened there.",
    )


def _unavailable(details: str, name: str, address: str, proxy: str) -> _Words:
    if "queue" in details:
        return (
            ServerUnavailableError,
            f"{name} is too busy",
            f"the server says: {details}",
            "Send fewer requests at once, add replicas, or raise max_enqueued_batches in "
            "serving/batching.config.",
        )
    if proxy and ("HTTP proxy" in details or "failed to connect" in details.lower()):
        return (
            ServerUnavailableError,
            f"{name} can't be reached by way of the proxy {proxy}",
            f"gRPC says: {details}",
            "Has the server a direct way? Then put its host into no_proxy and restart this "
            "program. Otherwise the proxy has to run, and to allow CONNECT to this port.",
        )
    if "Connection refused" in details or "failed to connect" in details.lower():
        return (
            ServerUnavailableError,
            f"Nothing answers on {address}",
            f"gRPC says: {details}",
            "Is the server running, and is this its gRPC port? It opens the port only after it has "
            "loaded the model: call wait_until_ready(), or read its log.",
        )
    return (
        ServerUnavailableError,
        f"{name} is not available",
        details,
        "Is the server stopping or restarting? Read its log, then try again.",
    )


def _refused(details: str, name: str) -> _Words:
    text = details.lower()
    if any(word in text for word in ("image", "jpeg", "png", "decode")) and (
        "unknown image" in text or "invalid" in text or "format" in text or "truncated" in text
    ):
        next_step = (
            "Send the bytes of a JPEG or PNG file, whole and unchanged; `photos.read(path)` checks "
            "a file before it is sent."
        )
    elif "input size does not match" in text or "alias" in text:
        next_step = "Use the input names of the model's signature: GetModelMetadata lists them."
    elif "signature" in text:
        next_step = "Use a signature that the model has: GetModelMetadata lists them."
    elif "batch size" in text or "task size" in text:
        next_step = (
            "Send fewer photos in a request, or raise max_batch_size in serving/batching.config."
        )
    else:
        next_step = "Correct the request: sent again unchanged, it will fail again."
    return BadRequestError, f"{name} refused the request", f"the server says: {details}", next_step
