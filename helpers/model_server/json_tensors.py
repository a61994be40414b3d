"""JSON to tensors and back, as util/json_tensor.cc does it: rows, columns, `b64` and `_bytes`."""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    input_pb2,
    predict_pb2,
    regression_pb2,
)

from helpers.model_server import tensors
from helpers.model_server.status import Code, StatusError, invalid

_INTEGERS = {  # the range of each as rapidjson checks it; narrower types wrap around
    types_pb2.DT_INT32: (-(2**31), 2**31 - 1),
    types_pb2.DT_INT16: (-(2**31), 2**31 - 1),
    types_pb2.DT_INT8: (-(2**31), 2**31 - 1),
    types_pb2.DT_UINT8: (-(2**31), 2**31 - 1),
    types_pb2.DT_INT64: (-(2**63), 2**63 - 1),
    types_pb2.DT_UINT32: (0, 2**32 - 1),
    types_pb2.DT_UINT64: (0, 2**64 - 1),
}
_EXACT = {  # the largest whole number that each holds exactly, its largest value, its name
    types_pb2.DT_FLOAT: (2**24 - 1, float(np.finfo(np.float32).max), "float"),
    types_pb2.DT_DOUBLE: (2**53 - 1, float(np.finfo(np.float64).max), "double"),
}


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        StatusError: INVALID_ARGUMENT, it is none.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from error
    except UnicodeDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid encoding at offset: {error.start}") from error
    except (RecursionError, ValueError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_text(document)} Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise invalid(
            f"JSON Value: {_text(document)} not formatted correctly. 'signature_name' key must be "
            "a string value."
        )
    return document


def fill_predict(
    request: predict_pb2.PredictRequest,
    document: Mapping[str, Any],
    expected: Mapping[str, meta_graph_pb2.TensorInfo],
) -> bool:
    """Fill a request's inputs from `instances` (rows) or `inputs` (columns).

    Args:
        expected: the signature's inputs.

    Returns:
        Whether they were rows; the answer has the same form.

    Raises:
        StatusError: INVALID_ARGUMENT, with the original's text.
    """
    both = "instances" in document and "inputs" in document
    if both:
        raise invalid(
            f"JSON Value: {_text(document)} Not formatted correctly expecting only one of 'inputs' "
            "or 'instances' keys to exist "
        )
    if "instances" in document:
        _fill_rows(request, document, expected)
        return True
    if "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    value = document["inputs"]
    if isinstance(value, dict) and not _is_b64(value):
        for name, info in expected.items():
            if name not in value:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
            _fill(request, name, _dense(value[name], info.dtype))
    elif len(expected) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map"
        )
    else:
        for name, info in expected.items():
            _fill(request, name, _dense(value, info.dtype))
    return False


def _fill(request: predict_pb2.PredictRequest, name: str, array: np.ndarray[Any, Any]) -> None:
    tensors.fill(request.inputs[name], array, as_content=array.dtype != object)


def _fill_rows(
    request: predict_pb2.PredictRequest,
    document: Mapping[str, Any],
    expected: Mapping[str, meta_graph_pb2.TensorInfo],
) -> None:
    rows = document["instances"]
    if not isinstance(rows, list):
        raise invalid(f"JSON Value: {_text(document)} Excepting 'instances' to be an list/array")
    if not rows:
        raise invalid(f"JSON Value: {_text(document)} No values in 'instances' array")
    named = _is_object(rows[0])
    if not named and len(expected) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    columns: dict[str, list[Any]] = {name: [] for name in expected}
    for index, row in enumerate(rows):
        if named != _is_object(row):
            kinds = ("object", "list") if named else ("value/list", "object")
            raise invalid(f"Expecting {kinds[0]} but got {kinds[1]} at item {index} of input list")
        if not named:
            columns[next(iter(expected))].append(row)
            continue
        for name in row:
            if name not in columns:
                raise invalid(
                    f"Failed to process element: {index} key: {name} of 'instances' list. Error: "
                    f"INVALID_ARGUMENT: JSON object: does not have named input: {name}"
                )
            columns[name].append(row[name])
        if row.keys() != columns.keys():
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{_text(row)} keys must be equal to: {','.join(sorted(expected))}"
            )
    for name, values in columns.items():
        _fill(request, name, _stack(values, expected[name].dtype, name if named else ""))


def _stack(values: list[Any], dtype: int, key: str) -> np.ndarray[Any, Any]:
    """Rows of equal shape as one array; if that fails, the row at fault is looked for."""
    try:
        return _dense(values, dtype)
    except StatusError:
        shape: tuple[int, ...] | None = None
        for index, value in enumerate(values):
            place = f"element: {index} key: {key}" if key else f"element: {index}"
            try:
                row = _dense(value, dtype)
                if shape is not None and row.shape != shape:
                    known, got = math.prod(shape), row.size
                    if known != got:
                        raise invalid(f"Expecting tensor size: {known} but got: {got}")
                    raise invalid(f"Expecting shape {_shape(shape)} but got: {_shape(row.shape)}")
            except StatusError as error:
                raise invalid(
                    f"Failed to process {place} of 'instances' list. Error: {error}"
                ) from error
            shape = row.shape
        raise


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _dense(value: Any, dtype: int) -> np.ndarray[Any, Any]:
    """A JSON value, however deeply nested, as an array of a signature's type."""
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    level = [value]
    for depth, size in enumerate(shape):
        for item in level:
            if not isinstance(item, list):
                raise invalid(
                    f"JSON Value: {_text(item)} found at incorrect level: {depth + 1} in the JSON "
                    f"DOM. Expected at level: {len(shape)}"
                )
            if len(item) != size:
                raise invalid(
                    f"Encountered list at unexpected size: {len(item)} at level: {depth} expected "
                    f"size: {size}"
                )
        level = list(itertools.chain.from_iterable(level))
    if list in set(map(type, level)):
        raise invalid(f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}")
    return _values(level, dtype).reshape(shape)


def _values(values: list[Any], dtype: int) -> np.ndarray[Any, Any]:
    if dtype == types_pb2.DT_STRING:
        array = np.empty(len(values), object)
        array[:] = [_bytes(value, dtype) for value in values]
        return array
    kinds = set(map(type, values))
    if dict in kinds:
        raise _type_error(next(v for v in values if isinstance(v, dict)), dtype)
    if dtype in _EXACT:
        if not kinds <= {int, float}:
            raise _type_error(next(v for v in values if type(v) not in (int, float)), dtype)
        whole, largest, name = _EXACT[dtype]
        for value in values:
            bad = abs(value) > whole if type(value) is int else largest < abs(value) < math.inf
            if bad:
                raise invalid(
                    f"Cannot convert JSON value: {_text(value)} to {name} without loss of "
                    "precision."
                )
        return np.array(values, np.float32 if dtype == types_pb2.DT_FLOAT else np.float64)
    if dtype in _INTEGERS:
        low, high = _INTEGERS[dtype]
        for value in values:
            if type(value) is not int or not low <= value <= high:
                raise _type_error(value, dtype)
        wide = np.uint64 if low == 0 else np.int64
        return np.array(values, wide).astype(tensors.numpy_type(dtype))
    if dtype == types_pb2.DT_BOOL:
        if not kinds <= {bool}:
            raise _type_error(next(v for v in values if type(v) is not bool), dtype)
        return np.array(values, np.bool_)
    raise StatusError(
        Code.UNIMPLEMENTED,
        f"Conversion of JSON Value: {_text(values[0] if values else None)} to type: "
        f"{tensors.name_of(dtype)}",
    )


def _bytes(value: Any, dtype: int) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not isinstance(value, dict):
        raise _type_error(value, dtype)
    if not _is_b64(value):
        raise invalid(f"JSON Value: {_text(value)} not formatted correctly for base64 data")
    text = value["b64"]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def _is_b64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_b64(value)


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    names = {dict: "Object", list: "Array", str: "String", type(None): "Null"}
    return names.get(type(value), "Number")


def _type_error(value: Any, dtype: int) -> StatusError:
    return invalid(
        f"JSON Value: {_text(value)} Type: {_type_name(value)} is not of expected type: "
        f"{tensors.name_of(dtype)}"
    )


def _text(value: Any) -> str:
    return json.dumps(value, indent=4)


def fill_examples(source: input_pb2.Input, document: Mapping[str, Any], method: str) -> None:
    """Fill a Classify or Regress request's tf.Examples from `examples` and `context`.

    Raises:
        StatusError: INVALID_ARGUMENT, with the original's text.
    """
    with_context = "context" in document
    held = source.example_list_with_context if with_context else source.example_list
    if with_context:
        _fill_example(source.example_list_with_context.context, document["context"])
    if "examples" not in document:
        raise invalid(
            f"JSON Value: {_text(document)} When method is {method}, key 'examples' is expected "
            "and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid(
            f"JSON Value: {_text(document)} Expecting 'examples' value to be an list/array"
        )
    if not examples:
        raise invalid(f"JSON Value: {_text(document)} 'examples' value is an empty array")
    for example in examples:
        _fill_example(held.examples.add(), example)


def _fill_example(example: example_pb2.Example, value: Any) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {_type_name(value)}")
    for name, content in value.items():
        feature = example.features.feature[name]
        for item in content if isinstance(content, list) else [content]:
            _add_value(feature, name, item)


def _add_value(feature: Any, name: str, value: Any) -> None:
    if value is None or isinstance(value, list) or _is_object(value):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {_type_name(value)}")
    if isinstance(value, str | dict):
        kind = "bytes"
        held: Any = _bytes(value, types_pb2.DT_STRING)
    elif isinstance(value, float):
        kind, held = "float", _values([value], types_pb2.DT_FLOAT)[0]
    else:
        kind, held = "int64", int(value)
        if not -(2**63) <= held < 2**63:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
    present = feature.WhichOneof("kind")
    if present not in (None, f"{kind}_list"):
        raise invalid(
            f"Unexpected element type in feature: {name} expecting type: "
            f"{present.removesuffix('_list')}"
        )
    getattr(feature, f"{kind}_list").value.append(held)


def predictions(response: predict_pb2.PredictResponse, *, rows: bool) -> str:
    """A Predict answer as JSON: a row an instance, or a column an output.

    Raises:
        StatusError: INVALID_ARGUMENT, the outputs can't be written that way.
    """
    if not response.outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    columns = {}
    for name in sorted(response.outputs):
        array = tensors.to_array(response.outputs[name])
        if rows and not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        columns[name] = _plain(array, as_bytes=name.endswith("_bytes"))
    if not rows:
        outputs = columns if len(columns) > 1 else next(iter(columns.values()))
        return json.dumps({"outputs": outputs}, indent=4)
    sizes = {name: len(column) for name, column in columns.items()}
    first = next(iter(sizes.values()))
    for name, size in sizes.items():
        if size != first:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {size} expecting: {first}"
            )
    if len(columns) == 1:
        return json.dumps({"predictions": next(iter(columns.values()))})
    table = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return json.dumps({"predictions": table})


def _plain(array: np.ndarray[Any, Any], *, as_bytes: bool) -> Any:
    if array.dtype == object:
        texts = np.empty(array.size, object)
        texts[:] = [
            {"b64": base64.b64encode(value).decode()}
            if as_bytes
            else value.decode(errors="replace")
            for value in array.flat
        ]
        return texts.reshape(array.shape).tolist()
    if array.dtype.kind == "c" or array.dtype.kind not in "fiub":
        raise invalid(f"Failed to write JSON value for tensor type: {array.dtype}")
    if array.dtype in (np.float32, np.float16):
        return _short(array.astype(np.float32)).tolist()
    return array.tolist()


def _short(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Floats as doubles that print as short as the original prints them: 0.2, not 0.2000000030."""
    values = array.reshape(-1).tolist()
    six = np.array([float(f"{value:.6g}") for value in values])
    nine = np.array([float(f"{value:.9g}") for value in values])
    with np.errstate(over="ignore"):
        same = six.astype(np.float32) == array.reshape(-1)
    return np.where(same, six, nine).reshape(array.shape)


def classifications(result: classification_pb2.ClassificationResult) -> str:
    """A Classify answer as JSON: a list of [label, score] an example."""
    if not result.classifications:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    results = []
    for one in result.classifications:
        scores = _short(np.array([each.score for each in one.classes], np.float32)).tolist()
        results.append([[each.label, s] for each, s in zip(one.classes, scores, strict=True)])
    return json.dumps({"results": results})


def regressions(result: regression_pb2.RegressionResult) -> str:
    """A Regress answer as JSON: a number an example."""
    if not result.regressions:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    values = np.array([one.value for one in result.regressions], np.float32)
    return json.dumps({"results": _short(values).tolist()})
