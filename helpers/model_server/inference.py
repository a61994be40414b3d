"""What the APIs do, whatever protocol they came by: Predict, Classify, Regress, MultiInference.

Sources: servables/tensorflow/{predict_util,classifier,regressor,multi_inference}.cc.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from helpers.model_server import examples, metrics, named_tensors
from helpers.model_server.batching import FOREVER, Answer
from helpers.model_server.loading import Model
from helpers.model_server.models import Models
from helpers.model_server.status import Code, StatusError, failed_precondition, invalid

Array = np.ndarray[Any, Any]
Signature: TypeAlias = meta_graph_pb2.SignatureDef
DEFAULT_SIGNATURE = "serving_default"
PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
_KIND = {CLASSIFY: "classification", REGRESS: "regression"}


@dataclasses.dataclass
class Call:
    """One request on its way: what it may take, and what became of it, for metrics and the log.

    Args:
        api: `Predict`, `Classify`, ...: a label of the metrics.
        deadline: of `time.monotonic()`.
    """

    api: str
    deadline: float = FOREVER
    name: str = ""
    version: int = 0
    signature: str = ""
    answer: Answer | None = None

    def take(self, spec: model_pb2.ModelSpec) -> None:
        """Note which model a request asks for."""
        self.name = spec.name
        self.signature = spec.signature_name or DEFAULT_SIGNATURE


class Inference:
    """The APIs over a set of models.

    Args:
        as_content: answer with `tensor_content` rather than typed fields.
        check_methods: insist on the signature's method name.
    """

    def __init__(self, models: Models, *, as_content: bool, check_methods: bool) -> None:
        self.models = models
        self._as_content = as_content
        self._check_methods = check_methods

    async def predict(self, request: predict_pb2.PredictRequest, call: Call) -> bytes:
        """Named tensors in, named tensors out: a serialized PredictResponse."""
        with self.use(_spec(request), call) as model:
            return await self._predict(model, request, call)

    async def classify(self, request: classification_pb2.ClassificationRequest, call: Call) -> Any:
        """Examples in, classes and scores out."""
        with self.use(_spec(request), call) as model:
            return await self._classify(model, request, call)

    async def regress(self, request: regression_pb2.RegressionRequest, call: Call) -> Any:
        """Examples in, a number each out."""
        with self.use(_spec(request), call) as model:
            return await self._regress(model, request, call)

    async def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest, call: Call
    ) -> Any:
        """One list of examples through several signatures of one model, in one run."""
        if not request.tasks:
            raise invalid("Inference request must have at least one task")
        with self.use(request.tasks[0].model_spec, call) as model:
            return await self._multi_inference(model, request, call)

    def use(
        self, spec: model_pb2.ModelSpec, call: Call
    ) -> contextlib.AbstractContextManager[Model]:
        """The version that a request asks for; it isn't unloaded meanwhile."""
        call.take(spec)  # before it is looked for: what isn't found is counted too
        return self.models.use(spec)

    # What follows works on a version that `use` holds, or that is being warmed up.

    def signature(self, model: Model, call: Call) -> Signature:
        """The signature that a call of Predict names.

        Raises:
            StatusError: there is none, or it isn't one for Predict.
        """
        signature = model.signatures.get(call.signature)
        if signature is None:
            raise failed_precondition(f'Serving signature key "{call.signature}" not found.')
        if self._check_methods and signature.method_name not in (PREDICT, CLASSIFY, REGRESS):
            raise StatusError(
                Code.INTERNAL,
                f"Expected prediction signature method_name to be one of {{{PREDICT}, {CLASSIFY}, "
                f"{REGRESS}}}. Was: {signature.method_name}",
            )
        return signature

    async def outputs(
        self,
        model: Model,
        signature: Signature,
        inputs: Mapping[str, Array],
        chosen: Sequence[str],
        call: Call,
    ) -> dict[str, Array]:
        """What Predict does between a protocol's request and its answer: alias to output.

        Args:
            inputs: graph tensor name to array.
            chosen: aliases of outputs; none: all, sorted.
        """
        aliases = named_tensors.output_aliases(signature, chosen)
        names = {alias: signature.outputs[alias].name for alias in aliases}
        found = await _run(model, inputs, names.values(), call)
        return {alias: found[name] for alias, name in names.items()}

    async def _predict(self, model: Model, request: Any, call: Call) -> bytes:
        call.take(request.model_spec)
        signature = self.signature(model, call)
        inputs = named_tensors.inputs(signature, request.inputs)
        outputs = await self.outputs(model, signature, inputs, request.output_filter, call)
        spec = _answered_by(model.name, model.version, call.signature)
        return named_tensors.written(outputs, spec, as_content=self._as_content)

    async def _classify(self, model: Model, request: Any, call: Call) -> Any:
        call.take(request.model_spec)
        (result,) = await self._infer(model, {call.signature: CLASSIFY}, request.input, call)
        spec = _answering(model, call.signature)
        return classification_pb2.ClassificationResponse(result=result, model_spec=spec)

    async def _regress(self, model: Model, request: Any, call: Call) -> Any:
        call.take(request.model_spec)
        (result,) = await self._infer(model, {call.signature: REGRESS}, request.input, call)
        spec = _answering(model, call.signature)
        return regression_pb2.RegressionResponse(result=result, model_spec=spec)

    async def _multi_inference(self, model: Model, request: Any, call: Call) -> Any:
        call.take(request.tasks[0].model_spec)
        methods: dict[str, str] = {}
        for task in request.tasks:
            if not task.model_spec.name:
                raise invalid("Found ModelSpec with an empty model name.")
            if task.model_spec.name != call.name:
                raise invalid(
                    "All ModelSpecs in a MultiInferenceRequest must access the same model name."
                )
            name = task.model_spec.signature_name or DEFAULT_SIGNATURE
            if name in methods:
                raise invalid(f"Duplicate evaluation of signature: {name}")
            if name not in model.signatures:
                raise invalid(f"Requested signature not found in model graph: {name}")
            if task.method_name not in _KIND:
                raise StatusError(
                    Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}"
                )
            methods[name] = task.method_name
        results = await self._infer(model, methods, request.input, call)
        response = inference_pb2.MultiInferenceResponse()
        for (name, method), result in zip(methods.items(), results, strict=True):
            one = response.results.add(model_spec=_answering(model, name))
            getattr(one, f"{_KIND[method]}_result").CopyFrom(result)
        return response

    async def _infer(
        self, model: Model, methods: Mapping[str, str], source: input_pb2.Input, call: Call
    ) -> list[Any]:
        """Examples through signatures, each by its method; a result a signature, in one run."""
        outputs: dict[str, dict[str, str]] = {}
        fed = set()
        for name, method in methods.items():
            signature = model.signatures.get(name)
            if signature is None:
                raise invalid(f"No signature was found with the name: {name}")
            if self._check_methods and signature.method_name != method:
                raise invalid(
                    f"Expected {_KIND[method]} signature method_name to be {method}. Was: "
                    f"{signature.method_name}"
                )
            fed.add(examples.only_input(signature, _KIND[method]))
            outputs[name] = examples.outputs(signature, classify=method == CLASSIFY)
        serialized = examples.read(source)
        wanted = [tensor for held in outputs.values() for tensor in held.values()]
        # A model of TensorFlow 2 has an input tensor a signature; each gets the same examples.
        found = await _run(model, dict.fromkeys(sorted(fed), serialized), wanted, call)
        metrics.example_counts.observe(len(serialized), model.name)
        metrics.example_count_total.add(model.name, by=len(serialized))
        results = []
        for name, method in methods.items():
            arrays = {alias: found[tensor] for alias, tensor in outputs[name].items()}
            make = examples.classes if method == CLASSIFY else examples.regressions
            results.append(make(arrays, len(serialized)))
        return results

    def metadata(self, request: get_model_metadata_pb2.GetModelMetadataRequest) -> Any:
        """The signatures of a model."""
        spec = _spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        with self.models.use(spec) as model:
            signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signatures)
            response = get_model_metadata_pb2.GetModelMetadataResponse(
                model_spec=_answering(model, "")
            )
        response.metadata["signature_def"].Pack(signatures)
        return response

    def status(self, request: get_model_status_pb2.GetModelStatusRequest) -> Any:
        """The state of each version of a model, with the error of those that failed."""
        spec = _spec(request)
        number = spec.version.value if spec.HasField("version") else None
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in self.models.versions(spec.name, number):
            status = response.model_version_status.add(version=version.number, state=version.state)
            status.status.SetInParent()
            if version.error is not None:
                status.status.error_code = version.error.code.value[0]
                status.status.error_message = version.error.message
        return response

    async def replay(self, model: Model, record: prediction_log_pb2.PredictionLog) -> None:
        """Run a recorded request against a version that isn't available yet."""
        kind = str(record.WhichOneof("log_type"))
        replays = {
            "predict_log": self._predict, "classify_log": self._classify,
            "regress_log": self._regress, "multi_inference_log": self._multi_inference,
        }  # fmt: skip
        if kind not in replays:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
        await replays[kind](model, getattr(record, kind).request, Call("Warmup"))


async def _run(
    model: Model, inputs: Mapping[str, Array], outputs: Iterable[str], call: Call
) -> dict[str, Array]:
    call.version = model.version
    begun = time.perf_counter()
    unique = list(dict.fromkeys(outputs))  # two outputs may be one tensor
    call.answer = await model.run(inputs, unique, deadline=call.deadline)
    took_us = (time.perf_counter() - begun) * 1e6
    metrics.runtime_latency.observe(took_us, model.name, call.api, "TF1")
    return dict(zip(unique, call.answer.outputs, strict=True))


def _spec(request: Any) -> model_pb2.ModelSpec:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    return request.model_spec


def _answering(model: Model, signature: str) -> model_pb2.ModelSpec:
    return model_pb2.ModelSpec.FromString(_answered_by(model.name, model.version, signature))


@functools.lru_cache(maxsize=1024)
def _answered_by(name: str, version: int, signature: str) -> bytes:
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = version
    written: bytes = spec.SerializeToString()
    return written
