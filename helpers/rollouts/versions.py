"""Which versions of a model the replicas serve, and which label is whose."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc

from helpers import settings
from helpers.client import Classifier, ModelVersion, protos, rpc
from helpers.clusters import Cluster
from helpers.errors import ServingError

_POLL_S = 0.1
_LOADED_S = 120.0  # for a replica to load what is new


def serve(
    cluster: Cluster,
    versions: Sequence[int],
    *,
    labels: Mapping[str, int] | None = None,
    models: Path = settings.MODELS,
) -> dict[str, list[ModelVersion]]:
    """Makes every replica serve exactly these versions, under these labels.

    By HandleReloadConfigRequest, which replaces a server's whole configuration. A label is given
    only to a version that is available, so each replica first loads what is new, under the labels
    that can be kept, and then gets the labels. A replica that starts later has the configuration of
    its flags again: what is to stay belongs into `serving/models.config`, and is rolled out.

    Args:
        cluster: with replicas that are ready.
        versions: numbers of version directories.
        labels: names for some of them, as clients ask for them. A label is given only to a version
            that is available, so a new version and its label take two calls.
        models: the folder of models; a container sees it as `/models`, a process where it is.

    Returns:
        The state of each version, by the replica's address.

    Raises:
        ServingError: a replica refuses, with its reason: a version that can't be loaded, a label
            for one that isn't.
    """
    folder = str(Path(models).resolve()) if cluster.target == "local" else settings.CONTAINER_MODELS
    base_path, wanted = f"{folder}/{settings.MODEL_NAME}", dict(labels or {})
    states = {}
    for address in cluster.addresses():
        with Classifier(address) as classifier:
            there = {v.version for v in classifier.status() if v.state == "AVAILABLE"}
            kept = {label: version for label, version in wanted.items() if version in there}
            _reload(address, request(versions, kept, base_path=base_path))
            states[address] = _settled(classifier, versions, address)
            if kept != wanted:
                _reload(address, request(versions, wanted, base_path=base_path))
    return states


def _settled(classifier: Classifier, versions: Sequence[int], address: str) -> list[ModelVersion]:
    """The states of the versions, once each is available.

    Raises:
        ServingError: one can't be loaded, or isn't in time.
    """
    deadline = time.monotonic() + _LOADED_S
    while True:
        found = [v for v in classifier.status() if v.version in versions]
        failed = [v for v in found if v.error]
        if failed or time.monotonic() > deadline:
            broken = failed[0] if failed else ModelVersion(0, "", f"not loaded in {_LOADED_S:g} s")
            raise ServingError(
                f"{address} can't serve version {broken.version}",
                cause=broken.error,
                next_step="The versions that it had go on. Serve those, and mend this one.",
                details=broken.error,
            )
        if sorted(v.version for v in found if v.state == "AVAILABLE") == sorted(versions):
            return found
        time.sleep(_POLL_S)


def request(versions: Sequence[int], labels: Mapping[str, int], *, base_path: str) -> bytes:
    """A serialized ReloadConfigRequest for the model."""
    message = protos.model_management_pb2.ReloadConfigRequest()
    config = message.config.model_config_list.config.add()
    config.name = settings.MODEL_NAME
    config.base_path = base_path
    config.model_platform = "tensorflow"
    config.model_version_policy.specific.versions.extend(versions)
    for label, version in labels.items():
        config.version_labels[label] = version
    return bytes(message.SerializeToString())


def _reload(address: str, message: bytes) -> None:
    options = rpc.channel_options(address, balancing="pick_first", max_attempts=3)
    with grpc.insecure_channel(address, options=options) as channel:
        call = channel.unary_unary(protos.RELOAD_CONFIG, None, None)
        try:
            call(message, timeout=_LOADED_S)
        except grpc.RpcError as error:
            name, most_s = settings.MODEL_NAME, _LOADED_S
            raise rpc.explain(error, address=address, model=name, timeout_s=most_s) from error
