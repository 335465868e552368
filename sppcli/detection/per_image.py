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

from sppcli.artefacts.images import ImageTable, images_fingerprint
from sppcli.artefacts.shards import LeftOut, ShardNote, noted
from sppcli.artefacts.store import Header
from sppcli.errors import BadInput, SppError
from sppcli.images import digest, read_bytes
from sppcli.runtime.attempts import DEATHS, Attempts
from sppcli.runtime.options import RunOptions
from sppcli.runtime.prefetch import prefetch
from sppcli.runtime.shards import Shard, rows_of
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
    def of(cls, images: Sequence[ImageItem], root: Path, shard: Shard | None = None) -> ListedImages:
        """Read the files of ``images`` for their digests; of those of other shards the digest is ``elsewhere ID``."""
        digests = [f"elsewhere {item.id}" for item in images]
        unreadable = {}
        for row in rows_of(shard, [item.id for item in images]):
            item = images[row]
            try:
                digests[row] = digest(read_bytes(item.path))
            except SppError as error:
                digests[row] = f"unreadable {item.id}"
                unreadable[row] = error
        ids = tuple(item.id for item in images)
        return cls(ids, tuple(name_in(root, item.path) for item in images), tuple(digests), unreadable)

    def fingerprint(self, shard: Shard | None = None) -> str:
        """Digest of ids, places and contents, for the header of a file that is made from the images of ``shard``."""
        rows = rows_of(shard, self.ids)
        return images_fingerprint([(self.ids[row], self.paths[row], self.digests[row]) for row in rows])


class PerImage:
    """One run over images with ``keys``, in order of row; ``paths`` name them in the list of those that are skipped.

    With ``rows`` it goes over these images only: the others are neither done nor skipped. It may then be left with none
    of them, which is no error of a shard.
    """

    def __init__(
        self,
        paths: Sequence[str],
        keys: Sequence[str],
        options: RunOptions,
        rows: Sequence[int] | None = None,
        attempts: Attempts | None = None,
    ) -> None:
        self.paths, self.keys, self.options = paths, keys, options
        self.attempts = attempts or Attempts(None)
        self._rows = range(len(keys)) if rows is None else rows
        self._may_be_empty = rows is not None
        self._problems: dict[str, str] = {}

    @classmethod
    def of_shard(
        cls,
        images: ListedImages | ImageTable,
        keys: Sequence[str],
        shard: Shard | None,
        output: Path,
        options: RunOptions,
    ) -> PerImage:
        """Over the ``images`` of ``shard``, or all of them.

        A shard's images that were being worked on when an earlier run's process was killed are known: see `Attempts`.
        """
        attempts = Attempts(output if shard and not options.dry_run else None)
        work = cls(images.paths, keys, options, shard.rows(images.ids) if shard else None, attempts)
        for row in work._rows:
            if attempts.deaths(images.paths[row]) >= DEATHS:
                work.skip(row, BadInput(f"{images.paths[row]}: {DEATHS} processes were killed while they worked on it"))
        return work

    def __len__(self) -> int:
        return len(self._rows)

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
        for row in self._rows:
            first.setdefault(self.keys[row], row)
        return [row for key, row in first.items() if key not in self._problems and not is_done(key)]

    def turns(self, rows: Sequence[int]) -> list[list[int]]:
        """``rows`` in the order to work on them: those that a process may have been killed by each by itself."""
        return self.attempts.turns([(row, self.paths[row]) for row in rows])

    def ended(self, rows: Sequence[int]) -> None:
        """What `readable` began of these images is done."""
        for row in rows:
            self.attempts.end(self.paths[row])

    def readable(self, rows: Sequence[int], load: Callable[[int], Loaded], ahead: int) -> Iterator[tuple[int, Loaded]]:
        """Each of ``rows`` with what ``load`` makes of it, ``ahead`` of the caller; those that fail are skipped."""

        def attempt(row: int) -> tuple[int, Loaded | SppError]:
            self.attempts.begin(self.paths[row])
            try:
                return row, load(row)
            except SppError as error:
                return row, error

        for row, found in prefetch(attempt, rows, ahead=ahead):
            if isinstance(found, SppError):
                self.ended([row])
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
            BadInput: there is none, and not of a shard.
        """
        rows = [row for row in self._rows if self.keys[row] not in self._problems]
        if not rows and not self._may_be_empty:
            raise none_left(len(self), "could be read", self.skipped()[0].reason)
        return rows

    def skipped(self) -> tuple[Skipped, ...]:
        """The rows that are left out, and why."""
        return tuple(Skipped(self.paths[row], self._problems[self.keys[row]]) for row in self.left_out())

    def left_out(self) -> list[int]:
        """The rows that are left out."""
        return [row for row in self._rows if self.keys[row] in self._problems]

    def noted(self, header: Header, images: ListedImages | ImageTable, before: int = 0) -> Header:
        """``header`` of a shard's file with what it left out; ``before``: skipped by an earlier stage."""
        left_out = tuple(
            LeftOut(images.ids[row], images.paths[row], images.digests[row], self._problems[self.keys[row]])
            for row in self.left_out()
        )
        return noted(header, ShardNote(left_out, before))

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
