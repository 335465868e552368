"""Memory that is kept: counted in pages that the system had to provide."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from sppcli.runtime.memory import kept_memory

PAGES = 64 * 2**20 // resource.getpagesize()


def faults(times: int) -> int:
    """Pages provided while an array of 64 MB is made and dropped ``times`` times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for i in range(times):
        # Filled, so that every page is written. numpy's hint for huge pages would hide half of them.
        np.full(64 * 2**20, i, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_memory_is_provided_once_inside_and_given_back_after() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])

    with kept_memory():
        faults(1)
        assert faults(10) < PAGES // 100
        kept = resident()
    # The array's own pages at the least.
    assert kept - resident() > PAGES * 9 // 10


def test_an_error_inside_passes_and_ends_it() -> None:
    with pytest.raises(KeyError), kept_memory():
        raise KeyError("x")
    faults(1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt > 0
