"""Patches of a Deployment: as `kubectl patch` merges them, and the same on both targets."""

from __future__ import annotations

import pytest

from helpers import settings
from helpers.clusters import manifest, patches
from helpers.clusters.kubernetes import render
from helpers.errors import ManifestError

BASE = settings.MANIFESTS / "base"
DEPLOYMENT = {
    "kind": "Deployment",
    "metadata": {"name": "inception"},
    "spec": {"template": {"spec": {"containers": [{"name": "server", "args": ["--a"]}]}}},
}


def test_a_field_is_replaced_and_its_neighbours_stay() -> None:
    merged = patches.merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    assert merged == {"a": {"b": 3, "c": 2}}


def test_none_removes_a_field() -> None:
    assert patches.merge({"a": 1, "b": 2}, {"a": None}) == {"b": 2}


def test_named_things_in_a_list_are_merged_by_name() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    merged = patches.merge(env, [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}])
    assert merged == [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "3"},
        {"name": "C", "value": "4"},
    ]


def test_another_list_is_replaced() -> None:
    assert patches.merge({"args": ["--a", "--b"]}, {"args": ["--c"]}) == {"args": ["--c"]}


def test_what_is_patched_stays_as_it_was() -> None:
    resource = {"a": {"b": 1}}
    patches.merge(resource, {"a": {"b": 2}})
    assert resource == {"a": {"b": 1}}


def test_local_honours_a_patch() -> None:
    patch = patches.container(readinessProbe={"periodSeconds": 7}, livenessProbe=None)
    template = manifest.read(BASE, patch).template
    assert template.readiness is not None
    assert (template.readiness.period_s, template.readiness.timeout_s) == (7, 5)
    assert template.liveness is None


def test_a_typo_in_a_patch_is_found_as_one_in_the_file_is() -> None:
    with pytest.raises(ManifestError, match="periodSecond"):
        manifest.read(BASE, patches.container(readinessProbe={"periodSecond": 7}))


def test_a_cluster_gets_the_patched_deployment() -> None:
    patch = patches.pod(terminationGracePeriodSeconds=4)
    (made,) = render.prepare([DEPLOYMENT], namespace="here", patch=patch)
    spec = made["spec"]["template"]["spec"]
    assert (spec["terminationGracePeriodSeconds"], spec["containers"][0]["name"]) == (4, "server")


def test_only_the_deployment_is_patched() -> None:
    service = {"kind": "Service", "metadata": {"name": "inception"}, "spec": {}}
    (made,) = render.prepare([service], namespace="here", patch=patches.pod(hostNetwork=True))
    assert made["spec"] == {}


def test_preparing_leaves_the_manifest_as_it_was() -> None:
    render.prepare([DEPLOYMENT], namespace="here", replicas=3, args=["--b"])
    assert DEPLOYMENT["metadata"] == {"name": "inception"}
    assert "replicas" not in DEPLOYMENT["spec"]


def test_what_any_of_several_patches_removes_is_removed() -> None:
    image = patches.container(image="b")
    removing = patches.container(readinessProbe=None)
    resource = patches.container(image="a", readinessProbe={"periodSeconds": 1})
    for whole in (patches.combine(image, removing), patches.combine(removing, image)):
        assert patches.merge(resource, whole) == image


def test_a_later_patch_goes_over_an_earlier_one() -> None:
    assert patches.combine({"a": 1, "b": None}, {"a": 2, "b": 3}) == {"a": 2, "b": 3}
