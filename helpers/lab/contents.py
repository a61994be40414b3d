"""The notebooks of the collection, and the time that each asks for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd

from helpers import settings


def table(folder: Path = settings.NOTEBOOKS) -> pd.DataFrame:
    """One row per notebook: its title and its time, reading and running, as it says itself.

    Args:
        folder: with the notebooks.
    """
    rows = {}
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        title = re.search(r"^# (.+)$", text, re.MULTILINE)
        time = re.search(r"^\| *(\d[^|;]*minutes[^|;]*?) *[;|]", text, re.MULTILINE)
        rows[path.name[:2]] = {
            "title": title[1] if title else path.stem,
            "time": time[1] if time else "",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("notebook")


def minutes(contents: pd.DataFrame) -> int:
    """What all of them ask for together.

    Args:
        contents: what `table` gives.
    """
    return sum(int(time.split()[0]) for time in contents["time"] if time)
