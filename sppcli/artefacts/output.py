"""Whether a stage has anything to do: compares its output with what a run now would make."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from sppcli.artefacts.networks import NetworkHeader, recorded_training
from sppcli.artefacts.store import Header, open_artefact
from sppcli.errors import BadArtefact, MissingInput, StaleArtefact

_ASKING: ContextVar[bool] = ContextVar("asking", default=False)


class WouldWork(Exception):
    """Inside `only_asking`: the stage has something to do."""


@contextmanager
def only_asking() -> Iterator[None]:
    """Inside, a stage whose output is not current raises `WouldWork` where it would begin to work, and changes nothing.

    For one thread: what a plan of several stages asks each of them.
    """
    token = _ASKING.set(True)
    try:
        yield
    finally:
        _ASKING.reset(token)


def is_asking() -> bool:
    """Whether this is inside `only_asking`."""
    return _ASKING.get()


@dataclass(frozen=True)
class Output:
    """The file that a stage is to make.

    ``header`` says what decides its content, of an HDF5 file or of a network; ``made_from`` lists the files that are
    read. With ``same_source`` a file of images that lay elsewhere is not current: it leads to where they were.
    """

    path: Path
    header: Header | NetworkHeader
    made_from: Sequence[Path]
    same_source: bool = False

    def is_current(self, force: bool = False, known: Header | None = None) -> bool:
        """Whether the file is there and holds what a run now would make; with ``force``, never.

        ``known``: what the file says of itself, if it has been read already.
        A current file that is older than one of ``made_from`` gets today's time: ``make`` looks at times only, and
        would ask for it again and again.

        Raises:
            WouldWork: it is not current, inside `only_asking`.
        """
        if force or not self.path.exists() or not (self._fits(known) if known else self._is_as_planned()):
            if _ASKING.get():
                raise WouldWork(str(self.path))
            return False
        if _ASKING.get():
            return True
        times = [item.stat().st_mtime for item in self.made_from if item.exists()]
        if times and self.path.stat().st_mtime < max(times):
            os.utime(self.path)
        return True

    def _is_as_planned(self) -> bool:
        if isinstance(self.header, NetworkHeader):
            return recorded_training(self.path).get("fingerprint") == self.header.fingerprint
        try:
            with open_artefact(self.path, self.header.kind, lazily=True) as found:
                if not self._fits(found.header):
                    return False
                found.verify()
                return True
        except (BadArtefact, MissingInput, StaleArtefact):
            # What is there is no whole file of this kind, or leads to shards that are not: it is about to be replaced.
            return False

    def _fits(self, found: Header) -> bool:
        same_place = not self.same_source or (isinstance(self.header, Header) and found.source == self.header.source)
        return same_place and found.fingerprint == self.header.fingerprint
