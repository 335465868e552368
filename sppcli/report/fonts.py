"""A font that has the letters of a text: names of classes and images may be in any script."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_PREFERRED = ("NotoSansCJK", "NotoSans-Regular", "DejaVuSans.ttf", "Arial Unicode", "arial.ttf")
"""Beginnings of the names of font files that are tried first."""


def face(size: int, text: str) -> Font:
    """Pillow's own font at ``size`` pixels; for letters that it lacks, one of this machine that has them all.

    Where none has them, the one that has the most: what is missing is drawn as a box (`missing_letters`).
    """
    return _face(size, _letters(text))


def missing_letters(texts: Iterable[str]) -> dict[str, str]:
    """Text -> its letters that no font here can draw together, of those of ``texts`` that have any."""
    found = {}
    for text in dict.fromkeys(texts):
        letters = _letters(text)
        path = _font_of(letters) if letters else None
        lacking = letters - _charmap(path) if path else letters
        if lacking:
            found[text] = "".join(sorted(lacking))
    return found


def _letters(text: str) -> frozenset[str]:
    """The letters of ``text`` that Pillow's own font may not have."""
    return frozenset() if text.isascii() else frozenset(letter for letter in text if not letter.isspace())


@lru_cache(maxsize=256)
def _face(size: int, letters: frozenset[str]) -> Font:
    path = _font_of(letters) if letters else None
    return ImageFont.truetype(str(path), size) if path else ImageFont.load_default(size)


@lru_cache(maxsize=256)
def _font_of(letters: frozenset[str]) -> Path | None:
    """The font file that has the most of ``letters``, the first that has all."""
    best: tuple[int, Path | None] = (0, None)
    for path in _fonts():
        count = len(letters & _charmap(path))
        if count > best[0] and _is_scalable(path):
            best = count, path
            if count == len(letters):
                break
    return best[1]


@lru_cache(maxsize=1)
def _fonts() -> tuple[Path, ...]:
    """Font files of this machine, those that people know first; matplotlib brings one along."""
    from matplotlib import font_manager, get_data_path

    own = sorted((Path(get_data_path()) / "fonts" / "ttf").glob("DejaVuSans.ttf"))
    there = [*own, *sorted(map(Path, font_manager.findSystemFonts()))]
    order = {path: i for i, path in enumerate(there)}

    def rank(path: Path) -> tuple[int, int]:
        known = (i for i, name in enumerate(_PREFERRED) if path.name.startswith(name))
        return next(known, len(_PREFERRED)), order[path]

    return tuple(sorted(dict.fromkeys(there), key=rank))


@lru_cache(maxsize=512)
def _charmap(path: Path) -> frozenset[str]:
    """The letters that a font file has; none where it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(str(path)).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@lru_cache(maxsize=64)
def _is_scalable(path: Path) -> bool:
    """Whether the font can be drawn at any size, as those of coloured pictures cannot."""
    try:
        ImageFont.truetype(str(path), 13)
    except OSError:
        return False
    return True
