"""How many threads this process may use."""

from __future__ import annotations

import os

_sharing = 1


def share_processors(processes: int) -> None:
    """Say that this process is one of so many that work beside each other on this computer."""
    global _sharing
    _sharing = max(1, processes)


def cpu_threads() -> int:
    """Number of CPUs that this process is allowed to run on; its share of them, if it shares them."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, there // _sharing)
