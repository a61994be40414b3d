"""Every overlay and component renders, fits two versions' schemas, and is accepted by an API server
that enforces the restricted Pod Security Standard."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from conftest import Kubectl

from helpers import settings

OVERLAYS = sorted(path.name for path in (settings.MANIFESTS / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (settings.MANIFESTS / "components").iterdir())
WORKSHOP = "overlays/workshop/namespace"  # for who runs it; the overlay is for the learners
ON_TOP_OF = {"gpu-mig": ["gpu"], "gpu-time-slicing": ["gpu"]}
# The oldest with everything that the manifests use (`sleep` in preStop is on by default from 1.30),
# and the newest whose schema is to be had.
VERSIONS = ("1.30", "1.37")
# Beside the kustomizations, for those who have what they need; the API server here may not.
ALONE = [
    "components/autoscaling/horizontalpodautoscaler-queueing-time.yaml",
    "components/gpu-time-slicing/configmap.yaml",
]


@pytest.fixture(scope="module", params=[*OVERLAYS, *COMPONENTS, WORKSHOP, "loadtest", "base"])
def rendered(request: pytest.FixtureRequest, tmp_path_factory: Any) -> str:
    name = request.param
    if name in COMPONENTS:
        # Next to the real ones: kustomize takes no absolute paths.
        folder = tmp_path_factory.mktemp(name)
        (folder / "manifests").symlink_to(settings.MANIFESTS)
        (folder / "serving").symlink_to(settings.SERVING)
        parts = [*ON_TOP_OF.get(name, []), name]
        path = write(folder, parts)
    else:
        path = settings.MANIFESTS / ("overlays" if name in OVERLAYS else ".") / name
    done = subprocess.run(["kubectl", "kustomize", path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def write(folder: Path, components: list[str], *, base: str = "base") -> Path:
    root = os.path.relpath(settings.MANIFESTS, folder.resolve())
    text = "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1\n"
    text += f"resources:\n  - {root}/{base}\ncomponents:\n"
    text += "".join(f"  - {root}/components/{name}\n" for name in components)
    (folder / "kustomization.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def restricted(kubectl: Kubectl) -> Iterator[Kubectl]:
    """A namespace where the restricted Pod Security Standard is enforced."""
    name = "test-manifests"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield Kubectl(kubectl.context, name)
    kubectl("delete", "namespace", name, "--wait=true")


@pytest.mark.parametrize("version", VERSIONS)
def test_it_fits_the_schema(rendered: str, version: str) -> None:
    for resource in yaml.safe_load_all(rendered):
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_api_server_accepts_it(rendered: str, restricted: Kubectl) -> None:
    resources = [r for r in yaml.safe_load_all(rendered) if r["kind"] != "Namespace"]
    for resource in resources:
        resource["metadata"].pop("namespace", None)
    done = restricted.run(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"),
        stdin=yaml.safe_dump_all(resources),
    )
    assert (done.returncode, done.stderr) == (0, "")  # a warning would be there as well
    assert len(done.stdout.splitlines()) == len(resources)


def test_its_pods_are_admitted_under_the_restricted_standard(
    rendered: str, restricted: Kubectl
) -> None:
    """The standard is enforced on pods only; of a Deployment it just warns."""
    workloads = [r for r in yaml.safe_load_all(rendered) if r["kind"] in ("Deployment", "Job")]
    if not workloads:
        assert "kind: Namespace" in rendered  # the workshop's, which runs nothing itself
        return
    assert len(workloads) == 1
    template = workloads[0]["spec"]["template"]
    spec = template["spec"] | {"serviceAccountName": "default"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": spec}
    for constraint in spec.get("topologySpreadConstraints", ()):
        constraint.pop("matchLabelKeys", None)  # they name a label that the Deployment would give
    done = restricted.run("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_roll_out_is_given_longer_than_a_replicas_start(rendered: str) -> None:
    """So that what gets reported is the replica's own failure, not that time is over."""
    for resource in yaml.safe_load_all(rendered):
        if resource["kind"] == "Deployment":
            probe = resource["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
            longest_s = probe["periodSeconds"] * probe["failureThreshold"]
            assert resource["spec"]["progressDeadlineSeconds"] > longest_s


def test_the_base_mounts_the_configuration_that_it_renders() -> None:
    """The ConfigMap's name carries a hash; kustomize puts it into the Deployment, too."""
    done = subprocess.run(
        ["kubectl", "kustomize", settings.MANIFESTS / "base"], capture_output=True, text=True
    )
    found = {resource["kind"]: resource for resource in yaml.safe_load_all(done.stdout)}
    volumes = found["Deployment"]["spec"]["template"]["spec"]["volumes"]
    mounted = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
    assert mounted == [found["ConfigMap"]["metadata"]["name"]]
    assert mounted != ["inception-config"]


def test_what_an_overlay_selects_is_merged_with_what_a_component_does(tmp_path: Path) -> None:
    folder = tmp_path / "merged"
    folder.mkdir()
    write(folder, ["gpu-time-slicing"], base="overlays/gke-gpu")
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    (deployment,) = (r for r in yaml.safe_load_all(done.stdout) if r["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["nodeSelector"] == {
        "cloud.google.com/gke-accelerator": "nvidia-l4",
        "nvidia.com/device-plugin.config": "four-turns",
    }


@pytest.mark.parametrize("path", ALONE)
def test_a_file_that_stands_alone_is_accepted(path: str, restricted: Kubectl) -> None:
    file = settings.MANIFESTS / path
    for version in VERSIONS:
        kubernetes_validate.validate(yaml.safe_load(file.read_text()), version, strict=True)
    done = restricted.run("apply", "--server-side", "--dry-run=server", "-f", str(file))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_standard_is_enforced_here(restricted: Kubectl) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe"},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    done = restricted.run("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))
    assert 'violates PodSecurity "restricted:latest"' in done.stderr
