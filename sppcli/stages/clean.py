"""What in a folder can be made again or serves nobody any more: maps, parts, checkpoints, temporary files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sppcli.artefacts.parts import PARTS
from sppcli.artefacts.store import open_artefact
from sppcli.errors import Busy, SppError
from sppcli.runtime.files import CHECKPOINT, temporary_owner
from sppcli.runtime.locks import held, lock_file

MAPS = "features"


@dataclass(frozen=True)
class Clutter:
    """One file or folder: its ``bytes``, ``what`` it is and ``cost`` of having it no more.

    ``safe``: nothing that anybody could miss; else it is work that would have to be done again.
    """

    path: Path
    bytes: int
    what: str
    cost: str
    safe: bool


def find(folder: Path) -> list[Clutter]:
    """Everything in ``folder``, not below it, that may go; the largest first. What another run works on is left out."""
    found = [item for path in sorted(folder.iterdir()) for item in _of(path)]
    return sorted(found, key=lambda item: -item.bytes)


def remove(items: list[Clutter]) -> int:
    """Remove them and return the bytes that are free now. Each is taken while nobody else works on it.

    Raises:
        Busy: another run has begun to work on one of them; those before it are gone.
    """
    freed = 0
    for item in items:
        with held(_output_of(item.path)):
            if item.path.is_dir() and not item.path.is_symlink():
                shutil.rmtree(item.path)
            else:
                item.path.unlink(missing_ok=True)
        freed += item.bytes
    return freed


def _of(path: Path) -> Iterator[Clutter]:
    name = path.name
    if path.is_symlink() or _is_busy(_output_of(path)):
        return
    if temporary_owner(path) is not None:
        yield Clutter(path, _size(path), "left by a process that was killed", "nothing is lost", True)
    elif path.is_dir():
        if name.endswith(PARTS):
            yield Clutter(path, _size(path), "parts of a run that has not ended", "that run begins anew", False)
    elif not path.is_file():
        return
    elif CHECKPOINT in name:
        yield Clutter(path, _size(path), "checkpoint of a training", "that training begins anew", False)
    elif path.suffix in (".h5", ".hdf5"):
        yield from _of_artefact(path)


def _of_artefact(path: Path) -> Iterator[Clutter]:
    try:
        with open_artefact(path, MAPS, lazily=True):
            pass
    except SppError:
        return
    yield Clutter(path, _size(path), "conv feature maps", "spp extract makes them anew when they are needed", False)


def _output_of(path: Path) -> Path:
    """The output whose lock stands for ``path``."""
    for ending in (PARTS, CHECKPOINT):
        head, found, _ = path.name.partition(ending)
        if found:
            return path.with_name(head.lstrip("."))
    return path


def _is_busy(output: Path) -> bool:
    if not lock_file(output).exists():
        return False
    try:
        with held(output):
            return False
    except Busy:
        return True


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
    return path.stat().st_size
