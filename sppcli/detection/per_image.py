"""Common parts of stages that work image by image: which images are to be done or left out, and the final table.

Images are known by a key, which is equal for equal images, so that the result of one serves them all, in this run and,
from its parts or its output, in the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.images import ImageTable
from sppcli.artefacts.store import digest_of
from sppcli.errors import BadInput, SppError
from sppcli.images import digest, read_bytes
from sppcli.runtime.options import RunOptions
from sppcli.runtime.prefetch import prefetch
from sppcli.structures import ImageItem, Skipped

Loaded = TypeVar("Loaded")


def none_left(count: int, done: str, first: str, where: str = "") -> BadInput:
    """The error of a stage that is left with none of ``count`` images: ``done`` is what none of them could be."""
    return BadInput(f"{f'{where}: ' if where else ''}none of the {count} images {done}; the first: {first}")


def name_in(root: Path, path: Path) -> str:
    """How artefacts name an image: by its path from the data set's root, or the whole path where it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


@dataclass(frozen=True)
class ListedImages:
    """The images of a run, row by row.

    ``paths`` are as `name_in` has them; ``digests`` are SHA-256 of the files, or ``unreadable`` and the id where
    ``unreadable`` says, by row, what was wrong.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    unreadable: dict[int, SppError]

    @classmethod
    def of(cls, images: Sequence[ImageItem], root: Path) -> ListedImages:
        """Read the files of ``images`` for their digests."""
        digests: list[str] = []
        unreadable = {}
        for row, item in enumerate(images):
            try:
                digests.append(digest(read_bytes(item.path)))
            except SppError as error:
                digests.append(f"unreadable {item.id}")
                unreadable[row] = error
        ids = tuple(item.id for item in images)
        return cls(ids, tuple(name_in(root, item.path) for item in images), tuple(digests), unreadable)

    def fingerprint(self) -> str:
        """Digest of ids, places and contents, for the header of a file that is made from the images."""
        return digest_of([list(row) for row in zip(self.ids, self.paths, self.digests, strict=True)])


class PerImage:
    """One run over images with ``keys``, in order of row; ``paths`` name them in the list of those that are skipped."""

    def __init__(self, paths: Sequence[str], keys: Sequence[str], options: RunOptions) -> None:
        self.paths, self.keys, self.options = paths, keys, options
        self._problems: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def leave_out(self, row: int, reason: str) -> None:
        """Leave out the image, and with it those equal to it."""
        self._problems[self.keys[row]] = reason

    def skip(self, row: int, problem: SppError) -> None:
        """Leave out an image that cannot be used, with a warning; with ``--strict`` it is the end of the run.

        Raises:
            SppError: ``problem``, with ``--strict``.
        """
        if self.options.strict:
            raise problem
        self.options.progress.warn(f"skipped: {problem}")
        self.leave_out(row, str(problem))

    def todo(self, is_done: Callable[[str], bool]) -> list[int]:
        """The first row of each key that is neither done nor left out."""
        first: dict[str, int] = {}
        for row, key in enumerate(self.keys):
            first.setdefault(key, row)
        return [row for key, row in first.items() if key not in self._problems and not is_done(key)]

    def readable(self, rows: Sequence[int], load: Callable[[int], Loaded], ahead: int) -> Iterator[tuple[int, Loaded]]:
        """Each of ``rows`` with what ``load`` makes of it, ``ahead`` of the caller; those that fail are skipped."""

        def attempt(row: int) -> tuple[int, Loaded | SppError]:
            try:
                return row, load(row)
            except SppError as error:
                return row, error

        for row, found in prefetch(attempt, rows, ahead=ahead):
            if isinstance(found, SppError):
                self.skip(row, found)
                self.options.progress.advance()
            else:
                yield row, found

    def succeeded(self, rows: Sequence[int]) -> int:
        """How many of ``rows`` were not left out."""
        return sum(self.keys[row] not in self._problems for row in rows)

    def good(self) -> list[int]:
        """The rows that are not left out.

        Raises:
            BadInput: there is none.
        """
        rows = [row for row, key in enumerate(self.keys) if key not in self._problems]
        if not rows:
            raise none_left(len(self), "could be read", self.skipped()[0].reason)
        return rows

    def skipped(self) -> tuple[Skipped, ...]:
        """The rows that are left out, and why."""
        return tuple(
            Skipped(path, self._problems[key])
            for path, key in zip(self.paths, self.keys, strict=True)
            if key in self._problems
        )

    def table(
        self,
        images: ListedImages | ImageTable,
        rows: Sequence[int],
        sizes: npt.NDArray[np.int64],
        before: tuple[Skipped, ...] = (),
    ) -> ImageTable:
        """The ``rows`` of ``images`` with their ``sizes`` (N, 2); ``before``: skipped by an earlier stage."""
        return ImageTable(
            tuple(images.ids[row] for row in rows),
            tuple(images.paths[row] for row in rows),
            tuple(images.digests[row] for row in rows),
            np.asarray(sizes, dtype=np.int64).reshape(-1, 2),
            (*before, *self.skipped()),
        )
