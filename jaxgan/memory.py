"""The memory and the cores that a process may use."""

import contextlib
import os
from pathlib import Path

CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files in which Linux gives the memory limit of a container."""


def memory_of_device() -> int:
    """Returns the bytes of memory of JAX's device; of a CPU, those that this process may use."""
    import jax

    with contextlib.suppress(Exception):  # Not every platform has memory statistics.
        if limit := (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit"):
            return limit
    return memory_of_process()


def memory_of_process() -> int:
    """Returns the bytes of memory that this process may use; 8 GiB if that is not known."""
    limits = []
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Not on Windows.
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # Without a limit, it says "max".
            limits.append(int(Path(file).read_text()))
    with contextlib.suppress(ImportError, OSError):
        import resource

        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            if (limit := resource.getrlimit(kind)[0]) != resource.RLIM_INFINITY:
                limits.append(limit)
    return min(limits, default=2**33)


def count_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def format_bytes(count: int) -> str:
    """Returns a number of bytes as text, such as "1.5 GB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,} bytes"
