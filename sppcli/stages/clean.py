"""What in a folder can be made again or serves nobody any more: maps, parts, shards, checkpoints, temporary files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sppcli.artefacts.parts import PARTS
from sppcli.artefacts.store import open_artefact
from sppcli.errors import Busy, SppError
from sppcli.runtime.attempts import ATTEMPTS
from sppcli.runtime.counts import count_of
from sppcli.runtime.files import CHECKPOINT, temporary_owner
from sppcli.runtime.locks import held, lock_file
from sppcli.runtime.remote import SHARDS
from sppcli.runtime.url_cache import known_below
from sppcli.runtime.urls import cache_root

MAPS = "features"


@dataclass(frozen=True)
class Clutter:
    """One file or folder: its ``bytes``, ``what`` it is and ``cost`` of having it no more.

    ``safe``: nothing that anybody could miss; else it is work that would have to be done again. ``also``: what goes
    with it, since it leads there; ``bytes`` are of all.
    """

    path: Path
    bytes: int
    what: str
    cost: str
    safe: bool
    also: tuple[Path, ...] = ()


def find(folder: Path) -> list[Clutter]:
    """Everything in ``folder``, not below it, that may go; the largest first. What another run works on is left out."""
    there = _Folder(folder)
    found = [item for path in sorted(folder.iterdir()) for item in there.clutter(path)]
    return sorted(found, key=lambda item: -item.bytes)


def find_copies() -> list[Clutter]:
    """What the user's cache has of each bucket or server; the largest first. What a run works on is left out."""
    found = []
    there = sorted(path for path in cache_root().glob("*/*") if path.is_dir())
    for folder in there:
        if any(map(_is_held, folder.rglob(".*.lock"))):
            continue
        known = known_below(folder)
        names = {path: path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        unsent = [path for path, name in names.items() if not (name in known and known[name].is_of(path))]
        cost = "fetched again when needed"
        if unsent:
            cost += f"; {count_of(len(unsent), 'file')} of runs that have not ended, or not been sent, made again"
        found.append(Clutter(folder, _size(folder), "copies of what lies there", cost, not unsent))
    return sorted(found, key=lambda item: -item.bytes)


def remove(items: list[Clutter]) -> int:
    """Remove them and return the bytes that are free now. Each is taken while nobody else works on it.

    Raises:
        Busy: another run has begun to work on one of them; those before it are gone.
    """
    freed = 0
    for item in items:
        # What leads elsewhere goes first: no file is ever left that leads to nothing.
        for path in (item.path, *item.also):
            with held(_output_of(path)):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        freed += item.bytes
    return freed


class _Folder:
    """A folder, with what the features files in it lead to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _maps(self) -> dict[Path, list[Path]]:
        """The features files here, and the shards that each leads to."""
        return dict(_features_in(self.folder))

    @cached_property
    def _led_to(self) -> dict[Path, Path]:
        """Shards, and folders here with shards in them, that a features file leads to, and which; also a file in the
        folder above, where the one that leads to a cluster's shards is."""
        above = []
        with suppress(PermissionError):
            above = _features_in(self.folder.resolve().parent)
        found = {}
        for leader, shards in (*above, *self._maps.items()):
            for shard in shards:
                found[shard] = leader
                if shard.parent.name.endswith(SHARDS):
                    found[shard.parent] = leader
        return found

    def clutter(self, path: Path) -> Iterator[Clutter]:
        name = path.name
        if path.is_symlink() or _is_busy(path):
            return
        if temporary_owner(path) is not None:
            yield Clutter(path, _size(path), "left by a process that was killed", "nothing is lost", True)
        elif path.resolve() in self._led_to:
            return  # with the file that leads there, or not at all
        elif path.is_dir():
            if name.endswith(PARTS):
                yield Clutter(path, _size(path), "parts of a run that has not ended", "that run begins anew", False)
            elif name.endswith(ATTEMPTS):
                text = "images that are left out are tried again"
                yield Clutter(path, _size(path), "parts of a run that has not ended: what killed it", text, False)
            elif name.endswith(SHARDS):
                yield _shards(path)
        elif not path.is_file():
            return
        elif CHECKPOINT in name:
            yield Clutter(path, _size(path), "checkpoint of a training", "that training begins anew", False)
        elif path in self._maps:
            yield self._features(path)

    def _features(self, path: Path) -> Clutter:
        """A features file with the shards here that it leads to, which nobody else may be working on."""
        here = self.folder.resolve()
        names = set()
        for shard in self._maps[path]:
            item = shard.parent if shard.parent.name.endswith(SHARDS) else shard
            if item.parent == here:
                names.add(item.name)
        also = [self.folder / name for name in sorted(names)]
        also = [item for item in also if not _is_busy(item)]
        size = sum(map(_size, (path, *also)))
        cost = "spp extract makes them anew when they are needed"
        return Clutter(path, size, "conv feature maps", cost, False, tuple(also))


def _features_in(folder: Path) -> list[tuple[Path, list[Path]]]:
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix in (".h5", ".hdf5") and path.is_file():
            with suppress(SppError), open_artefact(path, MAPS, lazily=True) as artefact:
                found.append((path, artefact.shards))
    return found


def _shards(path: Path) -> Clutter:
    """Shards of a run on a cluster, to which no file leads."""
    whole = path.with_name(path.name.removesuffix(SHARDS))
    try:
        with open_artefact(whole, lazily=True):
            pass
    except SppError:
        return Clutter(path, _size(path), "shards of a run that has not ended", "that run begins anew", False)
    cost = f"{whole.name} stays; to make it again, a cluster begins anew"
    return Clutter(path, _size(path), "shards of a run that has ended", cost, False)


def _output_of(path: Path) -> Path:
    """The output whose lock stands for ``path``."""
    for ending in (PARTS, CHECKPOINT, ATTEMPTS):
        head, found, _ = path.name.partition(ending)
        if found:
            return path.with_name(head.lstrip("."))
    return path


def _is_busy(path: Path) -> bool:
    """Whether a run works on what ``path`` belongs to, or on something in it."""
    inside = path.glob(".*.lock") if path.name.endswith(SHARDS) else ()
    return any(map(_is_held, (lock_file(_output_of(path)), *inside)))


def _is_held(lock: Path) -> bool:
    if not lock.exists():
        return False
    try:
        with held(lock.with_name(lock.name.removeprefix(".").removesuffix(".lock"))):
            return False
    except Busy:
        return True


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
    return path.stat().st_size
