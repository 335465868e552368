"""Bars of block characters, for plots in a terminal."""

from __future__ import annotations

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(value: float, greatest: float, width: int, plain: bool = False) -> str:
    """A bar of ``value`` that is ``width`` characters long for ``greatest``; at least a sliver for what is above 0.

    ``plain``: of # instead of blocks, for a terminal that has no such characters.
    """
    if value <= 0 or greatest <= 0:
        return ""
    eighths = max(1, round(8 * width * min(value / greatest, 1)))
    if plain:
        return "#" * max(1, eighths // 8)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
