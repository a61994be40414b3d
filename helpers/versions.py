"""Which versions of a model the replicas serve, and which label is whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc

from helpers import protos, settings
from helpers.client import Classifier, ModelVersion, rpc
from helpers.clusters import Cluster


def serve(
    cluster: Cluster,
    versions: Sequence[int],
    *,
    labels: Mapping[str, int] | None = None,
    models: Path = settings.MODELS,
    model: str = settings.MODEL_NAME,
    timeout_s: float = 120,
) -> dict[str, list[ModelVersion]]:
    """Makes every replica serve exactly these versions, under these labels.

    By HandleReloadConfigRequest, which replaces a server's configuration and returns once it is so.
    A replica that starts later has the configuration of its flags again: write what is to stay
    into `serving/models.config`, and roll that out.

    Args:
        cluster: with replicas that are ready.
        versions: numbers of version directories.
        labels: names for some of them, as clients ask for them. A label is given only to a version
            that is available, so a new version and its label take two calls.
        models: the folder of models; a container sees it as `/models`, a process where it is.
        model: the servable's name.
        timeout_s: for each replica to load what is new.

    Returns:
        The state of each version, by the replica's address.

    Raises:
        ServingError: a replica refuses, with its reason: a version that can't be loaded, a label
            for one that isn't.
    """
    folder = str(Path(models).resolve()) if cluster.target == "local" else settings.CONTAINER_MODELS
    message = request(versions, labels or {}, base_path=f"{folder}/{model}", model=model)
    states = {}
    for address in cluster.addresses():
        _reload(address, message, model, timeout_s)
        with Classifier(address, model=model) as classifier:
            states[address] = classifier.status()
    return states


def request(
    versions: Sequence[int],
    labels: Mapping[str, int],
    *,
    base_path: str,
    model: str = settings.MODEL_NAME,
) -> bytes:
    """A serialized ReloadConfigRequest for one model."""
    message = protos.model_management_pb2.ReloadConfigRequest()
    config = message.config.model_config_list.config.add()
    config.name = model
    config.base_path = base_path
    config.model_platform = "tensorflow"
    config.model_version_policy.specific.versions.extend(versions)
    for label, version in labels.items():
        config.version_labels[label] = version
    return bytes(message.SerializeToString())


def _reload(address: str, message: bytes, model: str, timeout_s: float) -> None:
    options = rpc.channel_options(address, balancing="pick_first", max_attempts=1)
    with grpc.insecure_channel(address, options=options) as channel:
        call = channel.unary_unary(protos.RELOAD_CONFIG, None, None)
        try:
            call(message, timeout=timeout_s)
        except grpc.RpcError as error:
            raise rpc.explain(error, address=address, model=model, timeout_s=timeout_s) from error
