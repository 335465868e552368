"""What torchrun tells a process that it starts, without torch itself: `distributed` joins such processes.

Schedulers set some of these variables too; only together do they mean processes that train as one.
"""

from __future__ import annotations

import os


def is_started() -> bool:
    """Whether torchrun has started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def attempt() -> int:
    """How often torchrun has started the processes again (``--max-restarts``), since one of them was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) if is_started() else 0


def follows() -> bool:
    """Whether another process is the first of those that torchrun started: the one that writes and reports."""
    return is_started() and os.environ["RANK"] != "0"
