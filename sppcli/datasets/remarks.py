"""What a reader left out or mended, said in a few lines however often it happened."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")

NAMED = 10
"""At most so many of a kind are named; the rest are counted."""

_ONE_BY_ONE = 3


class Problem(str):
    """A warning about a data set, with the ``kind`` of what is wrong: one of those of `datasets.check`."""

    __slots__ = ("kind",)
    kind: str

    def __new__(cls, kind: str, text: str) -> Problem:
        self = super().__new__(cls, text)
        self.kind = kind
        return self

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return self.kind, str(self)


class Remark(Problem):
    """A warning about one thing that may be wrong with many: ``many`` says the same of ``{n}`` of them.

    ``item`` is what names this one among them. A set of files read by another convention would otherwise give a line a
    box.
    """

    __slots__ = ("item", "many")
    many: str
    item: str

    def __new__(cls, kind: str, text: str, many: str = "", item: str = "") -> Remark:
        """``many``: as "{n} boxes reach outside their image and were clipped"."""
        self = super().__new__(cls, kind, text)
        assert isinstance(self, Remark)
        self.many, self.item = many, item
        return self

    def __getnewargs__(self) -> tuple[str, str, str, str]:  # type: ignore[override]
        return self.kind, str(self), self.many, self.item


def again(thing: str, file: str) -> Remark:
    """What is said of an object that stands twice; ``thing``: which it is, in words."""
    text = f"{thing}, is there twice: two objects; a detector can find one"
    return Remark("duplicate", text, "{n} objects are there twice: two objects each; a detector can find one", file)


def repeated(things: Iterable[_T], key: Callable[[_T], Hashable]) -> Iterator[_T]:
    """Those of ``things`` whose key an earlier one has."""
    seen: set[Hashable] = set()
    for thing in things:
        if (here := key(thing)) in seen:
            yield thing
        seen.add(here)


def grouped(warnings: Iterable[str]) -> list[str]:
    """``warnings`` without repetitions, in order; more than three of a kind become one line that names ten at most."""
    texts = list(dict.fromkeys(warnings))
    kinds: dict[str, list[str]] = {}
    for text in texts:
        if isinstance(text, Remark):
            kinds.setdefault(text.many, []).append(text.item)
    many = {kind: items for kind, items in kinds.items() if len(items) > _ONE_BY_ONE}
    shown: dict[str, None] = {}
    for text in texts:
        if isinstance(text, Remark) and text.many in many:
            shown[counted(text.many, many[text.many])] = None
        else:
            shown[text] = None
    return list(shown)


def counted(kind: str, items: list[str]) -> str:
    """``kind`` with the count of ``items`` for ``{n}``, and the first ten of them behind it.

    A kind in the plural, such as "{n} images have …", is put into the singular where there is one.
    """
    more = "" if len(items) <= NAMED else f" and {len(items) - NAMED:,} more"
    said = kind
    if len(items) == 1:
        said = _SINGULAR.sub(lambda found: f"{{n}} {found[1]} {_ONE[found[2]]}", kind)
        said = said if said == kind else _AND.sub(lambda found: f"and {_ONE[found[1]]} ", said)
    return f"{said.replace('{n}', f'{len(items):,}')}: {', '.join(items[:NAMED])}{more}"


_ONE = {
    **{"have": "has", "are": "is", "were": "was"},
    **{"fit": "fits", "keep": "keeps", "reach": "reaches", "stand": "stands"},
}
_SINGULAR = re.compile(rf"\{{n\}} (\w+?)(?:(?<=x)e)?s ({'|'.join(_ONE)})\b")
_AND = re.compile(r"\band (have|are|were) ")
