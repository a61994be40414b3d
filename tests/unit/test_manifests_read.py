"""What the local target makes of a Deployment, and what it says when it can't."""

from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import settings
from helpers.clusters import manifest
from helpers.clusters.manifest import Deployment, Probe
from helpers.errors import ManifestError

DEPLOYMENT = (settings.MANIFESTS / "base" / "deployment.yaml").read_text()
Edit = Callable[[str, str], Path]


@pytest.fixture
def edit(tmp_path: Path) -> Edit:
    """Replaces a text in the base Deployment, in a folder of its own."""

    def edited(before: str, after: str) -> Path:
        assert before in DEPLOYMENT
        (tmp_path / "deployment.yaml").write_text(DEPLOYMENT.replace(before, after, 1))
        return tmp_path

    return edited


@pytest.fixture(scope="module")
def base() -> Deployment:
    return manifest.read(settings.MANIFESTS / "base")


def test_the_base_is_read(base: Deployment) -> None:
    template = base.template
    assert (base.name, base.replicas, base.max_surge, base.max_unavailable) == (
        "inception",
        2,
        1,
        0,
    )
    assert (template.command, template.ports) == (("tensorflow_model_server",), (8500, 8501))
    assert (template.grace_period_s, template.pre_stop_sleep_s) == (30, 5)
    assert template.memory_bytes == 1536 * 2**20


def test_a_probes_fields_are_read(base: Deployment) -> None:
    expected = Probe("grpc", port=8500, period_s=1, timeout_s=1, failure_threshold=180)
    assert base.template.startup == expected


def test_a_probes_defaults_are_kubernetes(edit: Edit) -> None:
    after = "startupProbe:\n            initialDelaySeconds: 3"
    probe = manifest.read(edit("startupProbe:", after)).template.liveness
    assert probe is not None
    assert (probe.initial_delay_s, probe.success_threshold) == (0, 1)


def test_a_probes_port_may_be_a_name(edit: Edit) -> None:
    read = manifest.read(edit("grpc:\n              port: 8500", "tcpSocket: {port: http}"))
    assert read.template.startup == Probe(
        "tcpSocket", port=8501, period_s=1, timeout_s=1, failure_threshold=180
    )


@pytest.mark.parametrize(
    ("surge", "unavailable", "expected"),
    [("50%", "50%", (1, 1)), ("25%", "25%", (1, 0)), ("0%", "0%", (0, 1)), (3, 0, (3, 0))],
)
def test_percentages_are_rounded_as_kubernetes_does(
    edit: Edit, surge: object, unavailable: object, expected: tuple[int, int]
) -> None:
    after = f"maxSurge: {surge}\n      maxUnavailable: {unavailable}"
    read = manifest.read(edit("maxSurge: 1\n      maxUnavailable: 0", after))
    assert (read.max_surge, read.max_unavailable) == expected


@pytest.mark.parametrize(
    ("before", "after", "field", "hint"),
    [
        ("periodSeconds", "periodSecond", "startupProbe.periodSecond", "periodSeconds?"),
        ("replicas: 2", "replica: 2", "spec.replica:", "replicas?"),
        ("replicas: 2", "replicas: two", "spec.replicas: it is 'two'", "a valid integer"),
        ("periodSeconds", "period_seconds", "Probe.period_seconds", "periodSeconds?"),
        ("replicas: 2", "replicas: -1", "spec.replicas: it is -1", "0 or more"),
        ("- name: server", "- nam: server", "containers[0].nam", "name?"),
        ("- name: server\n", "- stdin: false\n", "[0].name: it is required", "Add it"),
        ('value: "1"', "value: 1", "env[0].value: it is 1", 'quote it: "1"'),
        ('value: "1"', "value: true", "env[0].value", 'quote it: "true"'),
        ("value:", "valueFrom: {fieldRef: {fieldPath: a}} #", "[0].valueFrom", "literal"),
        ("kind: Deployment", "kind: Deploymnt", "kind: it is 'Deploymnt'", "kind: Deployment"),
        ("periodSeconds: 1\n", "periodSeconds: 0\n", "periodSeconds: it is 0", "1 or more"),
        ("memory: 1536Mi", "memory: 1GB", "requests.memory: it is '1GB'", "512Mi"),
        ("enableServiceLinks:", "restartPolicy: Never #", "restartPolicy: it is Never", "Always"),
        ("sleep:\n", "httpGet: {port: 1}\n #", "preStop.httpGet", "sleep or exec"),
        ("port: 8500", "port: 85000", "grpc.port: it is 85000", "1 to 65535"),
        ("maxSurge: 1", "maxSurge: some", "maxSurge: it is 'some'", "percentage"),
        ("grpc:\n              port: 8500", "tcpSocket: {port: grcp}", "'grcp'", "grpc, http"),
        (
            "grpc:\n              port: 8500\n            ",
            "",
            "startupProbe: it has 0",
            "one of grpc",
        ),
        ("replicas: 2", "replicas: 2\n  replicas: 3", "line 10", "Correct that line"),
        ("  replicas: 2", "\treplicas: 2", "line 9", "never of tabs"),
        ("command: [", "command: [a, [", "line", "Correct that line"),
        ("spec:", "---\nspec:", "2 documents", "one resource a file"),
    ],
)
def test_a_mistake_is_named_with_its_file_field_and_remedy(
    edit: Edit, before: str, after: str, field: str, hint: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest.read(edit(before, after))
    message = str(caught.value)
    assert tuple(p in message for p in ("deployment.yaml", field, hint)) == (True, True, True), (
        message
    )


def test_a_second_container_is_refused(edit: Edit) -> None:
    after = "containers:\n        - {name: proxy, image: envoy:1}\n"
    with pytest.raises(ManifestError, match="there are 2"):
        manifest.read(edit("containers:\n", after))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"deployment\.yaml can't be read: No such file"):
        manifest.read(tmp_path)


def test_binary_rubbish_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deployment.yaml").write_bytes(b"\xff\xd8\xff\x00")
    with pytest.raises(ManifestError, match=r"deployment\.yaml"):
        manifest.read(tmp_path)


def test_speeds_are_measured_in_the_environment_that_replicas_have(base: Deployment) -> None:
    from helpers.export.fast import SERVED_ENVIRONMENT

    assert dict(base.template.env) == SERVED_ENVIRONMENT
