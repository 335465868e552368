"""JSON that others wrote, read with its place kept: whatever is wrong is said with the file and the entry.

`Json` wraps a parsed value. Every accessor checks the type that the reader asks for and raises `BadInput`, so that a
reader cannot meet a KeyError, a TypeError or a number that is none. A place reads as in the file's own terms,
``export.json: [3].annotations[0].coordinates.x``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sppcli.errors import BadInput

LARGEST = 1e9
"""No coordinate, side or number of an image is larger; beyond it float32 boxes would overflow or lose whole pixels."""

_SHOWN = 60


class Json:
    """A value of a JSON file: ``raw``, and where it stands."""

    __slots__ = ("_key", "_parent", "_path", "raw")

    def __init__(self, raw: Any, path: Path, parent: Json | None = None, key: str | int = "") -> None:
        self.raw = raw
        self._path = path
        self._parent = parent
        self._key = key

    @property
    def where(self) -> str:
        """File and place, for messages."""
        keys: list[str] = []
        here: Json | None = self
        while here is not None and here._parent is not None:
            keys.append(_step(here._key))
            here = here._parent
        place = "".join(reversed(keys)).removeprefix(".")
        return f"{self._path}: {place}" if place else str(self._path)

    def refuse(self, wanted: str) -> BadInput:
        """The error that this value is not what ``wanted`` says."""
        return BadInput(f"{self.where} is {shown(self.raw)}, not {wanted}")

    def get(self, *names: str) -> Json | None:
        """The first of the fields ``names`` that this object has and that is not null."""
        if not isinstance(self.raw, dict):
            raise self.refuse("an object with fields in braces")
        for name in names:
            if self.raw.get(name) is not None:
                return Json(self.raw[name], self._path, self, name)
        return None

    def field(self, *names: str) -> Json:
        """As `get`, but one of the fields must be there."""
        found = self.get(*names)
        if found is None:
            raise BadInput(f"{self.where} has no {' or '.join(names)}")
        return found

    def fields(self) -> Iterator[tuple[str, Json]]:
        """Every field of an object, null ones too."""
        if not isinstance(self.raw, dict):
            raise self.refuse("an object with fields in braces")
        for name, value in self.raw.items():
            yield name, Json(value, self._path, self, name)

    def items(self) -> Iterator[Json]:
        """The entries of a list."""
        if not isinstance(self.raw, list):
            raise self.refuse("a list")
        for position, value in enumerate(self.raw):
            yield Json(value, self._path, self, position)

    def text(self) -> str:
        """A text that can be written as UTF-8."""
        if not isinstance(self.raw, str) or not is_plain_text(self.raw):
            raise self.refuse("a text in UTF-8")
        return self.raw

    def name(self) -> str:
        """A text that is not blank, without blanks at its ends; a whole number counts, as it is written."""
        value = str(self.raw) if is_whole(self.raw) and abs(self.raw) <= LARGEST else self.text().strip()
        if not value:
            raise self.refuse("a name")
        return value

    def number(self) -> float:
        """A finite number of at most `LARGEST`."""
        if not is_number(self.raw):
            raise self.refuse("a number")
        return float(self.raw)

    def whole(self) -> int:
        """A whole number, ``3.0`` too."""
        value = self.number()
        if not value.is_integer():
            raise self.refuse("a whole number")
        return int(value)

    def flag(self) -> bool:
        """true, false, 1 or 0."""
        if self.raw not in (True, False):
            raise self.refuse("true or false")
        return bool(self.raw)

    def numbers(self, count: int | None = None) -> list[float]:
        """A list of numbers, ``count`` of them."""
        values = [value.number() for value in self.items()]
        if count is not None and len(values) != count:
            raise self.refuse(f"{count} numbers")
        return values


def load_json(path: Path, what: str) -> Json:
    """The content of a JSON file in UTF-8, with or without byte order mark.

    Raises:
        BadInput: not there, not readable or not JSON; ``what`` it should be is in the text.
    """
    from sppcli.datasets.annotated import read_text

    return parse_json(read_text(path, what), path)


def parse_json(text: str, path: Path) -> Json:
    """``text`` of the file ``path`` as JSON.

    Raises:
        BadInput: it is not JSON, nests too deeply, or has a number of thousands of digits.
    """
    try:
        return Json(json.loads(text), path)
    except RecursionError:
        raise BadInput(f"{path} is not JSON that can be read: it nests too deeply") from None
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from error


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite number of at most `LARGEST`; true and false are none."""
    # Compared before it is converted: float() of a huge whole number raises.
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_plain_text(text: str) -> bool:
    """Whether ``text`` can be written as UTF-8 and be part of a path: no lone surrogate, no NUL."""
    if "\0" in text:
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object) -> str:
    """``value`` for a message: short, on one line, printable."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if key.isidentifier() and key.isascii() else f"[{shown(key)}]"
