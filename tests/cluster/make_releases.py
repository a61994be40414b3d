"""make_releases.py FOLDER: the releases that notebook 08 rolls out, as it makes them on `local`.

Each is a folder of models, as an image holds one: FOLDER/1 and FOLDER/2 have that version,
FOLDER/3 only one that can't be loaded, and FOLDER/several all versions side by side.
"""

from __future__ import annotations

import sys
from pathlib import Path

from helpers.export import export
from helpers.rollouts import releases


def make(folder: Path) -> None:
    """Makes them of the light network, with weights that need no download."""
    first = export(folder / "1", network="light", weights="random")
    better = releases.train_further(first, folder / "second.weights.h5")
    second = export(folder / "2", version=2, network="light", weights=better)
    for made in (first, second):
        releases.copy(made, folder / "several")
    for number, how in enumerate(releases.BREAKS, start=3):
        releases.broken(second, folder / "several", version=number, how=how)
    releases.broken(second, folder / "3", version=3, how="file")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
