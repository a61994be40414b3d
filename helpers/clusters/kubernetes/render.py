"""Manifests rendered by kustomize, and the few changes that `apply` makes to them."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from helpers.clusters import arguments, patches
from helpers.errors import ManifestError, SetupError
from helpers.settings import shown

Resource = dict[str, Any]

MANAGER = "inception-tutorial"  # the field manager, and the label's value
OWNED = "app.kubernetes.io/managed-by"
SELECTOR = f"{OWNED}={MANAGER}"
DEPLOYMENT = "inception"


def kubectl() -> str:
    """The path of kubectl.

    Raises:
        SetupError: it isn't installed.
    """
    found = shutil.which("kubectl")
    if found is None:
        raise SetupError(
            "there is no `kubectl` on PATH",
            cause="the manifests are rendered by its `kubectl kustomize`",
            next_step="Install it (kubernetes.io/docs/tasks/tools), then run this again.",
        )
    return found


def render(manifests: Path) -> list[Resource]:
    """The resources of a kustomization.

    Raises:
        SetupError: there is no kubectl.
        ManifestError: kustomize can't make resources of the directory; with its own words.
    """
    program = kubectl()
    done = subprocess.run(
        [program, "kustomize", str(manifests)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise ManifestError(
            f"{shown(Path(manifests))} can't be rendered",
            cause=done.stderr.strip().removeprefix("error: "),
            next_step="Correct the file that it names. "
            f"`kubectl kustomize {shown(Path(manifests))}` shows the same.",
        )
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


def prepare(
    resources: Sequence[Resource],
    *,
    namespace: str,
    replicas: int | None = None,
    args: Sequence[str] = (),
    patch: Mapping[str, Any] | None = None,
) -> list[Resource]:
    """The resources as they are applied: in a namespace, labelled as ours, with the changes.

    Args:
        resources: as rendered; a Namespace among them is left out, it has its own way.
        namespace: where they go.
        replicas: instead of the Deployment's own number.
        args: server flags, added to the container's or instead of those of the same name.
        patch: merged into the Deployment first, see `patches`.
    """
    prepared = []
    for given in resources:
        if given["kind"] == "Namespace":
            continue
        ours = (given["kind"], given.get("metadata", {}).get("name")) == ("Deployment", DEPLOYMENT)
        resource = patches.merge(copy.deepcopy(given), (ours and patch) or {})
        metadata = resource.setdefault("metadata", {})
        metadata["namespace"] = namespace
        metadata.setdefault("labels", {})[OWNED] = MANAGER
        template = (resource.get("spec") or {}).get("template")
        if isinstance(template, dict):
            template.setdefault("metadata", {}).setdefault("labels", {})[OWNED] = MANAGER
        if ours:
            if replicas is not None:
                resource["spec"]["replicas"] = replicas
            container = resource["spec"]["template"]["spec"]["containers"][0]
            container["args"] = arguments.merge(container.get("args") or [], args)
        prepared.append(resource)
    return prepared


def origin(resource: Resource, manifests: Path) -> str:
    """The file that a resource came from, as messages name it."""
    kind, name = resource["kind"], resource["metadata"]["name"]
    for folder in (manifests, manifests.parent.parent / "base"):
        for file in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
            text = file.read_text(encoding="utf-8")
            if re.search(rf"^kind: {kind}\s*$", text, re.M) and re.search(
                rf"^  name: {re.escape(name)}\s*$", text, re.M
            ):
                return shown(file)
    return shown(manifests)
