"""What the APIs do, whatever protocol they came by: Predict, Classify, Regress, MultiInference.

Sources: servables/tensorflow/{predict_util,classifier,regressor,multi_inference}.cc.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from tensorflow.core.framework import tensor_pb2
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

from helpers.model_server import metrics, tensors
from helpers.model_server.batching import Answer
from helpers.model_server.loading import Model
from helpers.model_server.models import Models
from helpers.model_server.status import Code, StatusError, invalid

Array = np.ndarray[Any, Any]
DEFAULT_SIGNATURE = "serving_default"
PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
FOREVER = float("inf")


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
        check_methods: Classify and Regress insist on the signature's method name.
    """

    def __init__(self, models: Models, *, as_content: bool, check_methods: bool) -> None:
        self.models = models
        self._as_content = as_content
        self._check_methods = check_methods

    async def predict(
        self, request: predict_pb2.PredictRequest, call: Call
    ) -> predict_pb2.PredictResponse:
        """Named tensors in, named tensors out."""
        _require_spec(request)
        call.take(request.model_spec)
        with self.models.use(request.model_spec) as model:
            return await self._predict(model, request, call)

    async def _predict(
        self, model: Model, request: predict_pb2.PredictRequest, call: Call
    ) -> predict_pb2.PredictResponse:
        signature = model.signatures.get(call.signature)
        if signature is None:
            raise StatusError(
                Code.FAILED_PRECONDITION, f'Serving signature key "{call.signature}" not found.'
            )
        if self._check_methods and signature.method_name not in (PREDICT, CLASSIFY, REGRESS):
            raise StatusError(
                Code.INTERNAL,
                f"Expected prediction signature method_name to be one of {{{PREDICT}, {CLASSIFY}, "
                f"{REGRESS}}}. Was: {signature.method_name}",
            )
        inputs = _inputs(signature, request.inputs)
        aliases = _output_aliases(signature, request.output_filter)
        arrays = await self._run(model, inputs, [signature.outputs[a].name for a in aliases], call)
        response = predict_pb2.PredictResponse()
        _fill_spec(response.model_spec, model, call.signature)
        for alias, array in zip(aliases, arrays, strict=True):
            tensors.fill(response.outputs[alias], array, as_content=self._as_content)
        return response

    async def _run(
        self, model: Model, inputs: Mapping[str, Array], outputs: Sequence[str], call: Call
    ) -> Sequence[Array]:
        call.version = model.version
        begun = time.perf_counter()
        unique = list(dict.fromkeys(outputs))  # two outputs may be one tensor
        call.answer = await model.run(inputs, unique, deadline=call.deadline)
        metrics.runtime_latency.observe(
            (time.perf_counter() - begun) * 1e6, model.name, call.api, "TF1"
        )
        found = dict(zip(unique, call.answer.outputs, strict=True))
        return [found[name] for name in outputs]

    async def classify(
        self, request: classification_pb2.ClassificationRequest, call: Call
    ) -> classification_pb2.ClassificationResponse:
        """Examples in, classes and scores out."""
        _require_spec(request)
        call.take(request.model_spec)
        with self.models.use(request.model_spec) as model:
            return await self._classify(model, request, call)

    async def _classify(
        self, model: Model, request: classification_pb2.ClassificationRequest, call: Call
    ) -> classification_pb2.ClassificationResponse:
        signature = self._signature(model, call.signature, CLASSIFY, "classification")
        source, outputs = _classify_tensors(signature)
        examples = _examples(request.input)
        arrays = await self._run(model, {source: examples}, outputs, call)
        _count_examples(model.name, len(examples))
        response = classification_pb2.ClassificationResponse()
        _fill_spec(response.model_spec, model, call.signature)
        _fill_classes(response.result, dict(zip(outputs, arrays, strict=True)), signature,
                      len(examples))  # fmt: skip
        return response

    async def regress(
        self, request: regression_pb2.RegressionRequest, call: Call
    ) -> regression_pb2.RegressionResponse:
        """Examples in, a number each out."""
        _require_spec(request)
        call.take(request.model_spec)
        with self.models.use(request.model_spec) as model:
            return await self._regress(model, request, call)

    async def _regress(
        self, model: Model, request: regression_pb2.RegressionRequest, call: Call
    ) -> regression_pb2.RegressionResponse:
        signature = self._signature(model, call.signature, REGRESS, "regression")
        source, output = _regress_tensors(signature)
        examples = _examples(request.input)
        arrays = await self._run(model, {source: examples}, [output], call)
        _count_examples(model.name, len(examples))
        response = regression_pb2.RegressionResponse()
        _fill_spec(response.model_spec, model, call.signature)
        _fill_regressions(response.result, arrays[0], len(examples))
        return response

    def _signature(
        self, model: Model, name: str, method: str, kind: str
    ) -> meta_graph_pb2.SignatureDef:
        signature = model.signatures.get(name)
        if signature is None:
            raise invalid(f"No signature was found with the name: {name}")
        if self._check_methods and signature.method_name != method:
            raise invalid(
                f"Expected {kind} signature method_name to be {method}. Was: "
                f"{signature.method_name}"
            )
        return signature

    async def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest, call: Call
    ) -> inference_pb2.MultiInferenceResponse:
        """One list of examples through several signatures of one model, in one run."""
        if not request.tasks:
            raise invalid("Inference request must have at least one task")  # nothing to find
        call.take(request.tasks[0].model_spec)
        with self.models.use(request.tasks[0].model_spec) as model:
            return await self._multi_inference(model, request, call)

    async def _multi_inference(
        self, model: Model, request: inference_pb2.MultiInferenceRequest, call: Call
    ) -> inference_pb2.MultiInferenceResponse:
        plans, sources, seen = [], set(), set()
        for task in request.tasks:
            if not task.model_spec.name:
                raise invalid("Found ModelSpec with an empty model name.")
            if task.model_spec.name != model.name:
                raise invalid(
                    "All ModelSpecs in a MultiInferenceRequest must access the same model name."
                )
            name = task.model_spec.signature_name or DEFAULT_SIGNATURE
            if name in seen:
                raise invalid(f"Duplicate evaluation of signature: {name}")
            seen.add(name)
            if name not in model.signatures:
                raise invalid(f"Requested signature not found in model graph: {name}")
            if task.method_name not in (CLASSIFY, REGRESS):
                raise StatusError(
                    Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}"
                )
            kind = "classification" if task.method_name == CLASSIFY else "regression"
            signature = self._signature(model, name, task.method_name, kind)
            if task.method_name == CLASSIFY:
                source, outputs = _classify_tensors(signature)
            else:
                source, output = _regress_tensors(signature)
                outputs = [output]
            sources.add(source)
            plans.append((task, name, signature, outputs))
        if len(sources) > 1:
            raise invalid("Input tensor must be the same for all Signatures.")
        examples = _examples(request.input)
        wanted = sorted({output for *_, outputs in plans for output in outputs})
        arrays = await self._run(model, {sources.pop(): examples}, wanted, call)
        _count_examples(model.name, len(examples))
        found = dict(zip(wanted, arrays, strict=True))
        response = inference_pb2.MultiInferenceResponse()
        for task, name, signature, outputs in plans:
            result = response.results.add()
            _fill_spec(result.model_spec, model, name)
            if task.method_name == CLASSIFY:
                _fill_classes(result.classification_result, found, signature, len(examples))
            else:
                _fill_regressions(result.regression_result, found[outputs[0]], len(examples))
        return response

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The signatures of a model."""
        _require_spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        with self.models.use(request.model_spec) as model:
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = model.name
            response.model_spec.version.value = model.version
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in model.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
            response.metadata["signature_def"].Pack(signatures)
        return response

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """The state of each version of a model, with the error of those that failed."""
        _require_spec(request)
        spec = request.model_spec
        number = spec.version.value if spec.HasField("version") else None
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in self.models.versions(spec.name, number):
            status = response.model_version_status.add(version=version.number, state=version.state)
            if version.error is not None:
                status.status.error_code = version.error.code.value[0]
                status.status.error_message = version.error.message
            else:
                status.status.SetInParent()
        return response

    async def replay(self, model: Model, record: prediction_log_pb2.PredictionLog) -> None:
        """Run a recorded request against a version that isn't available yet."""
        kind = record.WhichOneof("log_type")
        call = Call("Warmup")
        if kind == "predict_log":
            call.take(record.predict_log.request.model_spec)
            await self._predict(model, record.predict_log.request, call)
        elif kind == "classify_log":
            call.take(record.classify_log.request.model_spec)
            await self._classify(model, record.classify_log.request, call)
        elif kind == "regress_log":
            call.take(record.regress_log.request.model_spec)
            await self._regress(model, record.regress_log.request, call)
        elif kind == "multi_inference_log":
            tasks = record.multi_inference_log.request.tasks
            for task in tasks:  # recorded under any name: it is this model that is warmed up
                task.model_spec.name = model.name
            await self._multi_inference(model, record.multi_inference_log.request, call)
        else:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")


def _require_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


def _fill_spec(spec: model_pb2.ModelSpec, model: Model, signature: str) -> None:
    spec.name = model.name
    spec.signature_name = signature
    spec.version.value = model.version


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _inputs(
    signature: meta_graph_pb2.SignatureDef, sent: Mapping[str, tensor_pb2.TensorProto]
) -> dict[str, Array]:
    """Graph tensor name to array (predict_util.cc, and cc/saved_model/util.cc)."""
    expected, defaults = signature.inputs, signature.defaults
    if len(sent) > len(expected) or (len(sent) < len(expected) and not defaults):
        extra, missing = set(sent) - set(expected), set(expected) - set(sent)
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({{{_joined(sent)}}}) != len({{{_joined(expected)}}}). "
            f"Sent extra: {{{_joined(extra)}}}. Missing but required: {{{_joined(missing)}}}."
        )
    arrays: dict[str, Array] = {}
    for alias, info in expected.items():
        if alias not in sent and alias not in defaults:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in request and "
                f"no default value provided. Inputs expected to be in the request "
                f"{{{_joined(sent)}}}, or default input alias set: {_joined(defaults)}"
            )
        proto = sent[alias] if alias in sent else defaults[alias]
        try:
            array = tensors.to_array(proto)
        except (ValueError, MemoryError) as error:
            raise invalid(f"tensor parsing error: {alias}") from error
        if proto.dtype != info.dtype and info.dtype:
            raise invalid(
                f"Expects arg[{len(arrays)}] to be {tensors.name_of(info.dtype)} but "
                f"{tensors.name_of(proto.dtype)} is provided"
            )
        arrays[info.name] = array
    if set(sent) - set(expected):
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: "
            f"{_joined(set(sent) & set(expected))}, request input: {_joined(sent)}"
        )
    return arrays


def _output_aliases(signature: meta_graph_pb2.SignatureDef, chosen: Sequence[str]) -> list[str]:
    seen: list[str] = []
    for alias in chosen:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in "
                f"the set {{{_joined(signature.outputs)}}}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return seen or sorted(signature.outputs)


def _examples(source: input_pb2.Input) -> Array:
    """Serialized tf.Examples, each with the context's features before its own."""
    kind = source.WhichOneof("kind")
    context = b""
    examples: Sequence[Any] = []
    if kind == "example_list":
        examples = source.example_list.examples
    elif kind == "example_list_with_context":
        context = source.example_list_with_context.context.SerializeToString()
        examples = source.example_list_with_context.examples
    if not examples:
        raise invalid("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def _count_examples(name: str, count: int) -> None:
    metrics.example_counts.observe(count, name)
    metrics.example_count_total.add(name, by=count)


def _only_input(signature: meta_graph_pb2.SignatureDef, kind: str) -> str:
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if "inputs" not in signature.inputs:
        raise StatusError(
            Code.FAILED_PRECONDITION, f"No {kind} inputs found in SignatureDef: {signature}"
        )
    return str(signature.inputs["inputs"].name)


def _classify_tensors(signature: meta_graph_pb2.SignatureDef) -> tuple[str, list[str]]:
    source = _only_input(signature, "classification")
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    outputs = [signature.outputs[a].name for a in ("classes", "scores") if a in signature.outputs]
    if not outputs:
        raise StatusError(
            Code.FAILED_PRECONDITION,
            'Expected classification signature outputs to contain at least one of "classes" or '
            f'"scores". Signature was: {signature}',
        )
    return source, outputs


def _fill_classes(
    result: classification_pb2.ClassificationResult, found: Mapping[str, Array],
    signature: meta_graph_pb2.SignatureDef, count: int,
) -> None:  # fmt: skip
    arrays: dict[str, Array] = {}
    for alias, kind, name in (("classes", "O", "DT_STRING"), ("scores", "f", "DT_FLOAT")):
        if alias not in signature.outputs:
            continue
        array = arrays[alias] = found[signature.outputs[alias].name]
        if array.ndim != 2:
            raise invalid(
                f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}"
            )
        if array.dtype.kind != kind or (kind == "f" and array.dtype.itemsize != 4):
            raise invalid(f"Expected {alias} Tensor of {name}. Got: {array.dtype}")
        if len(array) != count:
            raise invalid(f"Expected {alias} output batch size of {count}. Got: {len(array)}")
    widths = {array.shape[1] for array in arrays.values()}
    if len(widths) > 1:
        raise invalid(
            "Tensors class and score should match in dim_size(1). Got "
            f"{arrays['classes'].shape[1]} vs. {arrays['scores'].shape[1]}"
        )
    for row in range(count):
        classes = result.classifications.add().classes
        for column in range(widths.copy().pop()):
            added = classes.add()
            if "classes" in arrays:
                added.label = arrays["classes"][row, column]
            if "scores" in arrays:
                added.score = arrays["scores"][row, column]


def _regress_tensors(signature: meta_graph_pb2.SignatureDef) -> tuple[str, str]:
    source = _only_input(signature, "regression")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if "outputs" not in signature.outputs:
        raise StatusError(
            Code.FAILED_PRECONDITION, f"No regression outputs found in SignatureDef: {signature}"
        )
    return source, signature.outputs["outputs"].name


def _fill_regressions(result: regression_pb2.RegressionResult, array: Array, count: int) -> None:
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{_shape(array)}"
        )
    if len(array) != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if array.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {array.dtype}")
    for value in array.reshape(-1).tolist():
        result.regressions.add(value=value)


def _shape(array: Array) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"
