"""What is freed goes back to the system.

An allocator keeps what it got, for the next time, so that a server that replaces its versions grows
to the sum of the largest moments of all its threads. The original calls
`MallocExtension::ReleaseToSystem` after each unload (resource_util, loader_harness); this is the
same for the C library.
"""

from __future__ import annotations

import ctypes
import gc
import logging

log = logging.getLogger("model_server")


def give_back() -> None:
    """Free what only cycles hold, and return free pages to the system. Takes 0.1 s; any thread."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc
        libc.malloc_trim(ctypes.c_size_t(0))
    elif hasattr(libc, "malloc_zone_pressure_relief"):  # macOS: all zones, as much as there is
        libc.malloc_zone_pressure_relief(None, ctypes.c_size_t(0))
