"""Files for the servers that stand in no manifest: a queue of another length, certificates."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from helpers.clusters import patches
from helpers.clusters.interface import Cluster

if TYPE_CHECKING:
    from helpers.clusters.kubernetes import KubernetesCluster
    from helpers.clusters.local.target import LocalCluster

FOLDER = "{files}"  # in a flag: where the files are, for the server
_MOUNTED = "/etc/tutorial-files"


def apply(
    cluster: Cluster,
    files: Mapping[str, str],
    *,
    args: Sequence[str],
    replicas: int | None = None,
    patch: Mapping[str, Any] | None = None,
) -> None:
    """`cluster.apply` with files that the flags name: `--ssl_config_file={files}/ssl.config`.

    On `local` they are files of this machine, which the cluster's `delete` removes; on `kubernetes`
    a Secret that is mounted. Its name carries a hash of what is in it, so that other contents roll
    out like any other change.

    Args:
        cluster: where the replicas run.
        files: their contents by name.
        args: server flags; `{files}` in them is the files' folder. The others are those of
            `cluster.apply`.

    Raises:
        ManifestError: the Deployment can't be made so.
        ClusterError: the files can't be put there.
    """
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:10]
    if cluster.target == "local":
        folder = cast("LocalCluster", cluster).files.path / digest
        _write(folder, files)
        cluster.apply(replicas=replicas, args=_placed(args, str(folder)), patch=patch)
        return
    name = f"tutorial-files-{digest}"
    mount = patches.pod(
        volumes=[{"name": "tutorial-files", "secret": {"secretName": name, "defaultMode": 0o440}}],
        securityContext={"fsGroup": 65532},
        containers=[
            {
                "name": "server",
                "volumeMounts": [
                    {"name": "tutorial-files", "mountPath": _MOUNTED, "readOnly": True}
                ],
            }
        ],
    )
    whole = patches.combine(patch or {}, mount)
    cluster.apply(replicas=replicas, args=_placed(args, _MOUNTED), patch=whole)
    # After `apply`, which makes the namespace: the pods wait for it meanwhile. A later `apply`
    # removes it, once no revision mounts it any more.
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "data": {n: base64.b64encode(text.encode()).decode() for n, text in files.items()},
    }
    cast("KubernetesCluster", cluster).apply_resource(secret)


def _placed(args: Sequence[str], folder: str) -> list[str]:
    return [arg.replace(FOLDER, folder) for arg in args]


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).touch(mode=0o600)  # a private key may be among them
        (folder / name).write_text(text)
