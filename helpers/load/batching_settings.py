"""One model under many names, each with its own batching parameters: a sweep with one server start.

Batching parameters can't be reloaded, but with `--enable_per_model_batching_parameters` a server
reads them from each model's version directory. So one server that is started once holds every
setting of a sweep at the same time, and only the one that is asked does any work.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers import settings
from helpers.errors import SetupError
from helpers.export import export

PARAMETERS = "batching_params.pbtxt"  # where the server looks for them in a version directory
_WAITING = 64  # batches in the queue: a sweep is to see them wait, not to see them refused


@dataclass(frozen=True)
class Sweep:
    """A models directory that holds one model under many names.

    Attributes:
        models: the directory, for `connect(…, models=…)`.
        names: max_batch_size and batch_timeout_micros to the name of the model that has them.
        args: the flags that a server needs for them.
    """

    models: Path
    names: Mapping[tuple[int, int], str]
    args: tuple[str, ...]


def write(
    version: Path, folder: Path, *, sizes: Sequence[int], timeouts_us: Sequence[int]
) -> Sweep:
    """Writes the directory: links to the model's files, and a file of parameters for each setting.

    Args:
        version: the version directory of the model, such as `build/models-light/inception/1`.
        folder: the directory; replaced if a sweep is there already.
        sizes: the max_batch_size to try.
        timeouts_us: the batch_timeout_micros to try.

    Raises:
        SetupError: there is something else in the folder, or nothing to try.
    """
    config = folder / "models.config"
    if folder.exists() and any(folder.iterdir()) and not config.is_file():
        raise SetupError(
            f"{folder} can't be made a sweep's",
            cause="there is something else in it",
            next_step="Pass another folder.",
        )
    if not sizes or not timeouts_us or min(sizes) < 1 or min(timeouts_us) < 0:
        raise SetupError(
            "There is nothing to sweep",
            next_step="Pass batch sizes from 1 and time-outs from 0 microseconds on.",
        )
    shutil.rmtree(folder, ignore_errors=True)
    names = {
        (size, us): f"batch-{size}-us-{us}" for size, us in itertools.product(sizes, timeouts_us)
    }
    _link(version, folder / settings.MODEL_NAME / version.name)
    for (size, us), name in names.items():
        own = folder / name / version.name
        _link(version, own)
        (own / PARAMETERS).write_text(
            f"max_batch_size {{ value: {size} }}\n"
            f"batch_timeout_micros {{ value: {us} }}\n"
            f"max_enqueued_batches {{ value: {_WAITING} }}\n"
        )
    every = (settings.MODEL_NAME, *names.values())
    listed = "".join(
        f"  config {{ name: '{name}' base_path: '{(folder / name).resolve()}' "
        "model_platform: 'tensorflow' }\n"
        for name in every
    )
    config.write_text(f"model_config_list {{\n{listed}}}\n")
    flags = f"--model_config_file={config.resolve()}", "--enable_per_model_batching_parameters=true"
    return Sweep(folder, names, flags)


def light_network() -> Path:
    """The version directory of the light network, which is exported first if it isn't there."""
    return export(settings.MODELS_LIGHT, network="light").path


def _link(version: Path, copy: Path) -> None:
    copy.mkdir(parents=True)
    # The requests that a server warms itself up with hold more photos than the smallest batch.
    for entry in (entry for entry in version.iterdir() if entry.name != "assets.extra"):
        (copy / entry.name).symlink_to(entry.resolve())
