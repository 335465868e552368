"""Shards: the items of a run divided among independent runs, by name alone and so everywhere in the same way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAMED = re.compile(r"(?P<stem>.+)\.shard-[1-9]\d*-of-[1-9]\d*(?P<suffix>\.[^.]*)?")


@dataclass(frozen=True, order=True)
class Shard:
    """The ``number``-th of ``of`` shards, counted from 1.

    An item belongs to the shard that the SHA-256 of its name says, whatever other items there are and in which order
    they come: shards hold about as many items each, and items that are added later move no other.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"there is no shard {self.number} of {self.of}")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, name: str) -> bool:
        """Whether the item called ``name`` belongs to this shard."""
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % self.of + 1 == self.number

    def rows(self, names: Sequence[str]) -> list[int]:
        """The positions of the items in this shard."""
        return [row for row, name in enumerate(names) if self.holds(name)]

    def dealt(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of ``names``, a few as classes are, that are this shard's when they are dealt out in turn."""
        return tuple(names[self.number - 1 :: self.of])

    def path(self, whole: Path) -> Path:
        """The file of this shard, beside ``whole``, which all shards become together."""
        return whole.with_name(f"{whole.stem}.shard-{self.number}-of-{self.of}{whole.suffix}")

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number, "of": self.of}

    @classmethod
    def all(cls, of: int) -> list[Shard]:
        return [cls(number, of) for number in range(1, of + 1)]


def rows_of(shard: Shard | None, names: Sequence[str]) -> list[int]:
    """The positions of the items in ``shard``; of all items without one."""
    return list(range(len(names))) if shard is None else shard.rows(names)


def whole_of(path: Path) -> Path:
    """The file that the shard called ``path`` becomes a part of; ``path`` itself if it is not named as a shard is."""
    named = _NAMED.fullmatch(path.name)
    return path.with_name(named["stem"] + (named["suffix"] or "")) if named else path
