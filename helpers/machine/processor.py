"""Which class of processor this is, as far as the speed of matrix multiplication goes.

Figures of one class say nothing about another, so every recorded result names its class.
"""

from __future__ import annotations

import functools
import platform
import subprocess
from pathlib import Path

# From the widest down; the names are those of /proc/cpuinfo's flags.
_X86_CLASSES = {
    "amx_bf16": "amx",
    "avx512_bf16": "avx512_bf16",
    "avx512f": "avx512",
    "avx2": "avx2",
}

BFLOAT16_CLASSES = ("amx", "avx512_bf16")  # those that multiply bfloat16 faster than float32


@functools.cache
def processor_class() -> str:
    """`amx`, `avx512_bf16`, `avx512`, `avx2`, `x86` (older), or `arm64`."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "arm64"
    flags = _flags()
    return next((name for flag, name in _X86_CLASSES.items() if flag in flags), "x86")


def _flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        flags = next((line for line in lines if line.startswith("flags")), "")
        return set(flags.lower().split())
    names = ("machdep.cpu.features", "machdep.cpu.leaf7_features")  # a Mac with an Intel chip
    answer = subprocess.run(["sysctl", "-n", *names], capture_output=True, text=True, check=False)
    return set(answer.stdout.lower().split())
