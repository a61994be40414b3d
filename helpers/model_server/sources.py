"""What should be served: a list of models that makes sense, and a look at their directories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tensorflow_serving.config import model_server_config_pb2 as config_pb2

from helpers.model_server import config
from helpers.model_server.flags import Flags
from helpers.model_server.status import failed_precondition, invalid


def configured(flags: Flags) -> config_pb2.ModelServerConfig:
    """The ModelServerConfig: of the file, or of the one model that the flags name.

    Raises:
        StatusError: the file can't be read.
    """
    if flags.model_config_file:
        return config.read(flags.model_config_file, config_pb2.ModelServerConfig)
    result = config_pb2.ModelServerConfig()
    result.model_config_list.config.add(
        name=flags.model_name, base_path=flags.model_base_path, model_platform="tensorflow"
    )
    return result


def validated(
    given: config_pb2.ModelServerConfig, old: Mapping[str, config_pb2.ModelConfig]
) -> dict[str, config_pb2.ModelConfig]:
    """The models of a configuration by their names.

    Args:
        old: what is served now.

    Raises:
        StatusError: INVALID_ARGUMENT, it makes no sense; FAILED_PRECONDITION, it can't follow the
            old one.
    """
    if given.WhichOneof("config") != "model_config_list":
        raise failed_precondition(
            "Cannot transition to requested config. It is only legal to transition from one "
            "ModelConfigList to another."
        )
    configs: dict[str, config_pb2.ModelConfig] = {}
    for model in given.model_config_list.config:
        if model.name in configs:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        if not Path(model.base_path).is_absolute():
            raise invalid(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()="
                f"{model.base_path}"
            )
        platform = model.model_platform or ("tensorflow" if model.model_type == 1 else "")
        if not platform:
            raise invalid(
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                f'ModelServerConfig::model_platform. Add model_platform: "tensorflow" to '
                f"{model.name}"
            )
        if model.name in old and old[model.name].model_platform != model.model_platform:
            raise failed_precondition(
                f"Cannot transition to requested model platform. It is only legal to transition to "
                f"the same model platform. Model {model.name}"
            )
        if platform != "tensorflow":
            raise invalid(f'ModelServer supports model_platform "tensorflow"; got {platform}')
        configs[model.name] = model
    return configs


def look(model: config_pb2.ModelConfig) -> tuple[Mapping[int, Path] | None, str]:
    """The versions that should be served (None: can't tell, change nothing), and what is wrong."""
    name, base = model.name, Path(model.base_path)
    try:
        children = {
            int(child.name): child
            for child in base.iterdir()
            if child.name.isascii() and child.name.isdigit() and child.is_dir()
        }
    except OSError as error:
        return None, (
            f"FileSystemStoragePathSource encountered a filesystem access error: Could not find "
            f"base path {base} for servable {name} ({error.strerror}). Check the path, or "
            "export a model to it; the server goes on looking"
        )
    if not children:
        return {}, (
            f"No versions of servable {name} found under base path {base}. Did you forget "
            "to name your leaf directory as a number (eg. '/1/')?"
        )
    policy = model.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return children, ""
    if kind == "specific":
        asked = policy.specific.versions
        missing = ", ".join(str(number) for number in asked if number not in children)
        problem = (
            f"Version {missing} of servable {name}, which was requested to be served as a "
            f"'specific' version in the servable's model version policy, was not found in the file "
            f"system ({base})."
        )
        return {n: children[n] for n in asked if n in children}, problem if missing else ""
    newest = sorted(children, reverse=True)[: policy.latest.num_versions or 1]
    return {number: children[number] for number in newest}, ""
