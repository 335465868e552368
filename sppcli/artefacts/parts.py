"""What an unfinished run has made so far: a part per image, whole or not there, from which the next run goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sppcli.artefacts.reading import Reader, open_checked
from sppcli.artefacts.writing import Writer, sealed
from sppcli.errors import BadArtefact
from sppcli.runtime.checksums import CheckedFile
from sppcli.runtime.files import commit, ensure_folder, naming


class Parts:
    """Per-image results of an unfinished run, beside the file they will become.

    ``key`` says which options they belong to; parts of other options are thrown away, as all are with ``discard``.
    """

    def __init__(self, target: Path, key: str, discard: bool = False) -> None:
        ensure_folder(target)
        self._target = target
        self.folder = target.with_name(target.name + ".parts")
        marker = self.folder / "key"
        if self.folder.exists() and (discard or not marker.exists() or marker.read_text() != key):
            shutil.rmtree(self.folder)
        self.folder.mkdir(exist_ok=True)
        for leftover in self.folder.glob(".*.tmp"):
            leftover.unlink()
        marker.write_text(key)

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

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
