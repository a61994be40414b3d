"""What runs a server needs: metrics, health, reflection, the request log, the socket, TLS."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from prometheus_client.parser import text_string_to_metric_families
from running import (
    Server,
    config_file,
    photo_request,
    prediction_service_grpc,
    refusal,
    request,
    serving,
    tensor,
    until,
)

PREFIX = ":tensorflow:serving:"


def scrape(server: Server) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample, as Prometheus's own parser reads it."""
    status, text = server.http("/monitoring/prometheus/metrics")
    assert status == 200
    return {
        # The parser adds _total to the name of every counter.
        (sample.name.removesuffix("_total"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def difference(server: Server, act: Any, name: str, **labels: str) -> float:
    key = (f"{PREFIX}{name}", frozenset(labels.items()))
    before = scrape(server).get(key, 0)
    act()
    return scrape(server).get(key, 0) - before


def test_a_request_is_counted_by_model_and_status(server: Server, photo: bytes) -> None:
    def act() -> None:
        server.predict(photo_request(photo))

    assert difference(server, act, "request_count", model_name="photos", status="OK") == 1
    assert (
        difference(
            server, act, "request_latency_count", model_name="photos", API="Predict",
            entrypoint="GRPC",
        )
        == 1
    )  # fmt: skip
    assert (
        difference(
            server, act, "runtime_latency_count", model_name="photos", API="Predict", runtime="TF1"
        )
        == 1
    )


def test_a_failure_is_counted_under_its_code_and_has_no_latency(server: Server) -> None:
    def act() -> None:
        refusal(server.prediction.Predict, photo_request(b"a text file"))

    labels = {"model_name": "photos", "status": "INVALID_ARGUMENT"}
    assert difference(server, act, "request_count", **labels) == 1
    labels = {"model_name": "photos", "API": "Predict", "entrypoint": "GRPC"}
    assert difference(server, act, "request_latency_count", **labels) == 0


@pytest.mark.parametrize("protocol", ["gRPC", "REST"])
def test_a_model_that_is_not_there_is_counted_under_its_name(server: Server, protocol: str) -> None:
    def act() -> None:
        if protocol == "gRPC":
            refusal(server.prediction.Predict, request("nobody", {}))
        else:
            server.http("/v1/models/nobody:predict", {"instances": [1]})

    labels = {"model_name": "nobody", "status": "NOT_FOUND"}
    assert difference(server, act, "request_count", **labels) == 1


def test_rest_is_labelled_as_the_original_labels_it(server: Server) -> None:
    def act() -> None:
        server.http("/v1/models/half:predict", {"instances": [[4.0]]})

    labels = {"model_name": "half", "API": "predict", "entrypoint": "REST"}
    assert difference(server, act, "request_latency_count", **labels) == 1


def test_asking_for_the_status_over_http_counts_as_a_request_without_api(server: Server) -> None:
    labels = {"model_name": "half", "API": "", "entrypoint": "REST"}
    act = lambda: server.http("/v1/models/half")  # noqa: E731
    assert difference(server, act, "request_latency_count", **labels) == 1


@pytest.mark.parametrize(
    ("name", "labels", "limits"),
    [
        ("request_latency", {"model_name": "half", "API": "predict", "entrypoint": "REST"},
         [10 * 1.8**n for n in range(33)]),
        ("batching_session:queuing_latency", {"thread_pool_name": "batch_threads"},
         [100 * 1.2**n for n in range(52)]),
        ("batching_session:processed_batch_size", {}, [2.0**n for n in range(14)]),
    ],
)  # fmt: skip
def test_histograms_have_the_originals_buckets(
    server: Server, name: str, labels: dict[str, str], limits: list[float]
) -> None:
    server.http("/v1/models/half:predict", {"instances": [[4.0]]})
    found = [
        dict(key)["le"]
        for (sample, key) in scrape(server)
        if sample == f"{PREFIX}{name}_bucket" and set(labels.items()) <= key
    ]
    # The original writes six digits.
    assert [float(limit) for limit in found] == pytest.approx([*limits, float("inf")], rel=1e-5)


def test_the_types_are_the_originals(server: Server) -> None:
    _, text = server.http("/monitoring/prometheus/metrics")
    for line in (
        "# TYPE :tensorflow:serving:request_count counter",
        "# TYPE :tensorflow:serving:request_latency histogram",
        "# TYPE :tensorflow:core:graph_runs counter",
        "# TYPE :tensorflow:cc:saved_model:load_attempt_count counter",
    ):
        assert line in text.splitlines()


def test_metrics_are_off_without_a_monitoring_config(models: Path, tmp_path: Path) -> None:
    with serving(
        tmp_path / "log", "--model_name=half", f"--model_base_path={models / 'half'}"
    ) as running:
        assert running.http("/monitoring/prometheus/metrics")[0] == 404
        health = health_pb2_grpc.HealthStub(running.channel)
        code, _ = refusal(health.Check, health_pb2.HealthCheckRequest())
        assert code == "UNIMPLEMENTED"


@pytest.mark.parametrize(
    "service", ["", "PredictionService", "ModelService", "tensorflow.serving.PredictionService"]
)
def test_a_kubernetes_probe_sees_serving(server: Server, service: str) -> None:
    health = health_pb2_grpc.HealthStub(server.channel)
    answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_health_of_an_unknown_service_is_not_found(server: Server) -> None:
    health = health_pb2_grpc.HealthStub(server.channel)
    code, _ = refusal(health.Check, health_pb2.HealthCheckRequest(service="nobody"))
    assert code == "NOT_FOUND"


def test_reflection_lists_the_services(server: Server) -> None:
    services = ProtoReflectionDescriptorDatabase(server.channel).get_services()
    assert {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"} <= set(
        services
    )


def test_a_request_leaves_a_line_in_the_log(server: Server) -> None:
    refusal(server.prediction.Predict, photo_request(b"a text file that is logged"))
    until(lambda: '"code": "INVALID_ARGUMENT"' in server.log)
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    server.predict(request("half", {"x": tensor([[4.0], [6.0]], "float32")}, version=2))
    until(lambda: '"version": 2' in server.log)
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["version"] == 2][-1:]
    assert {k: line[k] for k in ("model", "signature", "code", "batch_size", "entrypoint")} == {
        "model": "half", "signature": "serving_default", "code": "OK", "batch_size": 2,
        "entrypoint": "GRPC",
    }  # fmt: skip
    assert line["queue_ms"] + line["run_ms"] <= line["total_ms"]


def test_a_unix_socket_and_channel_arguments_are_used(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving(
        tmp_path / "log", "--model_name=half", f"--model_base_path={models / 'half'}",
        f"--grpc_socket_path={path}", "--grpc_channel_arguments=grpc.max_connection_age_ms=100",
    ) as running:  # fmt: skip
        with grpc.insecure_channel(f"unix:{path}") as channel:
            stub = prediction_service_grpc.PredictionServiceStub(channel)
            sent = request("half", {"x": tensor([[4.0]], "float32")})
            assert list(stub.Predict(sent, timeout=30).outputs["y"].float_val) == [5.0]
        # A connection that is older than 100 ms is told to go, which HTTP/2 says by GOAWAY.
        with socket.create_connection(("127.0.0.1", running.port)) as raw:
            raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            raw.settimeout(30)
            seen = b""
            while b"max_age" not in seen:
                chunk = raw.recv(4096)
                assert chunk, seen
                seen += chunk
    assert not path.exists()


@pytest.fixture
def configured(models: Path, tmp_path: Path) -> Iterator[Server]:
    """A server without batching, with settings that the other tests leave alone."""
    (tmp_path / "monitoring").write_text('prometheus_config { enable: true path: "/elsewhere" }')
    (tmp_path / "session").write_text(
        "intra_op_parallelism_threads: 1 device_count { key: 'CPU' value: 1 }"
    )
    config = config_file(
        tmp_path / "models.config", {name: models / name for name in ("slow", "photos")}
    )
    with serving(
        tmp_path / "log", f"--model_config_file={config}", "--rest_api_timeout_in_ms=300",
        f"--monitoring_config_file={tmp_path / 'monitoring'}",
        f"--tensorflow_session_config_file={tmp_path / 'session'}",
        "--enable_signature_method_name_check", "--grpc_max_threads=2",
    ) as running:  # fmt: skip
        yield running


def test_settings_of_files_and_flags_are_followed(configured: Server, photo: bytes) -> None:
    wait = {"signature_name": "wait", "inputs": {"seconds": [3600.0]}}
    assert configured.http("/v1/models/slow:predict", wait)[0] == 504
    assert configured.http("/monitoring/prometheus/metrics")[0] == 404
    assert "request_count" in configured.http("/elsewhere")[1]
    assert len(configured.predict(photo_request(photo)).outputs) == 2
    # TensorFlow 2 writes "predict" as the method of every signature, which the check finds.
    body = {"examples": [{"image/encoded": {"b64": base64.b64encode(photo).decode()}}]}
    status, answer = configured.http("/v1/models/photos:classify", body)
    assert (status, "Expected classification signature method_name" in answer["error"]) == (
        400,
        True,
    )


def test_readiness_follows_the_models(models: Path, tmp_path: Path) -> None:
    version = tmp_path / "half" / "1"
    shutil.copytree(models / "half" / "1", version)
    with serving(
        tmp_path / "log", f"--model_base_path={version.parent}", "--enable_grpc_healthcheck_service"
    ) as running:
        health = health_pb2_grpc.HealthStub(running.channel)

        def status() -> int:
            return int(health.Check(health_pb2.HealthCheckRequest(), timeout=30).status)

        assert status() == health_pb2.HealthCheckResponse.SERVING
        version.rename(tmp_path / "elsewhere")
        until(lambda: status() == health_pb2.HealthCheckResponse.NOT_SERVING)
        (tmp_path / "elsewhere").rename(version)
        until(lambda: status() == health_pb2.HealthCheckResponse.SERVING)


def test_a_signal_ends_readiness_before_it_ends_the_server(models: Path, tmp_path: Path) -> None:
    with serving(
        tmp_path / "log", "--model_name=slow", f"--model_base_path={models / 'slow'}",
        "--enable_grpc_healthcheck_service",
    ) as running:  # fmt: skip
        watching = health_pb2_grpc.HealthStub(running.channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=60
        )
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        running.process.terminate()
        assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watching.cancel()


def test_every_flag_without_effect_starts_a_server_that_says_so(
    models: Path, tmp_path: Path
) -> None:
    platform = tmp_path / "platform.config"
    platform.write_text("")
    with serving(
        tmp_path / "log", f"--model_base_path={models / 'half'}", "--use_alts_credentials",
        "--xla_cpu_compilation_enabled", "--num_unload_threads", "2",
        f"--platform_config_file={platform}",
    ) as running:  # fmt: skip
        warned = [line.split()[1] for line in running.log.splitlines() if "no effect" in line]
    assert sorted(warned) == [
        "--num_unload_threads", "--platform_config_file", "--use_alts_credentials",
        "--xla_cpu_compilation_enabled",
    ]  # fmt: skip


def certificate(directory: Path, name: str, *, issuer: str = "") -> None:
    """A key and a certificate for 127.0.0.1, by openssl; self-signed without an issuer."""
    key, file = directory / f"{name}.key", directory / f"{name}.pem"
    sign = ["-CA", directory / f"{issuer}.pem", "-CAkey", directory / f"{issuer}.key"]
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", key, "-out", file, "-days", "1", "-subj", f"/CN={name}",
            "-addext", "subjectAltName=IP:127.0.0.1", *(sign if issuer else []),
        ],
        check=True, capture_output=True,
    )  # fmt: skip


def quoted(file: Path) -> str:
    return json.dumps(file.read_text())  # a text proto's strings are quoted as JSON's are


def test_mutual_tls_lets_the_right_client_in_and_no_other(models: Path, tmp_path: Path) -> None:
    for name in ("ca", "other-ca"):
        certificate(tmp_path, name)
    certificate(tmp_path, "server", issuer="ca")
    certificate(tmp_path, "client", issuer="ca")
    certificate(tmp_path, "intruder", issuer="other-ca")
    ssl = tmp_path / "ssl.config"
    ssl.write_text(
        f"server_key: {quoted(tmp_path / 'server.key')}\n"
        f"server_cert: {quoted(tmp_path / 'server.pem')}\n"
        f"custom_ca: {quoted(tmp_path / 'ca.pem')}\nclient_verify: true\n"
    )
    with serving(
        tmp_path / "log", "--model_name=half", f"--model_base_path={models / 'half'}",
        f"--ssl_config_file={ssl}",
    ) as running:  # fmt: skip

        def predict(*, client: str | None) -> str:
            pair = (
                [(tmp_path / f"{client}.{kind}").read_bytes() for kind in ("key", "pem")]
                if client
                else [None, None]
            )
            credentials = grpc.ssl_channel_credentials((tmp_path / "ca.pem").read_bytes(), *pair)
            with grpc.secure_channel(f"127.0.0.1:{running.port}", credentials) as channel:
                stub = prediction_service_grpc.PredictionServiceStub(channel)
                try:
                    stub.Predict(request("half", {"x": tensor([[4.0]], "float32")}), timeout=20)
                except grpc.RpcError as error:
                    return error.code().name
            return "OK"

        assert [predict(client=name) for name in ("client", "intruder", None)] == [
            "OK", "UNAVAILABLE", "UNAVAILABLE",
        ]  # fmt: skip
        plain = request("half", {"x": tensor([[4.0]], "float32")})
        assert refusal(running.prediction.Predict, plain)[0] == "UNAVAILABLE"


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, str]:
    """The fields of a good ssl_config_file, and what to spoil them with."""
    for name in ("server", "another"):
        certificate(tmp_path, name)
    protected = tmp_path / "protected.key"
    subprocess.run(
        ["openssl", "ec", "-aes256", "-passout", "pass:secret", "-in", tmp_path / "server.key",
         "-out", protected],
        check=True, capture_output=True,
    )  # fmt: skip
    return {
        "key": quoted(tmp_path / "server.key"), "cert": quoted(tmp_path / "server.pem"),
        "other": quoted(tmp_path / "another.key"), "protected": quoted(protected),
        "damaged": json.dumps(
            "-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n"
        ),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("server_key: '/etc/tls.key' server_cert: {cert}", "server_key holds '/etc/tls.key'. It"),
        ("server_key: {key} server_cert: '/etc/tls.crt'", "server_cert holds '/etc/tls.crt'. It"),
        (
            "server_key: {key} server_cert: {cert} custom_ca: '/etc/ca.crt' client_verify: true",
            "custom_ca holds '/etc/ca.crt'. It takes the PEM text itself",
        ),
        ("server_key: {key}", "server_cert is empty"),
        ("server_key: {cert} server_cert: {key}", "server_key holds '-----BEGIN CERTIFICATE"),
        ("server_key: {key} server_cert: {damaged}", "server_cert holds no valid certificate"),
        ("server_key: {key} server_cert: {cert} client_verify: true", "custom_ca is empty"),
        ("server_key: {other} server_cert: {cert}", "not the private key of server_cert"),
        ("server_key: {protected} server_cert: {cert}", "or a password protects it"),
    ],
    ids=["path of a key", "path of a certificate", "path of a CA", "nothing", "swapped", "damaged",
         "no CA", "of two pairs", "password"],
)  # fmt: skip
def test_a_mistake_in_the_certificates_is_said_by_its_field_before_anything_is_loaded(
    tmp_path: Path, models: Path, pair: dict[str, str], fields: str, message: str
) -> None:
    file = tmp_path / "ssl.config"
    file.write_text(fields.format(**pair))
    server = Server(
        tmp_path / "log", f"--model_base_path={models / 'half'}", f"--ssl_config_file={file}"
    )
    assert server.wait() == 255
    assert f"{file}: " in server.log
    assert message in server.log
    assert "Successfully loaded" not in server.log


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere/s", "No such file or directory"),
        ("log", "Address already in use"),
        ("s" * 200, "path too long"),
    ],
    ids=["no directory", "a file", "too long"],
)
def test_a_socket_that_cannot_be_made_is_said_before_anything_is_loaded(
    tmp_path: Path, models: Path, path: str, message: str
) -> None:
    server = Server(
        tmp_path / "log", f"--model_base_path={models / 'half'}",
        f"--grpc_socket_path={tmp_path / path}",
    )  # fmt: skip
    assert server.wait() == 255
    (line,) = [line for line in server.log.splitlines() if "Failed to start" in line]
    assert f"--grpc_socket_path={tmp_path / path}" in line
    assert message in line
    assert "Successfully loaded" not in server.log


def burst(server: Server, count: int) -> set[str]:
    """The codes that many requests get which all come at once: the server is stopped meanwhile."""
    sent = request("half", {"x": tensor([[4.0]], "float32")})
    server.predict(sent)
    server.process.send_signal(signal.SIGSTOP)
    waiting = [server.prediction.Predict.future(sent, timeout=120) for _ in range(count)]
    server.process.send_signal(signal.SIGCONT)
    return {future.code().name for future in waiting}


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        ("", {"OK"}),
        (
            "grpc.server.max_pending_requests=1000,grpc.server.max_pending_requests_hard_limit=1000",
            {"OK", "CANCELLED"},
        ),
    ],
    ids=["by default", "by flag"],
)
def test_four_thousand_requests_at_once_are_cancelled_only_where_a_flag_says_so(
    models: Path, tmp_path: Path, arguments: str, codes: set[str]
) -> None:
    with serving(
        tmp_path / "log", "--model_name=half", f"--model_base_path={models / 'half'}",
        "--enable_batching", f"--grpc_channel_arguments={arguments}",
    ) as running:  # fmt: skip
        assert burst(running, 4000) == codes


def test_a_channel_argument_beyond_an_int32_is_passed_on_as_text_as_in_the_original(
    models: Path, tmp_path: Path
) -> None:
    with serving(
        tmp_path / "log", f"--model_base_path={models / 'half'}",
        "--grpc_channel_arguments=grpc.max_connection_age_ms=99999999999,a=--1,b=²",
    ) as running:  # fmt: skip
        assert running.states("default") == {3: "AVAILABLE"}


def test_the_tutorials_own_configuration_serves(models: Path, tmp_path: Path) -> None:
    """serving/*.config as they are, but for the model's path."""
    own = Path(__file__).resolve().parents[2] / "serving"
    text = (own / "models.config").read_text()
    config = config_file(tmp_path / "models.config", {})
    config.write_text(text.replace("/models/inception", str(models / "photos")))
    with serving(
        tmp_path / "log", f"--model_config_file={config}", "--enable_batching",
        f"--batching_parameters_file={own / 'batching.config'}",
        f"--monitoring_config_file={own / 'monitoring.config'}",
    ) as running:  # fmt: skip
        assert running.states("inception") == {1: "AVAILABLE"}
        assert running.http("/monitoring/prometheus/metrics")[0] == 200
