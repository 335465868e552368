"""What a run was at when its process was killed, so that what kills it is known, and left out the next time.

A process that memory ran out of, or that a library crashed, says nothing. So each item leaves a small file while it is
worked on, and what ends in order, an error or Ctrl-C included, takes its files away. What the next run finds was being
worked on when a process died. It is tried by itself, where nothing else can be to blame, and when that has killed a
process too, no more.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

DEATHS = 2
"""So many processes may one item kill: in the first it may have been another that was worked on beside it."""

ATTEMPTS = ".attempts"
"""What the name of the folder of such files ends with."""
_NOW, _DIED = "now", "died"


class Attempts:
    """Files in a folder beside ``output``; the lock of ``output`` must be held. Without one, nothing is kept.

    It may be sent to processes that work for this one.
    """

    def __init__(self, output: Path | None) -> None:
        self.folder = output.with_name(output.name + ATTEMPTS) if output else None
        self._deaths: dict[str, int] = {}
        if self.folder is None:
            return
        self.folder.mkdir(exist_ok=True)
        for path in list(self.folder.glob(f"{_NOW}-*")):
            name = path.name.split("-")[1]
            before = len(list(self.folder.glob(f"{_DIED}-{name}-*")))
            path.replace(self.folder / f"{_DIED}-{name}-{before + 1}")
        for path in self.folder.glob(f"{_DIED}-*"):
            name = path.name.split("-")[1]
            self._deaths[name] = self._deaths.get(name, 0) + 1

    def deaths(self, item: str) -> int:
        """How many processes were killed while the item was worked on."""
        return self._deaths.get(_name(item), 0)

    def begin(self, item: str) -> None:
        if self.folder is not None:
            (self.folder / f"{_NOW}-{_name(item)}-{os.getpid()}").touch()

    def end(self, item: str) -> None:
        if self.folder is not None:
            (self.folder / f"{_NOW}-{_name(item)}-{os.getpid()}").unlink(missing_ok=True)

    @contextmanager
    def of(self, item: str) -> Iterator[None]:
        """Meanwhile the item is worked on."""
        self.begin(item)
        try:
            yield
        finally:
            self.end(item)

    @contextmanager
    def in_order(self) -> Iterator[None]:
        """What this process has begun is no longer worked on when the block ends, be it with an error."""
        try:
            yield
        finally:
            if self.folder is not None:
                for path in self.folder.glob(f"{_NOW}-*-{os.getpid()}"):
                    path.unlink(missing_ok=True)

    def turns(self, items: Sequence[tuple[int, str]]) -> list[list[int]]:
        """The rows of ``items`` in the order to work on them: each that was at work when a process died by itself."""
        alone = [[row] for row, item in items if self.deaths(item)]
        rest = [row for row, item in items if not self.deaths(item)]
        return [*alone, *([rest] if rest else [])]

    def discard(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _name(item: str) -> str:
    return hashlib.sha256(item.encode()).hexdigest()[:20]
