"""The text files that flags name: protocol buffer messages in text form.

`ModelServerConfig` and `ConfigProto` come from the installed packages. The wheel of
tensorflow-serving-api lacks the others, so they are declared here, as the original declares them.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory, text_format
from google.protobuf import wrappers_pb2 as wrappers

from helpers.model_server.flags import CPUS, Flags
from helpers.model_server.status import invalid, not_found

AnyMessage = TypeVar("AnyMessage", bound=message.Message)

_Field = descriptor_pb2.FieldDescriptorProto
_SCHEMA = {  # the fields are numbered in this order
    "BatchingParameters": """Int64Value max_batch_size, Int64Value batch_timeout_micros,
        Int64Value max_enqueued_batches, Int64Value num_batch_threads,
        StringValue thread_pool_name, int64 allowed_batch_sizes, bool pad_variable_length_inputs,
        BoolValue enable_large_batch_splitting, Int64Value max_execution_batch_size""",
    "PrometheusConfig": "bool enable, string path",
    "MonitoringConfig": "PrometheusConfig prometheus_config",
    "SSLConfig": "string server_key, string server_cert, string custom_ca, bool client_verify",
}


def _declare() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="helpers/model_server/config.proto", package="tensorflow.serving", syntax="proto3",
        dependency=[wrappers.DESCRIPTOR.name],
    )  # fmt: skip
    for name, fields in _SCHEMA.items():
        declared = file.message_type.add(name=name)
        for number, (kind, field) in enumerate(map(str.split, fields.split(",")), 1):
            many = _Field.LABEL_REPEATED if field == "allowed_batch_sizes" else None
            added = declared.field.add(name=field, number=number, label=many)
            if kind in ("bool", "int64", "string"):
                added.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
            else:
                package = "google.protobuf" if kind.endswith("Value") else "tensorflow.serving"
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"tensorflow.serving.{name}") for name in _SCHEMA}
    return {name: message_factory.GetMessageClass(type_) for name, type_ in found.items()}


_MESSAGES = _declare()


def read(path: str | Path, kind: type[AnyMessage]) -> AnyMessage:
    """The message that a text file holds.

    Raises:
        StatusError: NOT_FOUND without the file, INVALID_ARGUMENT where it can't be parsed; the
            message names the file, the line and the column.
    """
    try:
        return text_format.Parse(Path(path).read_text(), kind())
    except OSError as error:
        raise not_found(f"can't read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise invalid(f"Invalid protobuf file: '{path}': {error}") from error
    except text_format.ParseError as error:
        place, _, text = str(error).partition(" : ")
        name = kind.DESCRIPTOR.full_name
        raise invalid(
            f"Invalid protobuf file: '{path}': Error parsing text-format {name}: {place}: {text}"
        ) from error


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

    @property
    def largest(self) -> int:
        """The most rows that are run at once."""
        splitting = self.enable_large_batch_splitting
        return self.max_execution_batch_size if splitting else self.max_batch_size

    def padded(self, rows: int) -> int:
        """The smallest allowed batch size that holds so many rows."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)

    def problem(self) -> str:
        """How the values contradict each other; empty where they don't."""
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                return f"{name} must be positive; was {getattr(self, name)}"
        if self.batch_timeout_micros < 0:
            return "batch_timeout_micros must be non-negative"
        if not 1 <= self.largest <= self.max_batch_size:
            return "max_execution_batch_size must be between 1 and max_batch_size"
        sizes = self.allowed_batch_sizes
        if any(small >= large for small, large in itertools.pairwise(sizes)):
            return "allowed_batch_sizes entries must be monotonically increasing"
        if sizes and sizes[-1] != self.largest:
            split = self.enable_large_batch_splitting
            name = "max_execution_batch_size" if split else "max_batch_size"
            return f"last entry of allowed_batch_sizes must equal {name}"
        return ""


def batching(path: str | Path) -> Batching:
    """BatchingParameters of a text file.

    Raises:
        StatusError: the file is missing or malformed, or its values contradict each other.
    """
    given: dict[str, Any] = {}
    for field, value in read(path, _MESSAGES["BatchingParameters"]).ListFields():
        repeated = field.name == "allowed_batch_sizes"
        given[field.name] = tuple(value) if repeated else getattr(value, "value", value)
    given.setdefault("max_execution_batch_size", given.get("max_batch_size", 1000))
    parameters = Batching(**given)
    if problem := parameters.problem():
        raise invalid(f"{problem} in {path}")
    return parameters


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
    config = read(flags.monitoring_config_file, _MESSAGES["MonitoringConfig"]).prometheus_config
    return (config.path or "/monitoring/prometheus/metrics") if config.enable else None


def ssl(path: str | Path) -> Any:
    """SSLConfig of a text file: server_key, server_cert, custom_ca, client_verify."""
    return read(path, _MESSAGES["SSLConfig"])
