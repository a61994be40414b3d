"""Whose labels a reader is shown: a network's own where it is trained, else the stand-in's."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from helpers import settings

from .exporter import export
from .record import Export

STAND_IN = "efficientnet_lite2"


@dataclass(frozen=True)
class Trained:
    """An export whose labels mean something, and what is to be said beside them.

    Attributes:
        export: what to load or serve for labels.
        caveat: whose labels these are, in a sentence; empty where they are the network's own.
    """

    export: Export
    caveat: str = ""

    @property
    def by(self) -> str:
        """The network that gives the labels, as a reader knows it: `EfficientNet-Lite2`."""
        return self.export.title

    @property
    def servable(self) -> str:
        """The name to serve it under, beside the network that it stands in for."""
        return self.export.network if self.is_stand_in else settings.MODEL_NAME

    @property
    def is_stand_in(self) -> bool:
        """Whether the labels are another network's."""
        return bool(self.caveat)

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.caveat or f'The labels are those of {self.by} itself.')}</p>"


def trained(made: Export) -> Trained:
    """The export that a page takes its labels from: `made` if it is trained, else the stand-in.

    The stand-in is EfficientNet-Lite2, whose trained weights were installed with everything else.
    It is exported if it isn't there yet, to `settings.models_of(STAND_IN)`: about 10 s.

    Args:
        made: the export that the page is about.

    Raises:
        WeightsError: the stand-in's weights aren't installed, or aren't what was tested.
    """
    if not made.labels_are_meaningless:
        return Trained(made)
    other = export(settings.models_of(STAND_IN), network=STAND_IN)
    if made.network == "light":
        return Trained(
            other, f"The light network was never trained; these labels are {other.title}'s."
        )
    return Trained(
        other,
        f"{made.title} runs with random weights here; these labels are {other.title}'s, a trained "
        "network of about the same accuracy.",
    )
