"""How much memory there is: the cgroup's limit, and what the process has taken of it."""

from __future__ import annotations

import os
from pathlib import Path

_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
_SHARE = 0.85
"""Of the limit. The rest is for what nobody counts: the allocator's slack, a page of records, a scrape."""


def limit(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of the cgroup (v2, else v1), or those of the machine where neither limits."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in _LIMITS:
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return min(int(text), machine)
    return machine


def resident() -> int:
    """Bytes that the process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def free(most: int) -> int:
    """Bytes that may still be allocated under a limit."""
    return int(most * _SHARE) - resident()
