"""The classes of processor, and what this project measured of Inception-v3 on each."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from helpers.machine.processor import processor_class


class Processor(NamedTuple):
    """A class of processor, for matrix multiplication.

    Attributes:
        title: as a data sheet calls it.
        bits: that one instruction works on.
        bfloat16: whether it multiplies numbers of that half length by itself.
        images_per_core_s: what this project measured of Inception-v3 on such a core, plain to fast
            form; empty where it hasn't.
    """

    title: str
    bits: int
    bfloat16: bool
    images_per_core_s: str = ""


# The figures: notebook 01 with AVX2, and `benchmarks/results/peers-inception-v3-*.json`.
PROCESSORS = {
    "x86": Processor("x86 before AVX2", 128, bfloat16=False),
    "arm64": Processor("ARM, NEON", 128, bfloat16=False),
    "avx2": Processor("AVX2", 256, bfloat16=False, images_per_core_s="2 to 6"),
    "avx512": Processor("AVX-512", 512, bfloat16=False),
    "avx512_bf16": Processor("AVX-512 with bfloat16", 512, True, images_per_core_s="8 to 17"),
    "amx": Processor("AMX: tiles of 16 rows of 512 bits", 8192, bfloat16=True),
}


def table() -> pd.DataFrame:
    """The classes of processor, slowest first, with a mark at this machine's."""
    here = processor_class()
    rows = {
        name: {
            "class": found.title,
            "bits per instruction": f"{found.bits:,}",
            "bfloat16": "yes" if found.bfloat16 else "no",
            "images/s per core, measured": found.images_per_core_s or "not measured by us",
            "": "this machine" if name == here else "",
        }
        for name, found in PROCESSORS.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name here")
