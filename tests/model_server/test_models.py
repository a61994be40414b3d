"""Versions come, go, fail and are replaced; models are listed in a file; the server stops."""

from __future__ import annotations

import shutil
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import text_format
from running import (
    Server,
    config_file,
    listens,
    masked_crc32c,
    model_management_pb2,
    photo_request,
    predict_pb2,
    prediction_log_pb2,
    refusal,
    request,
    serving,
    tensor,
    until,
)


def copy(source: Path, to: Path) -> None:
    """As an export does it: a version appears whole."""
    unfinished = to.parent / f"unfinished-{to.name}"
    shutil.copytree(source, unfinished)
    unfinished.rename(to)


def half(server: Server, x: float = 4.0, **settings: object) -> float:
    sent = request("half", {"x": tensor([[x]], "float32")}, **settings)  # type: ignore[arg-type]
    return float(server.predict(sent).outputs["y"].float_val[0])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """A base path whose versions the tests change, in this order."""
    path = tmp_path_factory.mktemp("base") / "half"
    path.mkdir()
    copy(models / "half" / "1", path / "1")
    (path / "notes").mkdir()
    return path


@pytest.fixture(scope="module")
def changing(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        tmp_path_factory.mktemp("changing") / "log", "--model_name=half",
        f"--model_base_path={base}", "--max_num_load_retries=1",
        "--load_retry_interval_micros=100000",
    ) as running:  # fmt: skip
        yield running


def test_a_directory_that_is_no_number_is_ignored(changing: Server) -> None:
    assert changing.states("half") == {1: "AVAILABLE"}


def test_a_new_version_takes_over_and_the_old_one_ends(
    changing: Server, base: Path, models: Path
) -> None:
    assert half(changing) == 3.0
    copy(models / "half" / "2", base / "2")
    until(lambda: changing.states("half") == {1: "END", 2: "AVAILABLE"})
    assert half(changing) == 4.0
    assert refusal(
        changing.prediction.Predict, request("half", {"x": tensor([[4.0]], "float32")}, version=1)
    ) == ("NOT_FOUND", "Servable not found for request: Specific(half, 1)")


def test_a_version_that_fails_to_load_leaves_the_old_one_serving_and_tells_why(
    changing: Server, base: Path
) -> None:
    (base / "3").mkdir()
    until(lambda: changing.states("half").get(3) == "END")
    newest = changing.status("half").model_version_status[0]
    assert "Could not find SavedModel .pb or .pbtxt" in newest.status.error_message
    assert half(changing) == 4.0
    assert changing.log.count("Loading servable: {name: half version: 3} failed") == 2  # retried


def test_a_corrupt_saved_model_leaves_the_old_one_serving(
    changing: Server, base: Path, models: Path
) -> None:
    shutil.copytree(models / "half" / "3", base / "broken")
    (base / "broken" / "saved_model.pb").write_bytes(b"\xff" * 100)
    (base / "broken").rename(base / "4")
    until(lambda: changing.states("half").get(4) == "END")
    assert "Can't parse" in changing.status("half").model_version_status[0].status.error_message
    assert half(changing) == 4.0


def test_variables_that_are_cut_off_leave_the_old_one_serving(
    changing: Server, base: Path, models: Path
) -> None:
    shutil.copytree(models / "half" / "3", base / "broken")
    (data,) = (base / "broken" / "variables").glob("variables.data*")
    data.write_bytes(b"")
    (base / "broken").rename(base / "5")
    until(lambda: changing.states("half").get(5) == "END")
    assert half(changing) == 4.0


def test_a_symlink_loop_changes_nothing(changing: Server, base: Path) -> None:
    (base / "6").symlink_to(base / "6")
    until(lambda: half(changing) == 4.0)
    assert 6 not in changing.states("half")


def test_a_base_path_that_vanishes_leaves_the_version_serving(changing: Server, base: Path) -> None:
    base.rename(base.with_name("away"))
    until(lambda: "Could not find base path" in changing.log)
    assert half(changing) == 4.0
    base.with_name("away").rename(base)


def test_a_version_that_vanishes_gives_way_to_the_one_before(
    changing: Server, base: Path, models: Path
) -> None:
    for broken in ("3", "4", "5"):
        shutil.rmtree(base / broken)
    until(lambda: changing.states("half").get(2) == "AVAILABLE")
    shutil.rmtree(base / "2")
    until(lambda: changing.states("half").get(1) == "AVAILABLE")
    until(lambda: changing.states("half").get(2) == "END")
    assert half(changing) == 3.0


def test_requests_in_flight_are_answered_by_the_version_that_goes(
    models: Path, tmp_path: Path
) -> None:
    base = tmp_path / "slow"
    base.mkdir()
    copy(models / "slow" / "1", base / "1")
    with serving(tmp_path / "log", "--model_name=slow", f"--model_base_path={base}") as running:
        waiting = running.prediction.Predict.future(
            request("slow", {"seconds": tensor([2.5], "float64")}, signature="wait")
        )
        copy(models / "slow" / "1", base / "2")
        until(lambda: running.states("slow").get(2) == "AVAILABLE")
        assert waiting.result(60).model_spec.version.value == 1
        until(lambda: running.states("slow").get(1) == "END")


def test_the_models_follow_their_file(
    listed: tuple[Server, Path], models: Path, photo: bytes
) -> None:
    server, file = listed
    config_file(file, {"photos": models / "photos"})
    until(lambda: server.states("photos") == {1: "AVAILABLE"})
    until(lambda: server.states("half") == {3: "END"})
    assert server.predict(photo_request(photo)).model_spec.name == "photos"
    file.write_text("model_config_list { config { name: 'photos' base_bath: '/' } }")
    until(lambda: "was not applied" in server.log)
    assert server.predict(photo_request(photo)).model_spec.name == "photos"


def reload(server: Server, text: str) -> None:
    sent = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, sent.config)
    response = server.model.HandleReloadConfigRequest(sent, timeout=60)
    assert response.status.error_code == 0


def listed_model(models: Path, further: str = "", platform: str = "tensorflow") -> str:
    return (
        f'model_config_list {{ config {{ name: "half" base_path: "{models / "half"}" '
        f'model_platform: "{platform}" {further} }} }}'
    )


def test_a_label_moves_in_two_steps(listed: tuple[Server, Path], models: Path) -> None:
    server, _ = listed
    label = "version_labels {{ key: 'stable' value: {} }} "
    both = "model_version_policy { specific { versions: 1 versions: 2 } } "
    with pytest.raises(grpc.RpcError) as caught:
        reload(server, listed_model(models, label.format(1)))
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == (
        "Request to assign label to version 1 of model half, which is not currently available for "
        "inference"
    )
    reload(server, listed_model(models, both))
    until(lambda: server.states("half") == {1: "AVAILABLE", 2: "AVAILABLE", 3: "END"})
    reload(server, listed_model(models, both + label.format(1)))
    assert half(server, label="stable") == 3.0
    reload(server, listed_model(models, both + label.format(2)))
    assert half(server, label="stable") == 4.0


def test_a_reload_to_a_base_path_that_isnt_there_takes_nothing_away(
    listed: tuple[Server, Path],
) -> None:
    server, _ = listed
    reload(server, listed_model(Path("/nowhere")))
    until(lambda: "Could not find base path /nowhere/half" in server.log)
    assert half(server) == 5.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ServerModelConfig type not supported by HandleReloadConfigRequest."),
        ('model_config_list { config { name: "a" base_path: "relative" '
         'model_platform: "tensorflow" } }',
         "Expected model a to have an absolute path or URI; got base_path()=relative"),
        ('model_config_list { config { name: "a" base_path: "/a" } }', "Illegal setting neither"),
        ('model_config_list { config { name: "a" base_path: "/a" model_platform: "tensorflow" } '
         'config { name: "a" base_path: "/a" model_platform: "tensorflow" } }',
         "Illegal to list model a multiple times in config list"),
    ],
    ids=["empty", "relative path", "no platform", "twice"],
)  # fmt: skip
def test_a_reload_that_makes_no_sense_is_refused(server: Server, text: str, message: str) -> None:
    sent = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, sent.config)
    code, details = refusal(server.model.HandleReloadConfigRequest, sent)
    assert (code, message in details) == ("INVALID_ARGUMENT", True), details


def test_a_label_waits_for_its_version_even_if_it_is_the_last_to_load(
    listed: tuple[Server, Path], models: Path
) -> None:
    """After the start they load one by one, the newest first."""
    server, _ = listed
    every = "model_version_policy { all {} } version_labels { key: 'stable' value: 1 }"
    reload(server, listed_model(models, every).replace('"half" base', '"another" base'))
    sent = request("another", {"x": tensor([[4.0]], "float32")}, label="stable")
    assert list(server.predict(sent).outputs["y"].float_val) == [3.0]


def test_a_label_of_a_missing_version_stops_the_start(models: Path, tmp_path: Path) -> None:
    file = config_file(
        tmp_path / "models.config", {"half": models / "half"},
        half="version_labels { key: 'stable' value: 1 }",
    )  # fmt: skip
    server = Server(tmp_path / "log", f"--model_config_file={file}")
    assert server.wait() == 255
    assert "Request to assign label to version 1 of model half" in server.log


def test_a_label_of_a_missing_version_is_allowed_by_flag(models: Path, tmp_path: Path) -> None:
    file = config_file(
        tmp_path / "models.config", {"half": models / "half"},
        half="version_labels { key: 'stable' value: 1 }",
    )  # fmt: skip
    with serving(
        tmp_path / "log", f"--model_config_file={file}",
        "--allow_version_labels_for_unavailable_models=true",
    ) as running:  # fmt: skip
        sent = request("half", {}, label="stable")
        assert refusal(running.prediction.Predict, sent) == (
            "NOT_FOUND", "Servable not found for request: Specific(half, 1)",
        )  # fmt: skip


def test_a_model_that_cannot_be_loaded_ends_the_start_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "broken" / "1").mkdir(parents=True)
    server = Server(
        tmp_path / "log", f"--model_base_path={tmp_path / 'broken'}", "--max_num_load_retries=0"
    )
    assert server.wait() == 255
    assert "1 servable(s) did not become available: {{Servable: {name: default" in server.log
    assert "export again" in server.log


def test_a_port_in_use_is_said_before_anything_is_loaded(models: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = Server(tmp_path / "log", f"--model_base_path={models / 'half'}", f"--port={port}")
        assert server.wait() == 255
    assert f"port {port} is in use" in server.log


def test_ports_stay_closed_while_there_is_no_version_and_open_with_the_first(
    models: Path, tmp_path: Path
) -> None:
    base = tmp_path / "half"
    base.mkdir()
    server = Server(tmp_path / "log", "--model_name=half", f"--model_base_path={base}")
    try:
        until(lambda: "No versions of servable half found under base path" in server.log, 90)
        assert "name your leaf directory as a number (eg. '/1/')?" in server.log
        assert not listens(server.port)
        copy(models / "half" / "1", base / "1")
        assert half(server.wait_until_ready()) == 3.0
    finally:
        assert server.stop() == 0


def warmup_file(version: Path, *records: prediction_log_pb2.PredictionLog) -> None:
    """A TFRecord file of requests."""
    folder = version / "assets.extra"
    folder.mkdir()
    with (folder / "tf_serving_warmup_requests").open("wb") as file:
        for record in records:
            data = record.SerializeToString()
            length = struct.pack("<Q", len(data))
            file.write(length + struct.pack("<I", masked_crc32c(length)))
            file.write(data + struct.pack("<I", masked_crc32c(data)))


def recorded(sent: predict_pb2.PredictRequest) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(sent)
    return log


def test_recorded_requests_are_run_before_the_ports_open(
    models: Path, tmp_path: Path, photo: bytes
) -> None:
    version = tmp_path / "photos" / "1"
    shutil.copytree(models / "photos" / "1", version)
    warmup_file(version, *[recorded(photo_request(photo))] * 3)
    with serving(
        tmp_path / "log", f"--model_base_path={version.parent}", "--enable_batching",
        "--num_request_iterations_for_warmup=2",
    ) as running:  # fmt: skip
        log = running.log
    assert "Number of warmup records read: 3." in log
    assert log.index("Number of warmup records") < log.index("Running gRPC ModelServer at")


def test_a_recorded_request_that_fails_fails_the_load(models: Path, tmp_path: Path) -> None:
    version = tmp_path / "photos" / "1"
    shutil.copytree(models / "photos" / "1", version)
    warmup_file(version, recorded(photo_request(b"a text file")))
    server = Server(
        tmp_path / "log", f"--model_base_path={version.parent}", "--max_num_load_retries=0"
    )
    assert server.wait() == 255
    assert "Unknown image file format" in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_is_in_flight_finish(
    models: Path, tmp_path: Path, number: signal.Signals
) -> None:
    server = Server(
        tmp_path / "log", "--model_name=slow", f"--model_base_path={models / 'slow'}",
        "--enable_batching",
    )  # fmt: skip
    try:
        server.wait_until_ready()
        server.states("slow")  # connected: from here on requests arrive in the order of sending
        waiting = [
            server.prediction.Predict.future(
                request("slow", {"seconds": tensor([seconds], "float64")}, signature="wait")
            )
            for seconds in (1.0, 1.0, 0.0, 0.0)  # two run, two are in the queue
        ]
        half_done = server.prediction.Predict.future(
            request("slow", {"x": tensor([[1.0]], "float32")})
        )
        server.states("slow")  # answered: what was sent before on this connection is there
        server.process.send_signal(number)
        answers = [future.result(60).outputs["seconds"].double_val[0] for future in waiting]
        assert answers == [1.0, 1.0, 0.0, 0.0]
        assert half_done.result(60).outputs["sum"].float_val[0] == 1.0
        assert server.wait() == 0
    finally:
        server.stop()


def test_a_request_that_never_ends_is_given_up_at_the_drains_deadline(
    models: Path, tmp_path: Path
) -> None:
    with serving(
        tmp_path / "log", "--model_name=slow", f"--model_base_path={models / 'slow'}",
        "--drain_timeout_seconds=0.5",
    ) as running:  # fmt: skip
        running.states("slow")  # connected: from here on requests arrive in the order of sending
        waiting = running.prediction.Predict.future(
            request("slow", {"seconds": tensor([3600.0], "float64")}, signature="wait"), timeout=20
        )
        running.states("slow")
        assert running.stop() == 0
        assert waiting.exception(60) is not None


def test_a_version_brings_its_own_batching_parameters(models: Path, tmp_path: Path) -> None:
    version = tmp_path / "half" / "1"
    shutil.copytree(models / "half" / "1", version)
    (version / "batching_params.pbtxt").write_text("max_batch_size { value: 2 }")
    with serving(
        tmp_path / "log", "--model_name=half", f"--model_base_path={version.parent}",
        "--enable_batching", "--enable_per_model_batching_parameters",
        "--enable_serialization_as_tensor_content",
    ) as running:  # fmt: skip
        three = request("half", {"x": tensor([[1.0]] * 3, "float32")})
        _, message = refusal(running.prediction.Predict, three)
        assert message == "Task size 3 is larger than maximum batch size 2"
        one = request("half", {"x": tensor([[4.0]], "float32")})
        assert running.predict(one).outputs["y"].tensor_content == b"\x00\x00\x40\x40"  # 3.0
