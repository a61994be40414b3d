"""The text files that flags name: protocol buffer messages in text form.

`ModelServerConfig` and `ConfigProto` come from the installed packages. The wheel of
tensorflow-serving-api lacks `BatchingParameters`, `MonitoringConfig` and `SSLConfig`, so their
fields are declared here, with the original's names and numbers.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory, text_format
from google.protobuf import wrappers_pb2 as wrappers

from helpers.model_server.flags import CPUS, Flags
from helpers.model_server.status import Code, StatusError, invalid

AnyMessage = TypeVar("AnyMessage", bound=message.Message)

BATCHING_PARAMETERS_IN_VERSION = "batching_params.pbtxt"

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "bool": _Field.TYPE_BOOL,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
}
_SCHEMA = {
    "BatchingParameters": [  # servables/tensorflow/session_bundle_config.proto
        (1, "max_batch_size", "google.protobuf.Int64Value"),
        (2, "batch_timeout_micros", "google.protobuf.Int64Value"),
        (3, "max_enqueued_batches", "google.protobuf.Int64Value"),
        (4, "num_batch_threads", "google.protobuf.Int64Value"),
        (5, "thread_pool_name", "google.protobuf.StringValue"),
        (6, "allowed_batch_sizes", "repeated int64"),
        (7, "pad_variable_length_inputs", "bool"),
        (8, "enable_large_batch_splitting", "google.protobuf.BoolValue"),
        (9, "max_execution_batch_size", "google.protobuf.Int64Value"),
    ],
    "PrometheusConfig": [(1, "enable", "bool"), (2, "path", "string")],  # config/monitoring_config
    "MonitoringConfig": [(1, "prometheus_config", "tensorflow.serving.PrometheusConfig")],
    "SSLConfig": [  # config/ssl_config.proto; the PEM texts themselves
        (1, "server_key", "string"),
        (2, "server_cert", "string"),
        (3, "custom_ca", "string"),
        (4, "client_verify", "bool"),
    ],
}


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="helpers/model_server/config.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers.DESCRIPTOR.name],
    )
    for name, fields in _SCHEMA.items():
        declared = file.message_type.add(name=name)
        for number, field, kind in fields:
            *repeated, kind = kind.split()
            added = declared.field.add(name=field, number=number)
            added.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if kind in _TYPES:
                added.type = _TYPES[kind]
            else:
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
        )
        for name in _SCHEMA
    }


_MESSAGES = _messages()


def read(path: str | Path, kind: type[AnyMessage]) -> AnyMessage:
    """The message that a text file holds.

    Raises:
        StatusError: NOT_FOUND without the file, INVALID_ARGUMENT where it can't be parsed; the
            message names the file and the line.
    """
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise StatusError(Code.NOT_FOUND, f"can't read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise invalid(f"Invalid protobuf file: '{path}': not text") from error
    try:
        return text_format.Parse(text, kind())
    except text_format.ParseError as error:
        raise invalid(f"Invalid protobuf file: '{path}': line {error}") from error


@dataclasses.dataclass(frozen=True)
class Batching:
    """BatchingParameters with TensorFlow's defaults (shared_batch_scheduler.h).

    Sizes are rows (dimension 0). `batch_timeout_micros` 0: a batch never waits for more rows.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = CPUS
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 1000

    def padded(self, rows: int) -> int:
        """The smallest allowed batch size that holds so many rows."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def batching(path: str | Path) -> Batching:
    """BatchingParameters of a text file.

    Raises:
        StatusError: the file is missing or malformed, or its values contradict each other.
    """
    given: dict[str, Any] = {}
    for field, value in read(path, _MESSAGES["BatchingParameters"]).ListFields():
        if field.name == "allowed_batch_sizes":
            given[field.name] = tuple(value)
        else:
            given[field.name] = value.value if field.message_type else value
    given.setdefault("max_execution_batch_size", given.get("max_batch_size", 1000))
    parameters = Batching(**given)
    _check(parameters, path)
    return parameters


def _check(parameters: Batching, path: str | Path) -> None:
    for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
        if getattr(parameters, name) < 1:
            raise invalid(f"{name} must be positive; was {getattr(parameters, name)} in {path}")
    if parameters.batch_timeout_micros < 0:
        raise invalid(f"batch_timeout_micros must be non-negative in {path}")
    splitting = parameters.enable_large_batch_splitting
    largest = parameters.max_execution_batch_size if splitting else parameters.max_batch_size
    if splitting and not 1 <= largest <= parameters.max_batch_size:
        raise invalid(f"max_execution_batch_size must be between 1 and max_batch_size in {path}")
    sizes = parameters.allowed_batch_sizes
    if any(small >= large for small, large in itertools.pairwise(sizes)):
        raise invalid(f"allowed_batch_sizes entries must be monotonically increasing in {path}")
    if sizes and sizes[-1] != largest:
        name = "max_execution_batch_size" if splitting else "max_batch_size"
        raise invalid(f"last entry of allowed_batch_sizes must equal {name} in {path}")


def server_batching(flags: Flags) -> Batching | None:
    """The server's BatchingParameters; None where batching is off."""
    if not flags.enable_batching:
        return None
    if flags.batching_parameters_file:
        return batching(flags.batching_parameters_file)
    return Batching(thread_pool_name="model_server_batch_threads")


def prometheus_path(flags: Flags) -> str | None:
    """Where metrics are served on the REST port; None where they aren't."""
    if not flags.monitoring_config_file:
        return None
    config = read(flags.monitoring_config_file, _MESSAGES["MonitoringConfig"])
    prometheus = config.prometheus_config
    if not prometheus.enable:
        return None
    return prometheus.path or "/monitoring/prometheus/metrics"


def ssl(path: str | Path) -> Any:
    """SSLConfig of a text file: server_key, server_cert, custom_ca, client_verify."""
    return read(path, _MESSAGES["SSLConfig"])
