"""Files that lead to data sets of other files: what `spp merge` makes of the shards of conv maps without copying them.

HDF5 has external links for this, which other programs follow as usual. Our own reader follows them itself, since HDF5
reads through a file object here and finds no others by itself, and follows none but those to a shard: a sealed file in
the same folder or below, whose name and seal the file lists. (Virtual data sets would need shape and filters of each
map once more, and give zeros, not an error, where a shard is missing.)
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import h5py

from sppcli.artefacts.reading import Reader, is_own, open_checked, own_data
from sppcli.errors import BadArtefact, MissingInput, StaleArtefact
from sppcli.runtime.checksums import CheckedFile
from sppcli.runtime.files import path_fault

FILES, SEALS = "shards/files", "shards/seals"
"""Data sets that list the shards by their path from the file's own folder, with / between folders, and their seals."""
MOST_OPEN = 16
"""So many shards are open at once: each takes a megabyte, and opening it a millisecond or two."""


@dataclass
class _Lent:
    """An open shard, what closes it, and how many are reading it."""

    reader: Reader
    close: ExitStack = field(default_factory=ExitStack)
    users: int = 0


class Linking(Reader):
    """A reader that follows links to listed shards, which it opens as they are read and closes again."""

    def __init__(self, path: Path, checked: CheckedFile, file: h5py.File, again: str) -> None:
        super().__init__(path, checked, file, again)
        self._opening = threading.Lock()
        # The one that was read last is the last.
        self._shards: OrderedDict[str, _Lent] = OrderedDict()
        self._seals: dict[str, str] = {}
        if is_own(file, FILES):
            self._seals = dict(zip(self.strings(FILES), self.strings(SEALS), strict=True))
        self._folder = Path(os.path.realpath(path)).parent

    def __enter__(self) -> Linking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lent in self._shards.values():
            lent.close.close()
        self._shards.clear()

    @property
    def shards(self) -> list[Path]:
        """The files that this one leads to."""
        return [self._folder / name for name in self._seals]

    def check_shards(self) -> None:
        """Open every shard that the file leads to.

        Raises:
            MissingInput, BadArtefact, StaleArtefact: one is not there, is damaged or was made again since.
        """
        for name in self._seals:
            with self._shard(name):
                pass

    def names(self) -> list[str]:
        found = super().names()
        if self._seals:
            with self._reading("the list of its data sets"):
                self._file.visititems_links(
                    lambda name, link: found.append(name) if isinstance(link, h5py.ExternalLink) else None
                )
        return found

    def stored_bytes(self) -> int:
        own = super().names()
        count = 0
        for name in self.names():
            with self._holder(name) as (held, there):
                count += int(own_data(held._file, there).id.get_storage_size())
        return count if self._seals else sum(int(self._file[name].id.get_storage_size()) for name in own)

    def verify(self) -> None:
        super().verify()
        for name in self._seals:
            with self._shard(name) as shard:
                shard.verify()

    @contextmanager
    def _holder(self, name: str) -> Iterator[tuple[Reader, str]]:
        link = None
        if self._seals:
            with self._reading(name):
                link = self._file.get(name, getlink=True)
        if not isinstance(link, h5py.ExternalLink):
            with super()._holder(name) as held:
                yield held
            return
        if link.filename not in self._seals:
            raise BadArtefact(f"{self.path}: {name} is damaged (it leads to another file); {self._again}")
        with self._shard(link.filename) as shard, shard._holder(link.path) as held:
            yield held

    @contextmanager
    def _shard(self, name: str) -> Iterator[Reader]:
        """The shard ``name``, open while it is read.

        Raises:
            BadArtefact: a name that leads elsewhere, or no sealed file.
            MissingInput: it is not there.
            StaleArtefact: it has been made again since.
        """
        with self._opening:
            if name not in self._shards:
                self._shards[name] = self._opened(name)
            lent = self._shards[name]
            self._shards.move_to_end(name)
            lent.users += 1
            idle = [other for other, it in self._shards.items() if not it.users]
            for other in idle[: max(0, len(self._shards) - MOST_OPEN)]:
                self._shards.pop(other).close.close()
        try:
            yield lent.reader
        finally:
            with self._opening:
                lent.users -= 1

    def _opened(self, name: str) -> _Lent:
        if path_fault(name):
            raise BadArtefact(f"{self.path}: the list of its shards is damaged ({path_fault(name)}); {self._again}")
        path = self._folder / name
        if not path.exists():
            raise MissingInput(
                f"{path}: there is no such file, and {self.path} leads to the conv maps in it; put it back, or make it "
                "again and run spp merge"
            )
        # Each block is checked as it is read: a run over all shards would otherwise read everything twice.
        with ExitStack() as stack:
            checked, file = stack.enter_context(open_checked(path, "; make it again and run spp merge", lazily=True))
            if checked.seal != self._seals[name]:
                raise StaleArtefact(
                    f"{path} has been made again since {self.path} was merged from it; run spp merge again"
                )
            return _Lent(Reader(path, checked, file, "make it again and run spp merge"), stack.pop_all())
