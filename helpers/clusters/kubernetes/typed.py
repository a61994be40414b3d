"""`kubectl` as a person types it: with a notebook's context and namespace as the current ones."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml
from kubernetes.config.kube_config import KubeConfigMerger

from helpers import settings
from helpers.clusters.kubernetes import render

FOLDER = settings.BUILD / "kubeconfig"


def make_current(context: str, namespace: str, *, kubeconfig: str | None) -> Path:
    """Lets plain `kubectl` in this process's children use a context and a namespace.

    The file that it writes holds only which of the two are current, and no credentials: it is put
    before the reader's own in `$KUBECONFIG`, where the first file that says something counts. The
    reader's files, and so their shells, are as they were.

    Args:
        context: one that the kubeconfig has.
        namespace: in that cluster.
        kubeconfig: the reader's file; None for `$KUBECONFIG` or `~/.kube/config`.

    Returns:
        The file, in build/kubeconfig.

    Raises:
        SetupError: there is no kubectl.
    """
    render.kubectl()
    path = FOLDER / (re.sub(r"[^\w.-]+", "-", f"{context}-{namespace}") + ".yaml")
    files = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    own = os.pathsep.join(file for file in files.split(os.pathsep) if file != str(path))
    entry = KubeConfigMerger(own).config["contexts"].get_with_name(context).value["context"]
    current = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": {**entry, "namespace": namespace}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(current), encoding="utf-8")
    os.environ["KUBECONFIG"] = os.pathsep.join([str(path), own])
    return path
