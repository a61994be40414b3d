"""What all figures have in common: colours that are told apart without hue, and empty axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from helpers.stats import short

BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#8a8f98"
YELLOW = "#F0E442"
SHADE = "#e8eaed"  # of a region, and of the grid
STYLE = {
    "figure.dpi": 110,
    "savefig.dpi": 165,
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#c3c7cd",
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.grid.axis": "y",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": SHADE,
    "legend.frameon": False,
}


def axes_of(
    rows: int,
    columns: int,
    *,
    size: tuple[float, float],
    widths: Sequence[float] | None = None,
    sharey: bool = False,
) -> tuple[Figure, np.ndarray]:
    """A figure and its empty axes, in this project's style; one row of them as a row."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows,
            columns,
            figsize=size,
            width_ratios=widths,
            sharey=sharey,
            squeeze=False,
            layout="constrained",
        )
    return figure, axes[0] if rows == 1 else axes


def listed(values: Mapping[Any, float], unit: str = "") -> str:
    """Names and values strung together, for an alternative text."""
    return ", ".join(f"{name} {short(value)}{unit}" for name, value in values.items())
