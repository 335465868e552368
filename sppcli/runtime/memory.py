"""Keep the memory of large arrays for the next array instead of giving it back to the system each time.

glibc gives arrays of more than 32 MB (128 kB at first) back as soon as they are freed and asks for the next one anew;
the system then clears and maps every page of it at its first write. ZF-5's first map at scale 688 has 60 MB and its
normalisation makes five arrays of that size: 40 % of the trunk's time went there.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
# The value that glibc's own thresholds reach once a few large arrays have been freed, and its default.
_LARGEST_THRESHOLD = 32 * 2**20
_DEFAULT_MMAP_MAX = 65536


@contextmanager
def kept_memory() -> Iterator[None]:
    """Inside, freed memory is reused for the next array; at the end it goes back to the system.

    The process then holds as much as it ever needed at once. This concerns the whole process with all its threads, and
    cannot be nested. Without glibc nothing changes.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    # Other C libraries for Linux have no such settings.
    if library is None or not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, _DEFAULT_MMAP_MAX)
        # Once they have been set, the thresholds no longer adapt by themselves.
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
        library.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_THRESHOLD)
        library.malloc_trim(0)
