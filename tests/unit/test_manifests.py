"""The base manifests: fields that the API has, and what every container here is held to."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import settings
from helpers.clusters import arguments, schema
from helpers.model_server import config

BASE = settings.MANIFESTS / "base"
BATCHING = settings.MANIFESTS / "components" / "batching"
MODELS = {
    "Deployment": "V1Deployment",
    "NetworkPolicy": "V1NetworkPolicy",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "Service": "V1Service",
    "ServiceAccount": "V1ServiceAccount",
}
FILES = sorted(path for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml")


def resource(name: str) -> dict[str, Any]:
    return schema.load(BASE / f"{name}.yaml")


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    return resource("deployment")["spec"]["template"]


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["spec"]["containers"]
    return container


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_holds_one_resource_that_the_api_has(path: Path) -> None:
    found = schema.load(path)
    schema.check(found, path, MODELS[found["kind"]])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_named_after_its_kind(path: Path) -> None:
    assert schema.load(path)["kind"].lower() == path.stem.partition("-")[0]


def test_the_kustomization_lists_every_file() -> None:
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    assert {path.name for path in FILES} == {name for name in listed if name.endswith(".yaml")}


@pytest.mark.parametrize(
    "selector",
    [
        resource("deployment")["spec"]["selector"]["matchLabels"],
        resource("service")["spec"]["selector"],
        resource("service-headless")["spec"]["selector"],
        resource("poddisruptionbudget")["spec"]["selector"]["matchLabels"],
        resource("networkpolicy")["spec"]["podSelector"]["matchLabels"],
    ],
    ids=["Deployment", "Service", "headless", "budget", "policy"],
)
def test_every_selector_selects_the_pods(pod: dict[str, Any], selector: dict[str, str]) -> None:
    assert selector == pod["metadata"]["labels"]


@pytest.mark.parametrize("name", ["service", "service-headless"])
def test_a_services_ports_are_the_containers(container: dict[str, Any], name: str) -> None:
    ports = {port["targetPort"]: port["port"] for port in resource(name)["spec"]["ports"]}
    assert ports == {port["name"]: port["containerPort"] for port in container["ports"]}


def test_the_ports_are_those_of_the_settings_and_the_flags(container: dict[str, Any]) -> None:
    declared = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert declared == {"grpc": settings.GRPC_PORT, "http": settings.REST_PORT}
    assert arguments.service_ports(container["args"]) == tuple(declared.values())


def test_the_flags_name_the_model_of_the_settings(container: dict[str, Any]) -> None:
    named = [arguments.value(container["args"], n) for n in ("model_name", "model_base_path")]
    path = f"{settings.CONTAINER_MODELS}/{settings.MODEL_NAME}"
    assert named == [settings.MODEL_NAME, path]


def test_notebook_02_explains_exactly_the_flags_that_the_base_gives(
    container: dict[str, Any],
) -> None:
    path = settings.NOTEBOOKS / "02_serve_and_classify.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    (table,) = (text for c in cells if "| flag | what" in (text := "".join(c["source"])))
    explained = re.findall(r"`--(\w+)`", " ".join(re.findall(r"^\|.*?(?= \|)", table, re.M)))
    assert sorted(explained) == sorted(re.match(r"--(\w+)=", arg)[1] for arg in container["args"])


def test_the_files_that_the_flags_name_are_in_the_configuration(container: dict[str, Any]) -> None:
    kustomization = yaml.safe_load((settings.SERVING / "kustomization.yaml").read_text())
    (generator,) = kustomization["configMapGenerator"]
    named = {f.partition("=")[2] for f in container["args"] if settings.CONTAINER_CONFIG in f}
    assert named <= {f"{settings.CONTAINER_CONFIG}/{file}" for file in generator["files"]}
    assert all((settings.SERVING / file).exists() for file in generator["files"])


@pytest.mark.parametrize(
    ("folder", "flags"),
    [
        (settings.SERVING, BASE / "deployment.yaml"),
        (BATCHING, BATCHING / "kustomization.yaml"),
    ],
    ids=["base", "component"],
)
def test_what_a_queue_lets_in_has_a_thread_each(folder: Path, flags: Path) -> None:
    """Otherwise gRPC refuses in the queue's place, by a code that our clients don't retry."""
    batching = config.batching(folder / "batching.config")
    (threads,) = re.findall(r"--grpc_max_threads=(\d+)", flags.read_text())
    let_in = batching.max_enqueued_batches + batching.num_batch_threads
    # Those that are refused need one, and so do the probes.
    assert int(threads) >= let_in * batching.max_batch_size + 16


def test_grpc_probes_have_the_health_service_that_they_ask(container: dict[str, Any]) -> None:
    assert arguments.value(container["args"], "enable_grpc_healthcheck_service") == "true"


def test_the_container_is_probed_in_all_three_ways(container: dict[str, Any]) -> None:
    probes = {"startupProbe", "readinessProbe", "livenessProbe"}
    assert probes == {field for field in container if field.endswith("Probe")}


def test_the_pod_meets_the_restricted_security_standard(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    security = pod["spec"]["securityContext"]
    assert (security["runAsNonRoot"], security["seccompProfile"]["type"]) == (
        True,
        "RuntimeDefault",
    )
    assert security["runAsUser"] > 0
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"])
    allowed = {"name", "configMap", "emptyDir", "secret", "projected", "persistentVolumeClaim"}
    assert {field for volume in pod["spec"]["volumes"] for field in volume} <= allowed


def test_the_root_filesystem_is_read_only_and_tmp_is_not(container: dict[str, Any]) -> None:
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_no_token_of_the_api_reaches_the_pod(pod: dict[str, Any]) -> None:
    account = resource("serviceaccount")
    assert pod["spec"]["serviceAccountName"] == account["metadata"]["name"]
    assert not pod["spec"]["automountServiceAccountToken"]
    assert not account["automountServiceAccountToken"]


def test_memory_and_processor_are_requested_and_memory_is_bounded(
    container: dict[str, Any],
) -> None:
    resources = container["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert "memory" in resources["limits"]


def test_the_image_has_a_version(container: dict[str, Any]) -> None:
    name, _, tag = container["image"].partition(":")
    assert (bool(name), tag not in ("", "latest")) == (True, True)


def test_the_grace_period_covers_the_hook_and_a_clients_deadline(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    drain_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    client_s = 10  # Classifier's default time-out
    assert pod["spec"]["terminationGracePeriodSeconds"] >= drain_s + client_s


def test_sigterm_ends_a_server_without_a_handler(pod: dict[str, Any]) -> None:
    assert pod["spec"]["shareProcessNamespace"] is True


def test_replicas_spread_over_zones_and_nodes(pod: dict[str, Any]) -> None:
    keys = [spread["topologyKey"] for spread in pod["spec"]["topologySpreadConstraints"]]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


def test_a_roll_out_is_reported_by_its_replica_and_not_by_its_deadline(
    container: dict[str, Any],
) -> None:
    probe = container["startupProbe"]
    longest_start_s = probe["periodSeconds"] * probe["failureThreshold"]
    assert resource("deployment")["spec"]["progressDeadlineSeconds"] > longest_start_s


STEPS = sorted((settings.MANIFESTS / "steps").glob("*.yaml"))


def added(before: Any, after: Any) -> list[str]:
    """What of `before` isn't in `after`: a step only adds. A list of named things is looked up."""
    if isinstance(before, dict) and isinstance(after, dict):
        lost = [key for key in before if key not in after]
        inside = [added(before[key], after[key]) for key in before if key in after]
        return lost + [name for names in inside for name in names]
    if isinstance(before, list) and isinstance(after, list) and len(before) <= len(after):
        if all(isinstance(item, dict) and "name" in item for item in [*before, *after]):
            named = {item["name"]: item for item in after}
            return [n for item in before for n in added(item, named.get(item["name"]))]
        return [str(item) for item in before if item not in after]
    return [] if before == after else [f"{before} became {after}"]


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.name)
def test_a_step_of_notebook_04_is_a_deployment_that_the_api_has(path: Path) -> None:
    schema.check(schema.load(path), path, "V1Deployment")


@pytest.mark.parametrize("path", STEPS[1:], ids=lambda path: path.name)
def test_a_step_of_notebook_04_only_adds_to_the_one_before(path: Path) -> None:
    before = STEPS[STEPS.index(path) - 1]
    assert added(schema.load(before), schema.load(path)) == []


def test_the_steps_of_notebook_04_lead_to_the_base(pod: dict[str, Any]) -> None:
    last = schema.load(STEPS[-1])["spec"]["template"]["spec"]
    container = last["containers"][0]
    assert container["resources"]["requests"].pop("cpu") == "250m"  # the base: a whole core
    assert added(last, pod["spec"]) == []
