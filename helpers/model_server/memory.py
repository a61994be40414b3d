"""What is freed goes back to the system.

An allocator keeps what it got, for the next time, so that a server that replaces its versions grows
to the sum of the largest moments of all its threads. The original calls
`MallocExtension_ReleaseToSystem` after each unload (core/simple_loader.h); this is the same for the
C library. It can only give back what it holds itself, so the large tensors have to be its own, too.
"""

from __future__ import annotations

import ctypes
import gc
import os

# glibc's mallopt: M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD (bytes). One arena, since
# malloc_trim leaves up to 64 MiB at the top of every other. The thresholds are the values that
# glibc moves to by itself; from the beginning, a batch finds the pages of the one before it.
_OPTIONS = {-8: 1, -3: 32 << 20, -1: 64 << 20}


def prepare() -> None:
    """Have the C library allocate the tensors. Call it before TensorFlow is loaded.

    TensorFlow with oneDNN takes them from regions that double in size and are never given back.
    Versions that come and go split them: Inception-v3 holds 512 MiB after eight, for 100 in use.
    """
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in _OPTIONS.items():
            libc.mallopt(option, value)


def give_back() -> None:
    """Free what only cycles hold, and return free pages to the system. Any thread may call it."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc
        libc.malloc_trim(ctypes.c_size_t(0))
    elif hasattr(libc, "malloc_zone_pressure_relief"):  # macOS: all zones, as much as there is
        libc.malloc_zone_pressure_relief(None, ctypes.c_size_t(0))
