"""The command line, in every form that the original takes."""

from __future__ import annotations

import pytest

from helpers.model_server import flags

MODEL = "--model_base_path=/models/inception"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--port=1"], 1),
        (["--port", "1"], 1),
        ([], 8500),
    ],
)
def test_a_number_comes_after_an_equals_sign_or_a_space(
    arguments: list[str], expected: int
) -> None:
    assert flags.parse([MODEL, *arguments]).port == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--enable_batching", True),
        ("--enable_batching=true", True),
        ("--enable_batching=1", True),
        ("--enable_batching=false", False),
        ("--enable_batching=0", False),
    ],
)
def test_a_switch_is_on_by_itself_and_takes_true_or_false(argument: str, expected: bool) -> None:
    assert flags.parse([MODEL, argument]).enable_batching == expected


def test_every_flag_of_the_original_is_accepted() -> None:
    names = """port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms
    rest_api_enable_cors_support enable_batching batching_parameters_file
    enable_per_model_batching_parameters allow_version_labels_for_unavailable_models
    model_config_file model_config_file_poll_wait_seconds model_name model_base_path
    num_load_threads num_unload_threads max_num_load_retries load_retry_interval_micros
    file_system_poll_wait_seconds flush_filesystem_caches tensorflow_session_parallelism
    tensorflow_intra_op_parallelism tensorflow_inter_op_parallelism tensorflow_session_config_file
    use_alts_credentials ssl_config_file platform_config_file per_process_gpu_memory_fraction
    saved_model_tags grpc_channel_arguments grpc_max_threads enable_model_warmup
    num_request_iterations_for_warmup version monitoring_config_file
    remove_unused_fields_from_bundle_metagraph prefer_tflite_model num_tflite_pools
    num_tflite_interpreters_per_pool enable_signature_method_name_check xla_cpu_compilation_enabled
    xla_gpu_compilation_enabled enable_profiler thread_pool_factory_config_file mixed_precision
    skip_initialize_tpu enable_grpc_healthcheck_service enable_serialization_as_tensor_content"""
    assert set(names.split()) <= set(flags.Flags.__dataclass_fields__)


def test_a_flag_that_can_do_nothing_here_is_accepted_with_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags.parse([MODEL, "--use_alts_credentials", "--skip_initialize_tpu=false"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: --use_alts_credentials has no effect here:")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([MODEL, "--enable_batchin"], "unknown flag: --enable_batchin. Did you mean"),
        ([MODEL, "--noenable_batching"], "unknown flag: --noenable_batching."),
        ([MODEL, "--port=many"], "invalid int value: 'many'"),
        ([MODEL, "--enable_batching=perhaps"], "'perhaps' is neither true nor false"),
        ([], "both --model_base_path and --model_config_file are empty"),
        ([MODEL, "--batching_parameters_file=f"], "is set without --enable_batching"),
        (
            [MODEL, "--tensorflow_session_parallelism=1", "--tensorflow_inter_op_parallelism=1"],
            "--tensorflow_session_parallelism excludes",
        ),
        ([MODEL, "--port=1", "--rest_api_port=1"], "--rest_api_port cannot be same as --port"),
        ([MODEL, "--port=0"], "nothing to listen on"),
        ([MODEL, "--use_alts_credentials", "--ssl_config_file=f"], "exclude each other"),
        ([MODEL, "--mixed_precision=float16"], "Set bfloat16 or nothing"),
        ([MODEL, "--port=70000"], "--port: 70000 isn't between 0 and 65535"),
        ([MODEL, "--rest_api_port=-1"], "--rest_api_port: -1 isn't between 0 and 65535"),
        ([MODEL, "--num_load_threads=-1"], "--num_load_threads: -1 isn't between 0 and 2147483647"),
        ([MODEL, "--tensorflow_inter_op_parallelism=2147483648"], "2147483648 isn't between"),
        ([MODEL, f"--load_retry_interval_micros={2**63}"], f"{2**63} isn't between"),
        ([MODEL, "--rest_api_timeout_in_ms=99999999999999999999"], "isn't between -2147483647 and"),
        ([MODEL, "--drain_timeout_seconds=nan"], "nan isn't between 0 and"),
        ([MODEL, "--drain_timeout_seconds=inf"], "inf isn't between 0 and"),
    ],
)
def test_a_mistake_ends_the_start_with_the_next_step(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        flags.parse(arguments)
    assert (caught.value.code, message in capsys.readouterr().err) == (255, True)


def test_the_version_names_both_programs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        flags.parse(["--version"])
    lines = capsys.readouterr().out.splitlines()
    assert caught.value.code == 0
    names = [line.split(":")[0] for line in lines]
    assert names == ["TensorFlow ModelServer", "TensorFlow Library"]
