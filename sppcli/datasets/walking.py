"""Folders looked into for images and annotations: each once, whatever links lead to it, and no end of them."""

from __future__ import annotations

import os
from pathlib import Path

from sppcli.errors import BadInput

MOST_FOLDERS = 200_000
"""Looked into within a minute or so; data sets have fewer, whole disks have more."""


class Walk:
    """One walk through ``start`` and the folders below it and behind its links."""

    def __init__(self, start: Path) -> None:
        self._start = start
        self._entered: set[str] = set()

    def enters(self, folder: str | Path) -> bool:
        """Whether ``folder`` has not been entered yet, by this or another name; now it is.

        Raises:
            BadInput: it is the root of the file system, which a link or a data set's own words can lead to, or there
                are more than `MOST_FOLDERS`.
        """
        real = os.path.realpath(folder)
        if real in self._entered:
            return False
        if real == os.path.dirname(real):  # noqa: PTH120 (called for each folder)
            leads = f", where {folder} leads" if Path(folder) != self._start else ""
            raise BadInput(f"{self._start}: not all of the file system is looked into{leads}; name the images' folder")
        self._entered.add(real)
        if len(self._entered) > MOST_FOLDERS:
            raise BadInput(f"{self._start}: has more than {MOST_FOLDERS:,} folders in it; name the images' folder")
        return True
