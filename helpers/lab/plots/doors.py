"""Who gets in at a server's doors, before and after they were locked."""

from __future__ import annotations

from collections.abc import Mapping

from helpers.lab.plots.picture import Picture, picture
from helpers.lab.plots.style import ORANGE, SHADE, axes_of


def doors(attempts: Mapping[str, Mapping[str, bool]]) -> Picture:
    """A grid: a row for each visitor, a column for each set of locks.

    Args:
        attempts: by set of locks, then by visitor: whether the visitor got in.
    """
    visitors = list(dict.fromkeys(who for column in attempts.values() for who in column))
    size = (2.5 + 1.9 * len(attempts), 0.6 + 0.42 * len(visitors))
    figure, (axis,) = axes_of(1, 1, size=size)
    for x, column in enumerate(attempts.values()):
        for y, who in enumerate(visitors):
            got_in = column.get(who, False)
            axis.barh(y, 0.94, 0.88, left=x - 0.47, color=ORANGE if got_in else SHADE)
            axis.text(x, y, "gets in" if got_in else "refused", ha="center", va="center")
    axis.set_xticks(range(len(attempts)), list(attempts), fontweight="bold")
    axis.set_yticks(range(len(visitors)), visitors)
    axis.xaxis.tick_top()
    axis.invert_yaxis()
    axis.tick_params(length=0)
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    told = "; ".join(
        f"{locks}: {', '.join(who for who in column if column[who]) or 'nobody'}"
        for locks, column in attempts.items()
    )
    return picture(figure, alt=f"Who gets in. {told}.")
