"""What an export is: where it lies, what it was made from. No TensorFlow in here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from helpers.errors import ExportError
from helpers.settings import MODEL_NAME

from .catalog import NETWORKS

RECORD = Path("assets.extra", "export.json")  # TensorFlow Serving leaves assets.extra to us
# Raised when the same settings give another graph than before, so that an old export is made anew.
FORMAT = 4

NOTEBOOK = "Run notebook 01 (`make tutorial NOTEBOOKS=01`)"


@dataclass(frozen=True)
class Export:
    """One version directory of a model, whole on disk.

    Attributes:
        path: the version directory, `…/inception/1`: what a server loads.
        version: its number; a server serves the largest.
        network: a name in `catalog.NETWORKS`.
        form: `plain` as Keras exports it, or `fast`.
        weights: `imagenet`, `random`, or the path of the file they were read from.
        seed: of random weights; no meaning for others.
        weights_sha256: of the weights file; empty for random ones.
        processor: the class of processor that the fast form was made for, as `machine.processor`
            names it; empty for the plain one, which is the same everywhere.
        measures: what was done to the graph to make it fast, by name.
        environment: variables that the *server's* process needs to reach the form's speed.
            Nothing breaks without them.
        parameters: weights and biases, counted by Keras.
        format: raised when the same settings begin to give another graph.
    """

    path: Path
    version: int
    network: str
    form: str
    weights: str
    seed: int
    weights_sha256: str = ""
    processor: str = ""
    measures: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    parameters: int = 0
    format: int = FORMAT

    @property
    def labels_are_meaningless(self) -> bool:
        """True for weights that were never trained: speed and shapes are real, labels are not."""
        return self.weights == "random"

    @property
    def title(self) -> str:
        """The network's name as a reader knows it: `Inception-v3`."""
        return NETWORKS[self.network].title

    @property
    def caveat(self) -> str:
        """What a page that shows this model's own labels has to say of them; empty if nothing."""
        if not self.labels_are_meaningless:
            return ""
        return "The weights are random, so the labels mean nothing. Shapes and speed are real."

    def _repr_html_(self) -> str:
        rows = {
            "path": self.path,
            "network": f"{self.title}, {self.parameters:,} parameters",
            "form": ": ".join([self.form, *filter(None, [", ".join(self.measures)])]),
            "weights": f"{self.weights}{', which mean nothing' * self.labels_are_meaningless}",
        }
        body = "".join(
            f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items()
        )
        return f"<table><tbody>{body}</tbody></table>"

    @property
    def base_path(self) -> Path:
        """The model's directory, which holds its versions: a server's `--model_base_path`."""
        return self.path.parent

    @classmethod
    def read(cls, path: Path) -> Export:
        """The export in a version directory, from the record that was written with it.

        Raises:
            ExportError: there is none, it is half written, or another program made it.
        """
        missing = [name for name in ("saved_model.pb", RECORD) if not (path / name).is_file()]
        if missing:
            raise ExportError(
                f"{path} is not a whole export",
                cause=f"it has no {' and no '.join(map(str, missing))}",
                next_step=f"Delete that directory, then export again. {NOTEBOOK}.",
            )
        try:
            fields: dict[str, Any] = json.loads((path / RECORD).read_text(encoding="utf-8"))
            fields["measures"] = tuple(fields["measures"])
            return cls(**{**fields, "path": path})
        except (ValueError, TypeError, KeyError) as error:
            raise ExportError(
                f"{path / RECORD} can't be read",
                cause=str(error),
                next_step=f"Delete {path}, then export again. {NOTEBOOK}.",
            ) from error

    def write(self, directory: Path) -> None:
        """Write the record into `directory`, which is still to be moved to `self.path`."""
        fields = {name: value for name, value in asdict(self).items() if name != "path"}
        (directory / RECORD).parent.mkdir(exist_ok=True)
        (directory / RECORD).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")

    def difference(self, asked: Export) -> str:
        """What `asked` asks for otherwise, in words: `form is plain, asked for is fast`."""
        asked_for = ("network", "form", "weights", "weights_sha256", "processor", "format")
        names = [*asked_for, "seed"] if self.labels_are_meaningless else asked_for
        return "; ".join(
            f"{name} is {getattr(self, name)}, asked for is {getattr(asked, name)}"
            for name in names
            if getattr(self, name) != getattr(asked, name)
        )


def versions(models: Path) -> list[int]:
    """The version numbers under `models`, smallest first, as a server counts them.

    A directory whose name is not a number is no version: an export is written into such a one.
    """
    base = models / MODEL_NAME
    if not base.is_dir():
        return []
    return sorted(int(entry.name) for entry in base.iterdir() if _is_version(entry))


def find(models: Path) -> Export:
    """The newest version under a models directory: the one that a server would serve.

    Raises:
        ExportError: `models` is missing or empty, holds nothing numbered, or its newest version
            is half written.
    """
    base = models / MODEL_NAME
    numbers = versions(models)
    if numbers:
        return Export.read(base / str(numbers[-1]))
    if not base.is_dir():
        cause = f"there is no directory {base}"
    elif found := sorted(entry.name for entry in base.iterdir() if entry.name[:1] != "."):
        cause = f"versions are directories named by a number, and {base} holds {', '.join(found)}"
    else:
        cause = f"{base} is empty"
    raise ExportError(f"{models} holds no exported model", cause=cause, next_step=f"{NOTEBOOK}.")


def _is_version(entry: Path) -> bool:
    return entry.is_dir() and entry.name.isascii() and entry.name.isdigit()
