"""The names of the 1000 ImageNet classes, in the order of the network's outputs.

A name is the whole list of a class's synonyms, as in the challenge of 2012: `tabby, tabby cat`.
The index is the key, not the name: 134 (the bird) and 517 (the machine) are both `crane`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).parent / "imagenet_labels.txt"  # CREDITS.md beside it: the source


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """All 1000 names; `names()[207]` is that of class 207."""
    return tuple(FILE.read_text(encoding="utf-8").splitlines())
