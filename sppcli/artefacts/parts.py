"""What an unfinished run has made so far: a part per image, whole or not there, from which the next run goes on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sppcli.artefacts.moved_parts import Moved, read_moved, write_moved
from sppcli.artefacts.reading import Reader, open_checked
from sppcli.artefacts.writing import Writer, sealed
from sppcli.errors import BadArtefact, BadInput
from sppcli.runtime.checksums import CheckedFile
from sppcli.runtime.files import commit, ensure_folder, naming, sync_folder

PARTS = ".parts"
"""What the name of the folder of a file's parts ends with."""

_WHOLE = "whole"
_MOVED_AT_ONCE = 1 << 24
"""Bytes of parts that are in the whole file before they are removed; each time, it is synced to the disk."""


def parts_folder(target: Path) -> Path:
    """The folder of the parts of ``target``: beside the file itself, where ``target`` is a symbolic link to it."""
    real = Path(os.path.realpath(target)) if target.is_symlink() else target
    return real.with_name(real.name + PARTS)


def unfinished_parts(target: Path) -> int | None:
    """How many parts of ``target`` an unfinished run has left; None if there is no such run."""
    folder = parts_folder(target)
    return len(_names(folder)) if folder.is_dir() else None


def discard_finished(target: Path, key: str, has: Callable[[str], bool]) -> None:
    """Remove what a run that was killed in its last moment has left: ``target``, which is whole, ``has`` each part."""
    folder = parts_folder(target)
    if _belongs(folder, key) and all(map(has, _names(folder))):
        shutil.rmtree(folder)


def _belongs(folder: Path, key: str) -> bool:
    """Whether the parts in ``folder`` are of the options of ``key``; of a damaged key nobody knows."""
    try:
        return (folder / "key").read_bytes() == key.encode()
    except OSError:
        return False


def _check_ours(folder: Path) -> None:
    """Refuse to remove what no run has left here.

    Raises:
        BadInput: a file or a link, or a folder with something in it that is called as nothing of a run is.
    """
    if folder.is_symlink() or not folder.is_dir() or not all(map(_is_called_so, folder.iterdir())):
        raise BadInput(
            f"{folder} is in the way: spp keeps the parts of an unfinished run under this name, and did not make this; "
            "move it, or name another -o"
        )


def _is_called_so(path: Path) -> bool:
    return path.name in ("key", _WHOLE) or path.suffix in (".h5", ".moved", ".tmp")


def _names(folder: Path) -> set[str]:
    """Of parts, be they moved or not."""
    return {path.stem for path in folder.iterdir() if path.suffix in (".h5", ".moved") and path.name[0] != "."}


class Parts:
    """Per-image results of an unfinished run, beside the file they will become.

    ``key`` says which options they belong to; parts of other options are thrown away, as all are with ``discard``.
    """

    def __init__(self, target: Path, key: str, discard: bool = False) -> None:
        ensure_folder(target)
        self._target = target
        self.folder = parts_folder(target)
        marker = self.folder / "key"
        if os.path.lexists(self.folder):
            _check_ours(self.folder)
            if discard or not _belongs(self.folder, key):
                shutil.rmtree(self.folder)
        with naming(target, marker, needed=len(key)):
            self.folder.mkdir(exist_ok=True)
            for leftover in self.folder.glob(".*.tmp"):
                leftover.unlink()
            if not marker.exists():
                marker.write_text(key)
        self._put_back()

    @property
    def whole(self) -> Path:
        """The file that parts are moved into, until it has its own name; see `Moving`."""
        return self.folder / _WHOLE

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.h5"

    def has(self, name: str) -> bool:
        """Whether the part is there and whole; a damaged one is removed, to be made again."""
        path = self.path(name)
        try:
            with CheckedFile(path) as part:
                part.verify()
        except FileNotFoundError:
            return False
        except (BadArtefact, OSError):
            path.unlink()
            return False
        return True

    def names(self) -> list[str]:
        """Every whole part that is there, in order of name."""
        return sorted(path.stem for path in self.folder.glob("*.h5") if self.has(path.stem))

    @contextmanager
    def create(self, name: str) -> Iterator[Writer]:
        temporary = self.folder / f".{name}.tmp"
        with naming(self._target, temporary):
            with sealed(temporary) as writer:
                yield writer
            commit(temporary, self.path(name))

    @contextmanager
    def open(self, name: str) -> Iterator[Reader]:
        path = self.path(name)
        with open_checked(path, "; run the command again, which makes it anew") as (checked, file):
            yield Reader(path, checked, file)

    def remove(self, moved: Mapping[str, Moved]) -> None:
        """Remove parts that are in the whole file, which has been synced; what is not there of them is kept.

        Raises:
            OSError: the disk is full.
        """
        done = []
        for name, spans in moved.items():
            temporary = self.folder / f".{name}.tmp"
            with naming(self._target, temporary):
                if write_moved(temporary, self.path(name), self.whole, spans):
                    commit(temporary, self.folder / f"{name}.moved")
                    done.append(name)
        sync_folder(self.folder)
        for name in done:
            self.path(name).unlink()

    def _put_back(self) -> None:
        """Make of what a run has moved into a whole file, which it did not finish, the parts that they were.

        From the last to the first, so that the file shrinks as they grow; one that cannot be had is made again.
        """
        found = [(read_moved(path), path) for path in self.folder.glob("*.moved")]
        for moved, path in sorted(found, key=lambda item: item[0].start if item[0] else 0, reverse=True):
            part = self.path(path.stem)
            if moved and not part.exists():
                temporary = self.folder / f".{path.stem}.tmp"
                with naming(self._target, temporary):
                    if moved.restore(temporary, self.whole):
                        commit(temporary, part)
                        sync_folder(self.folder)
                    else:
                        temporary.unlink(missing_ok=True)
            path.unlink()
            if moved and self.whole.exists() and moved.start < self.whole.stat().st_size:
                os.truncate(self.whole, moved.start)
        self.whole.unlink(missing_ok=True)

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Moving:
    """Moves parts, one by one, into the file that they become, so that the disk has to hold each but once.

    A part is removed when the values in the file have been found to be its own, and synced; what remains of it, and
    where its values lie now, is kept until the file is finished. If it never is, the next run puts the parts back.
    """

    def __init__(self, parts: Parts, writer: Writer) -> None:
        self._parts = parts
        self._writer = writer
        self._waiting: dict[str, Moved] = {}
        self._bytes = 0

    def take(self, name: str, targets: Mapping[str, str], last: bool) -> None:
        """Copy the data sets of the part ``name`` to their ``targets``; if it is not asked for again, it may go."""
        moved = Moved()
        with self._parts.open(name) as part:
            for source, target in targets.items():
                now = self._writer.copy_from(part, source, target)
                moved.add(part.extents(source), now)
        if not last:
            return
        self._waiting[name] = moved
        self._bytes += moved.count
        if self._bytes >= _MOVED_AT_ONCE:
            self._writer.sync()
            self._parts.remove(self._waiting)
            self._waiting, self._bytes = {}, 0
