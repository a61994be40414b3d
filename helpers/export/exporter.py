"""`export`: one version of the model, written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from helpers.errors import ExportError, interruptible
from helpers.machine.processor import processor_class
from helpers.progress import Line
from helpers.settings import MODEL_NAME, SEED

from . import weights as weights_
from .catalog import NETWORKS
from .record import Export

if TYPE_CHECKING:
    from .runtime import keras

FORMS = ("plain", "fast")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
_FULL_WORDS = re.compile("no space left|quota exceeded|file too large", re.IGNORECASE)


def export(
    models: Path,
    *,
    version: int = 1,
    network: str = "inception_v3",
    form: str = "plain",
    weights: str | Path | None = None,
    seed: int = SEED,
    overwrite: bool = False,
) -> Export:
    """Write `models/inception/VERSION`, whole or not at all; at once if it is there already.

    The version is made in a directory beside it, whose name is no number, and then renamed, so
    that a server which polls never sees half of it.

    Args:
        models: the directory that a server mounts as `/models`. Made if it isn't there.
        version: the version's number, at least 1. Servers serve the largest.
        network: one of `catalog.NETWORKS`: `inception_v3`; `efficientnet_lite2`, smaller, with
            weights that are installed; or `light`, the same signatures with next to no work.
        form: `plain`, as Keras exports it, or `fast`, made for this machine's processor.
        weights: `imagenet`, `random`, or the path of a weights file. None: what the environment's
            TUTORIAL_WEIGHTS says of Inception-v3; without it, ImageNet's if they can be had,
            else random ones.
        seed: of random weights.
        overwrite: replace a version that was made from other settings. A server that has it
            loaded doesn't notice: give a new version instead.

    Raises:
        WeightsError: the weights can't be had, or are another network's.
        ExportError: the version is there with other settings, the disk is full or read-only, or
            the fast form's answers differ from the plain form's.
    """
    for kind, asked_for, there_are in (("network", network, NETWORKS), ("form", form, FORMS)):
        if asked_for not in there_are:
            raise ExportError(
                f"There is no {kind} {asked_for!r}",
                cause=f"there are {', '.join(there_are)}",
                next_step=f"Name one of them as `{kind}`.",
            )
    if version < 1:
        raise ExportError(
            f"There is no version {version}",
            cause="servers count from 1",
            next_step="Give a whole number from 1 on as `version`.",
        )
    chosen = weights_.choose(weights, network=network)
    file = weights_.locate(chosen) if chosen not in (weights_.IMAGENET, weights_.RANDOM) else None
    asked = Export(
        path=models / MODEL_NAME / str(version),
        version=version,
        network=network,
        form=form,
        weights=str(file.resolve()) if file else chosen,
        seed=seed,
        weights_sha256=weights_.sha256(file) if file else "",
        processor=processor_class() if form == "fast" else "",
    )
    if asked.path.exists() and not overwrite:
        there = Export.read(asked.path)
        if there.format != asked.format:  # made by another version of this project
            return _build(asked)
        if not there.difference(asked):
            return there
        if weights is not None or not _only_by_default(there, asked):
            raise ExportError(
                f"{asked.path} is there already, made from other settings",
                cause=there.difference(asked),
                next_step="Export another version, or replace this one with overwrite=True.",
            )
        if not there.labels_are_meaningless:
            return there
    chosen_here = weights is None and weights_.chosen_by_default() and network == "inception_v3"
    if chosen_here and chosen == weights_.RANDOM:
        print(weights_.ARE_RANDOM)  # once: an export that is there says it of itself
    return _build(asked)


def _only_by_default(there: Export, asked: Export) -> bool:
    """Whether they differ in the weights alone, which nobody chose: what could be had differed."""
    same = replace(there, weights=asked.weights, weights_sha256=asked.weights_sha256)
    return weights_.chosen_by_default() and not same.difference(asked)


def model_of(export: Export) -> keras.Model:
    """The Keras model that an export is made from, with its weights.

    Raises:
        WeightsError: the weights can't be had, or are another network's.
    """
    from . import efficientnet, networks

    model = networks.build(export.network)
    if export.network == efficientnet.NAME and export.weights == weights_.IMAGENET:
        efficientnet.load(model)
        return model
    file = weights_.locate(export.weights)
    if file is None:
        networks.randomize(model, seed=export.seed)
    else:
        weights_.load(model, file)
    return model


@interruptible("the export was stopped, and left nothing half written. Run it again to have it.")
def _build(asked: Export) -> Export:
    line, start = Line(), time.monotonic()
    name = f"{asked.title}, {asked.form} form"
    line.show(f"{name}: TensorFlow …")
    from . import signatures, warmup

    try:
        line.show(f"{name}: network and weights …")
        model = model_of(asked)
        made = replace(asked, parameters=model.count_params())
        with _whole(made.path) as directory:
            if made.form == "fast":
                from . import fast

                line.show(f"{name}: writing the graph, comparing its answers …")
                made = fast.write(model, directory, made, line)
            else:
                line.show(f"{name}: writing the graph …")
                signatures.write_plain(model, directory)
            warmup.write(directory)
            made.write(directory)
        line.show(f"{name}: exported in {time.monotonic() - start:.0f} s")
    finally:
        line.end()
    return made


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A directory to fill, which becomes `path` at the end, or is removed if anything fails."""
    # A name that is no number: TensorFlow Serving passes over it. mkdtemp would make a directory
    # that nobody else may read, and the container's user is somebody else.
    unfinished = path.with_name(f".{path.name}.unfinished-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        unfinished.mkdir()
        yield unfinished
        if path.exists():
            path.rename(replaced := path.with_name(f".{path.name}.replaced-{os.getpid()}"))
            shutil.rmtree(replaced)
        unfinished.rename(path)
    except Exception as error:
        if _is_full(error):
            there = next(parent for parent in path.parents if parent.exists())
            cause = f"the disk is full ({shutil.disk_usage(there).free >> 20} MiB free)"
            step = "Free 300 MB"
        elif isinstance(error, OSError) and error.errno in _FORBIDDEN:
            cause, step = error.strerror or str(error), "Make the directory writable"
        else:
            raise
        raise ExportError(
            f"{path} couldn't be written",
            cause=cause,
            next_step=f"{step}, or give another directory. Nothing half written was left.",
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _remove_leftovers(base: Path) -> None:
    """Remove what an export that was killed left behind; one that still runs is left alone."""
    for entry in base.glob(".*-*"):
        process = entry.name.rpartition("-")[2]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            shutil.rmtree(entry, ignore_errors=True)


def _is_full(error: BaseException) -> bool:
    # TensorFlow's own writers raise their own errors, which carry the system's words only.
    number = error.errno if isinstance(error, OSError) else None
    return number in _FULL or bool(_FULL_WORDS.search(str(error)))
