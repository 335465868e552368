"""Numbers with their nouns, for sentences that people read."""

from __future__ import annotations


def count_of(number: int, one: str, many: str = "") -> str:
    """``number`` and its noun, such as ``1 image`` or ``1,200 images``.

    ``many``: the plural where it is not ``one`` with an s, as of ``class``, or of a noun with its verb.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
