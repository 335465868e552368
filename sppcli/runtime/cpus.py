"""How many threads this process may use."""

from __future__ import annotations

import os


def cpu_threads() -> int:
    """Number of CPUs that this process is allowed to run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)
