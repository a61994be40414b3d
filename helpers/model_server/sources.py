"""What should be served: a list of models that makes sense, and a look at their directories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tensorflow_serving.config import model_server_config_pb2 as config_pb2

from helpers.model_server import config
from helpers.model_server.flags import Flags
from helpers.model_server.status import failed_precondition, invalid
from helpers.model_server.version import LARGEST, number_of


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
        children, problems = _versions(base)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        return None, (
            f"FileSystemStoragePathSource encountered a filesystem access error: Could not find "
            f"base path {base} for servable {name} ({getattr(error, 'strerror', error)}). Check "
            "the path, or export a model to it; the server goes on looking"
        )
    if not children:
        problems.append(
            f"No versions of servable {name} found under base path {base}. Did you forget "
            "to name your leaf directory as a number (eg. '/1/')?"
        )
        return {}, " ".join(problems)
    chosen, problem = _chosen(model, children)
    return chosen, " ".join(filter(None, [*problems, problem]))


def _versions(base: Path) -> tuple[dict[int, Path], list[str]]:
    """A directory's versions, and what is odd about its names."""
    found: dict[int, Path] = {}
    problems = []
    for child in sorted(base.iterdir(), key=lambda child: child.name):
        if not (child.name.isascii() and child.name.isdigit() and child.is_dir()):
            continue
        number = number_of(child.name)
        if number is None:
            problems.append(f"{child} is no version: {child.name} is larger than {LARGEST}.")
            continue
        if number in found:
            problems.append(
                f"Duplicate version directories detected. Version {number} will be loaded from "
                f"{child.name}, {found[number].name} will be ignored."
            )
        found[number] = child
    return found, problems


def _chosen(
    model: config_pb2.ModelConfig, children: Mapping[int, Path]
) -> tuple[Mapping[int, Path], str]:
    """The versions that the model's policy chooses, and what it asks for in vain."""
    policy = model.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return children, ""
    if kind == "specific":
        asked = policy.specific.versions
        missing = ", ".join(str(number) for number in asked if number not in children)
        problem = ""
        if not asked:
            there = ", ".join(map(str, sorted(children)))
            problem = (
                f"The 'specific' version policy of servable {model.name} lists no version, so none "
                f"is served. Add `versions: N` to it; {model.base_path} holds {there}."
            )
        elif missing:
            problem = (
                f"Version {missing} of servable {model.name}, which was requested to be served as "
                f"a 'specific' version in the servable's model version policy, was not found in "
                f"the file system ({model.base_path})."
            )
        return {n: children[n] for n in asked if n in children}, problem
    newest = sorted(children, reverse=True)[: policy.latest.num_versions or 1]
    return {number: children[number] for number in newest}, ""
