"""What is known of the files that stand for URLs (`urls`): of which version each is a copy.

A file is known by its place, inode and size. A stage that makes an output gives its name to a new file, which is
therefore not known until it has been sent.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sppcli.errors import BadInput
from sppcli.runtime.urls import cache_root

_TABLE = "CREATE TABLE IF NOT EXISTS copies (place TEXT PRIMARY KEY, version TEXT, inode INTEGER, size INTEGER)"
_SECONDS = 60
"""That another process may take to write."""


@dataclass(frozen=True)
class Copy:
    """``version``: what the server said of the object then; it changes with the content. "" if it said nothing."""

    version: str
    inode: int
    size: int

    def is_of(self, file: Path) -> bool:
        """Whether ``file`` is still the one that was known."""
        try:
            found = file.stat()
        except OSError:
            return False
        return (found.st_ino, found.st_size) == (self.inode, self.size)


def known(file: Path) -> Copy | None:
    """What is known of ``file``."""
    with _opened() as table:
        row = table.execute("SELECT version, inode, size FROM copies WHERE place = ?", (_place(file),)).fetchone()
    return Copy(*row) if row else None


def known_below(folder: Path) -> dict[str, Copy]:
    """What is known of the files in ``folder`` and below, by their names there."""
    start = f"{_place(folder)}/"
    with _opened() as table:
        rows = table.execute(
            "SELECT place, version, inode, size FROM copies WHERE place >= ? AND place < ?", (start, start[:-1] + "0")
        ).fetchall()
    return {place.removeprefix(start): Copy(*rest) for place, *rest in rows}


def remember(files: Iterable[tuple[Path, Path, str]]) -> None:
    """The first of each three is, or is about to be, a copy of that version: the second, under its name or not yet."""
    rows = [
        (_place(file), version, found.st_ino, found.st_size) for file, now, version in files if (found := now.stat())
    ]
    with _opened() as table:
        table.executemany("INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?)", rows)


def forget(files: Iterable[Path]) -> None:
    with _opened() as table:
        table.executemany("DELETE FROM copies WHERE place = ?", [(_place(file),) for file in files])


def _place(file: Path) -> str:
    return file.relative_to(cache_root()).as_posix()


@contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    path = cache_root() / "copies.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=_SECONDS)) as table, table:
            table.execute(_TABLE)
            yield table
    except sqlite3.DatabaseError as error:
        raise BadInput(
            f"{path}: cannot be used ({error}); if it is damaged, delete it: files are then fetched anew"
        ) from None
