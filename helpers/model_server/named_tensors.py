"""Predict's named tensors over gRPC: what to feed of a request, and an answer's bytes.

Sources: servables/tensorflow/predict_util.cc, cc/saved_model/util.cc.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from helpers.model_server import tensors
from helpers.model_server.status import invalid

Array = np.ndarray[Any, Any]
Signature: TypeAlias = meta_graph_pb2.SignatureDef
_OUTPUTS, _MODEL_SPEC = 1, 2  # fields of a PredictResponse


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def inputs(signature: Signature, sent: Mapping[str, tensor_pb2.TensorProto]) -> dict[str, Array]:
    """What to feed: graph tensor name to array.

    Raises:
        StatusError: INVALID_ARGUMENT, it isn't what the signature asks for.
    """
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


def output_aliases(signature: Signature, chosen: Sequence[str]) -> list[str]:
    """Which outputs to answer with; none chosen: all, sorted.

    Raises:
        StatusError: INVALID_ARGUMENT, the signature has no such output, or one is chosen twice.
    """
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


def written(outputs: Mapping[str, Array], spec: bytes, *, as_content: bool) -> bytes:
    """A serialized PredictResponse.

    Args:
        outputs: by alias.
        spec: the serialized ModelSpec of what has answered.
        as_content: values go to `tensor_content` rather than to the typed fields.
    """
    response = [tensors.field(_MODEL_SPEC, spec)]
    for alias, array in outputs.items():
        tensor = tensors.serialized(array, as_content=as_content)
        entry = tensors.field(1, alias.encode()) + tensors.field(2, tensor)
        response.append(tensors.field(_OUTPUTS, entry))
    return b"".join(response)
