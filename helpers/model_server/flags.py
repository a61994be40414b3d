"""The flags of `tensorflow_model_server`, with its names and defaults.

Source: `model_servers/main.cc` and `server.h` of tensorflow/serving, r2.20, the newest branch that
could be read. Image and exports are of release 2.21.0, whose `--help` has the last word.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from typing import Any

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_INT32 = 2**31 - 1


def _flag(
    default: Any, help: str, *, no_effect: str = "", least: int = 0, most: int = _INT32
) -> Any:
    metadata = {"help": help, "no_effect": no_effect, "least": least, "most": most}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Flags:
    """One field a flag. `no_effect` says why a flag is accepted and then does nothing; a number
    is between `least` and `most`.
    """

    # Where it listens.
    port: int = _flag(8500, "TCP port of gRPC; 0: no TCP", most=65535)
    grpc_socket_path: str = _flag("", "UNIX socket of gRPC, beside or instead of the port")
    rest_api_port: int = _flag(0, "TCP port of REST and metrics; 0: neither", most=65535)
    rest_api_num_threads: int = _flag(
        4 * CPUS, "threads of REST", no_effect="one event loop serves REST"
    )
    rest_api_timeout_in_ms: int = _flag(
        30_000, "milliseconds that a REST request may take; 0 or less: no limit", least=-_INT32
    )
    rest_api_enable_cors_support: bool = _flag(False, "answer browsers of other origins")
    grpc_channel_arguments: str = _flag("", "comma-separated list of name=value")
    grpc_max_threads: int = _flag(4 * CPUS, "requests that run at once where batching is off")
    enable_grpc_healthcheck_service: bool = _flag(False, "serve grpc.health.v1.Health")
    ssl_config_file: str = _flag("", "text SSLConfig: TLS, mutual TLS, for gRPC only")
    use_alts_credentials: bool = _flag(
        False, "ALTS", no_effect="it exists on Google Cloud only; gRPC stays insecure"
    )

    # What it serves.
    model_name: str = _flag("default", "name of the one model")
    model_base_path: str = _flag("", "its directory, which holds a directory a version")
    model_config_file: str = _flag("", "text ModelServerConfig: many models, overrides the above")
    model_config_file_poll_wait_seconds: int = _flag(
        0, "seconds between readings; 0 or less: once", least=-_INT32
    )
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "a new label may point to a version that isn't loaded yet"
    )
    file_system_poll_wait_seconds: int = _flag(
        1, "seconds between looks for versions; 0 or less: once", least=-_INT32
    )
    num_load_threads: int = _flag(0, "versions that load at once after the start; 0: one")
    num_unload_threads: int = _flag(
        0, "threads that unload", no_effect="versions are unloaded as they fall idle"
    )
    max_num_load_retries: int = _flag(5, "further attempts to load a version", least=-_INT32)
    load_retry_interval_micros: int = _flag(
        60_000_000, "microseconds between attempts; 0 or less: none", least=-(2**63), most=2**63 - 1
    )
    flush_filesystem_caches: bool = _flag(
        True, "drop a loaded file's pages", no_effect="the system keeps its cache"
    )
    saved_model_tags: str = _flag("serve", "comma-separated tags of the graph to load")
    enable_model_warmup: bool = _flag(True, "run assets.extra/tf_serving_warmup_requests")
    num_request_iterations_for_warmup: int = _flag(0, "times a recorded request is run; 0: once")
    enable_signature_method_name_check: bool = _flag(False, "insist on the signature's method_name")
    prefer_tflite_model: bool = _flag(False, "load model.tflite where a version has one")
    num_tflite_pools: int = _flag(CPUS, "TFLite interpreters that run at once")
    num_tflite_interpreters_per_pool: int = _flag(
        1, "interpreters a pool", no_effect="a request is never split"
    )
    remove_unused_fields_from_bundle_metagraph: bool = _flag(
        True, "free the graph", no_effect="it is always freed"
    )

    # How it runs.
    enable_batching: bool = _flag(False, "run the requests of all connections in batches")
    batching_parameters_file: str = _flag("", "text BatchingParameters")
    enable_per_model_batching_parameters: bool = _flag(
        False, "read a version's batching_params.pbtxt"
    )
    tensorflow_session_parallelism: int = _flag(
        0, "threads, intra- and inter-op; 0: automatic", least=-_INT32
    )
    tensorflow_intra_op_parallelism: int = _flag(
        0, "threads within an operation; 0: automatic", least=-_INT32
    )
    tensorflow_inter_op_parallelism: int = _flag(
        0, "operations at once; 0: automatic; less: in the caller's thread", least=-_INT32
    )
    tensorflow_session_config_file: str = _flag("", "text ConfigProto")
    platform_config_file: str = _flag(
        "", "text PlatformConfigMap", no_effect="set --tensorflow_session_config_file"
    )
    per_process_gpu_memory_fraction: float = _flag(0.0, "share of GPU memory; 0: TensorFlow's")
    mixed_precision: str = _flag("", "bfloat16: run in bfloat16 where the processor has it")
    enable_serialization_as_tensor_content: bool = _flag(False, "answer with tensor_content")
    xla_cpu_compilation_enabled: bool = _flag(False, "XLA on CPU", no_effect="XLA stays off")
    xla_gpu_compilation_enabled: bool = _flag(False, "XLA on GPU", no_effect="XLA stays off")
    thread_pool_factory_config_file: str = _flag(
        "", "thread pools", no_effect="C++ plug-ins can't be loaded"
    )
    skip_initialize_tpu: bool = _flag(False, "leave TPUs alone", no_effect="TPUs aren't used")

    # What it tells.
    monitoring_config_file: str = _flag("", "text MonitoringConfig: Prometheus on the REST port")
    enable_profiler: bool = _flag(True, "TensorFlow's profiler for TensorBoard, on gRPC's ports")
    version: bool = _flag(False, "print the versions and exit")

    # Not the original's.
    request_log: bool = _flag(False, "[not in the original] a JSON line a request on stdout")
    drain_timeout_seconds: float = _flag(
        25.0, "[not in the original] on SIGTERM, seconds for requests in flight"
    )


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "1", "false", "0"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("true", "1")


def _between(kind: type[int] | type[float], least: float, most: float) -> Any:
    """A parser of numbers of a kind between two bounds."""

    def parse(text: str) -> float:
        number = kind(text)
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text} isn't between {least} and {most}")
        return number

    parse.__name__ = kind.__name__  # argparse says "invalid int value"
    return parse


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        sys.stderr.write(
            f"model_server: {message}\nAll flags: python -m helpers.model_server --help\n"
        )
        raise SystemExit(255)  # as the original's -1


def parse(arguments: Sequence[str]) -> Flags:
    """The flags of a command line. Prints a warning for each one that has no effect here.

    Raises:
        SystemExit: 255 and a message with the next step for a flag that is unknown, malformed or
            contradicts another; 0 after `--version` and `--help`.
    """
    parser = _Parser(prog="python -m helpers.model_server", allow_abbrev=False,
                     description="Serves SavedModels as tensorflow_model_server does.")  # fmt: skip
    fields = dataclasses.fields(Flags)
    for field in fields:
        bounds = field.metadata["least"], field.metadata["most"]
        kind: Any = {
            "int": _between(int, *bounds), "float": _between(float, *bounds),
            "str": str, "bool": _boolean,
        }[str(field.type)]  # fmt: skip
        switch: Any = {"nargs": "?", "const": True} if kind is _boolean else {}
        note = " [no effect]" if field.metadata["no_effect"] else ""
        parser.add_argument(
            f"--{field.name}", type=kind, default=argparse.SUPPRESS, metavar=str(field.type),
            help=f"{field.metadata['help']}{note} ({field.default!r})",
            **switch,
        )  # fmt: skip
    known, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        names = [f"--{field.name}" for field in fields]
        near = difflib.get_close_matches(unknown[0].split("=")[0], names)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        parser.error(f"unknown flag: {unknown[0]}.{hint}")
    flags = Flags(**vars(known))
    if flags.version:
        api, library = map(importlib.metadata.version, ("tensorflow-serving-api", "tensorflow"))
        print(f"TensorFlow ModelServer: {api} (helpers.model_server)")
        print(f"TensorFlow Library: {library}")
        raise SystemExit(0)
    if problem := _contradiction(flags):
        parser.error(problem)
    for field in fields:
        reason = field.metadata["no_effect"]
        if reason and getattr(flags, field.name) != field.default:
            print(f"warning: --{field.name} has no effect here: {reason}", file=sys.stderr)
    return flags


def _contradiction(flags: Flags) -> str:
    """What is wrong with these flags together; empty where nothing is."""
    if not flags.model_base_path and not flags.model_config_file:
        return (
            "both --model_base_path and --model_config_file are empty. Name a directory that holds "
            "a directory a version, such as --model_base_path=/models/inception"
        )
    if flags.batching_parameters_file and not flags.enable_batching:
        return "--batching_parameters_file is set without --enable_batching. Set both or neither"
    pair = flags.tensorflow_intra_op_parallelism or flags.tensorflow_inter_op_parallelism
    if flags.tensorflow_session_parallelism and pair:
        return (
            "--tensorflow_session_parallelism excludes --tensorflow_intra_op_parallelism and "
            "--tensorflow_inter_op_parallelism. Set it alone, or set the pair"
        )
    if flags.use_alts_credentials and flags.ssl_config_file:
        return "--use_alts_credentials and --ssl_config_file exclude each other. Set one of them"
    if flags.port == 0 and not flags.grpc_socket_path:
        return "--port is 0 and --grpc_socket_path is empty: nothing to listen on. Set one of them"
    if flags.rest_api_port and flags.rest_api_port == flags.port:
        return "--rest_api_port cannot be same as --port. Choose another port for REST"
    if flags.mixed_precision not in ("", "bfloat16"):
        return f"--mixed_precision={flags.mixed_precision} is not known. Set bfloat16 or nothing"
    return ""
