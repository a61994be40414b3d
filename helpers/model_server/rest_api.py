"""The APIs over HTTP, and the metrics: the original's paths, bodies, codes and texts."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import re
import time
import urllib.parse
from collections.abc import Callable
from functools import partial
from typing import Any

import tornado.httpserver
import tornado.netutil
import tornado.web
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from helpers.model_server import json_answers, json_examples, json_tensors, metrics
from helpers.model_server.batching import FOREVER
from helpers.model_server.flags import Flags
from helpers.model_server.inference import DEFAULT_SIGNATURE, Call, Inference
from helpers.model_server.json_values import utf8
from helpers.model_server.loading import Model
from helpers.model_server.status import HTTP_STATUS, Code, StatusError, from_exception, invalid
from helpers.model_server.version import number_of

log = logging.getLogger("model_server")
_LARGEST_BODY = 2**31 - 1  # bytes, unpacked, as gRPC's
_LARGE_BODY = 1 << 20  # bytes; many a photo is smaller

_REQUESTS = {
    "predict": predict_pb2.PredictRequest,
    "classify": classification_pb2.ClassificationRequest,
    "regress": regression_pb2.RegressionRequest,
}
# A path may be in capitals, but not the verb: the original's pattern takes it, and then no branch.
_VERSION = r"(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?"
_PREDICTION = re.compile(rf"(?ai)/v1/models/([^/:]+){_VERSION}:((?-i:classify|regress|predict))")
_STATUS = re.compile(rf"(?ai)/v1/models(?:/([^/:]+))?{_VERSION}(?:/(metadata))?")


class Rest:
    """The HTTP server.

    Args:
        metrics_path: where Prometheus reads; None: nowhere.
    """

    def __init__(self, flags: Flags, inference: Inference, metrics_path: str | None) -> None:
        self._port = flags.rest_api_port
        handlers: list[Any] = [(r"(?i)/v1/.*", _Api, {"flags": flags, "inference": inference})]
        if metrics_path is not None:
            handlers.insert(0, (re.escape(metrics_path), _Metrics))
        application = tornado.web.Application(
            handlers, default_handler_class=_Unknown, compress_response=True,
            log_function=lambda handler: None,
        )  # fmt: skip
        self._server = tornado.httpserver.HTTPServer(
            application, decompress_request=True, max_body_size=_LARGEST_BODY
        )
        logging.getLogger("tornado.general").setLevel(logging.ERROR)

    def listen(self) -> None:
        """Accept connections on `--rest_api_port`.

        Raises:
            OSError: the port is in use.
        """
        # IPv4, where the original listens; "localhost" may be both.
        self._server.add_sockets(tornado.netutil.bind_sockets(self._port, "0.0.0.0"))  # noqa: S104

    async def drain(self, timeout_s: float) -> None:
        """Accept no more connections; wait for the requests in flight; close the connections."""
        self._server.stop()
        deadline = time.monotonic() + timeout_s
        while _Api.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await self._server.close_all_connections()


class _Unknown(tornado.web.RequestHandler):
    def prepare(self) -> None:
        self.set_status(404)
        self.set_header("Content-Type", "application/json")
        path = self.request.path
        self.finish(json.dumps({"error": f"Not found: {path}. The API is under /v1/models"}))


class _Metrics(tornado.web.RequestHandler):
    def get(self) -> None:
        self.set_header("Content-Type", "text/plain")
        self.finish(metrics.exposition())


@tornado.web.stream_request_body
class _Api(tornado.web.RequestHandler):
    in_flight = 0

    def initialize(self, flags: Flags, inference: Inference) -> None:
        self._flags = flags
        self._inference = inference
        self._chunks: list[bytes] = []
        self._size = 0
        self._running: asyncio.Task[None] | None = None

    def data_received(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > _LARGEST_BODY:  # a small body may unpack to a huge one
            self._chunks = []
            raise tornado.web.HTTPError(413)
        self._chunks.append(chunk)

    async def _serve(self) -> None:
        begun = time.monotonic()
        limit_s = self._flags.rest_api_timeout_in_ms / 1e3
        self._call = Call("", deadline=begun + limit_s if limit_s > 0 else FOREVER)
        failure: StatusError | None = None
        _Api.in_flight += 1
        self._running = asyncio.current_task()
        try:
            self._reply(200, await self._answer())
        except Exception as error:
            failure = from_exception(error)
            if failure.code == Code.INTERNAL and not isinstance(error, StatusError):
                log.exception("%s %s failed", self.request.method, self.request.path)
            self._reply(HTTP_STATUS.get(failure.code, 500), json.dumps({"error": failure.message}))
        except asyncio.CancelledError:
            failure = StatusError(Code.CANCELLED, "the client went away")
        finally:
            _Api.in_flight -= 1
            # The original's label is the path's word, and nothing for status and metadata.
            api = self._call.api.lower()
            metrics.finished(self._call, failure, begun, entrypoint="REST", api=api, counted=True)

    get = post = put = delete = patch = head = options = _serve

    def on_connection_close(self) -> None:
        """The client went away, perhaps in the middle of its body."""
        super().on_connection_close()  # ends the wait for the rest of the body
        self._chunks = []  # the handler is part of a cycle, and its collection may take long
        if self._running is not None:
            self._running.cancel()

    def _reply(self, status: int, body: str) -> None:
        self.set_status(status, http.client.responses.get(status, "Client Closed Request"))
        self.set_header("Content-Type", "application/json")
        if self._flags.rest_api_enable_cors_support:
            self.set_header("Access-Control-Allow-Origin", "*")
            self.set_header("Access-Control-Allow-Methods", "POST, GET")
            self.set_header("Access-Control-Allow-Headers", "Content-Type")
        self.finish(body)

    def write_error(self, status_code: int, **_: Any) -> None:
        """What tornado found wrong by itself, such as a body over the limit."""
        self._reply(status_code, json.dumps({"error": self._reason}))

    async def _answer(self) -> str:
        method, path = self.request.method, self.request.path
        if method == "OPTIONS" and self._flags.rest_api_enable_cors_support:
            return ""
        if method == "POST" and (match := _PREDICTION.fullmatch(path)):
            *model, action = match.groups()
            return await self._prediction(model, action)
        if method == "GET" and (match := _STATUS.fullmatch(path)):
            *model, metadata = match.groups()
            if not model[0]:
                raise invalid("Missing model name in request.")
            return self._metadata(model) if metadata == "metadata" else self._status(model)
        raise invalid(f"Malformed request: {method} {path}")

    def _request(self, kind: Any, model: list[str | None]) -> Any:
        """An empty request for the model that the path names."""
        request = kind()
        name, version, label = model
        request.model_spec.name = urllib.parse.unquote(name or "")
        self._call.take(request.model_spec)
        if version:
            number = number_of(version)
            if number is None:
                raise invalid(f"Failed to convert version: {version} to numeric.")
            request.model_spec.version.value = number
        if label:
            request.model_spec.version_label = urllib.parse.unquote(label)
        return request

    async def _prediction(self, model: list[str | None], action: str) -> str:
        self._call.api = action.capitalize()
        request = self._request(_REQUESTS[action], model)
        if action == "predict":
            return await self._predict(request.model_spec)
        await self._read(request.model_spec, partial(json_examples.fill_examples, request.input))
        response = await getattr(self._inference, action)(request, self._call)
        write = json_answers.classifications if action == "classify" else json_answers.regressions
        return write(response.result)

    async def _predict(self, spec: model_pb2.ModelSpec) -> str:
        inference, call = self._inference, self._call
        with contextlib.ExitStack() as held:

            def inputs(document: dict[str, Any]) -> tuple[Model, dict[str, Any], bool]:
                model = held.enter_context(inference.use(spec, call))
                expected = _inputs(model, spec.signature_name)
                arrays, rows = json_tensors.inputs(document, expected)
                return model, {expected[name].name: array for name, array in arrays.items()}, rows

            model, arrays, rows = await self._read(spec, inputs)
            signature = inference.signature(model, call)
            outputs = await inference.outputs(model, signature, arrays, (), call)
        return json_answers.predictions(outputs, rows=rows)

    async def _read(self, spec: model_pb2.ModelSpec, read: Callable[[dict[str, Any]], Any]) -> Any:
        """What `read` makes of the body, which then is free."""
        body, self._chunks = b"".join(self._chunks), []
        document = await _parse(body)
        spec.signature_name = utf8(document.get("signature_name", ""))
        try:
            return read(document)
        except OverflowError:
            await _parse(body, exactly=True)  # says where the number is
            raise

    def _status(self, model: list[str | None]) -> str:
        request = self._request(get_model_status_pb2.GetModelStatusRequest, model)
        return _json(self._inference.status(request))

    def _metadata(self, model: list[str | None]) -> str:
        request = self._request(get_model_metadata_pb2.GetModelMetadataRequest, model)
        request.metadata_field.append("signature_def")
        response = self._inference.metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return (
            f'{{\n"model_spec":{_json(response.model_spec)},\n"metadata": '
            f'{{"signature_def": {_json(signatures)}}}\n}}\n'
        )


def _inputs(model: Model, named: str) -> dict[str, Any]:
    """The inputs of a signature, sorted by name."""
    wanted = named or DEFAULT_SIGNATURE
    if wanted not in model.signatures:
        raise invalid(f'Serving signature name: "{wanted}" not found in signature def')
    expected = dict(sorted(model.signatures[wanted].inputs.items()))
    if not expected:
        raise invalid(f"Failed to get input map for signature: {named or 'DEFAULT'}")
    return expected


async def _parse(body: bytes, *, exactly: bool = False) -> dict[str, Any]:
    """Parse a body, in a thread where others would have to wait for it."""
    parse = partial(json_tensors.parse, body, exactly=exactly)
    if len(body) < _LARGE_BODY:
        return parse()
    return await asyncio.get_running_loop().run_in_executor(None, parse)


def _json(message: Any) -> str:
    text: str = json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True,
        indent=1,
    )  # fmt: skip
    return text
