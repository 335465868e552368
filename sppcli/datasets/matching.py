"""One name written in several ways: what an annotation calls an image, and what the image is called on this disk.

A zip made on macOS has accents as two code points (NFD), annotations have one (NFC); Windows writes backslashes and
does not tell letter cases apart; Label Studio percent-encodes. The name as it is written wins; another spelling counts
only where exactly one file has it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

_DEEPEST = 64
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|[\\/]{2}")


def composed(name: str) -> str:
    """``name`` with composed accents (NFC): what two spellings of one text have in common."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def loose(name: str) -> str:
    """As `composed`, percent-encoding undone and without letter case."""
    return composed(unquote(composed(name)) if "%" in name else name).casefold()


def last_starts(parts: Sequence[str]) -> range:
    """Where the ends of a path begin that are tried, longest first: no folder lies deeper, and thousands take long."""
    return range(max(0, len(parts) - _DEEPEST), len(parts))


def spellings(name: str) -> Iterator[str]:
    """``name`` as a path below a folder, likeliest first: as written, with slashes, then ever shorter ends of it.

    Ends are tried of an absolute path (of another machine, most often) and of one that leads out of its folder.
    """
    seen = set()
    for text in dict.fromkeys((name, unquote(name) if "%" in name else name)):
        plain = text.replace("\\", "/")
        parts = [part for part in plain.split("/") if part not in ("", ".")]
        outside = plain.startswith("/") or bool(_DRIVE.match(text)) or ".." in parts
        whole = [] if outside or text == plain else ["/".join(parts)]
        first = [] if outside else [text]
        parts = parts[len(parts) - parts[::-1].index("..") :] if ".." in parts else parts
        ends = ["/".join(parts[i:]) for i in last_starts(parts)] if outside else []
        for spelling in (*first, *whole, *ends):
            if spelling and spelling not in seen:
                seen.add(spelling)
                yield spelling


class Folders:
    """The files of folders by loose name, each folder listed once and only when a name is not found as written."""

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[Path]]] = {}

    def find(self, path: Path) -> Path | None:
        """``path`` if it is there, else the one file beside it whose name differs in spelling alone, else None."""
        try:
            if path.is_file():
                return path
        except (OSError, ValueError):  # longer than a name may be, or with a zero byte
            return None
        return only([found for key, found in self._beside(path)])

    def _beside(self, path: Path) -> Iterator[tuple[str, Path]]:
        folder = self._folder(path.parent)
        named = folder.get(loose(path.name), [])
        exact = [found for found in named if composed(found.name) == composed(path.name)]
        for found in exact or named:
            yield found.name, found

    def _folder(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._listed:
            table: dict[str, list[Path]] = {}
            try:
                entries = [entry for entry in folder.iterdir() if entry.name[0] != "."]
            except OSError:
                entries = []
            for entry in entries:
                table.setdefault(loose(entry.name), []).append(entry)
            self._listed[folder] = table
        return self._listed[folder]


def same_names(names: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Each of ``names`` -> itself if it is ``known``, else the one known name that differs in spelling alone."""
    table: dict[str, list[str]] = {}
    same: dict[str, str] = {}
    for name in names:
        if name in known:
            same[name] = name
            continue
        if not table:
            for there in known:
                table.setdefault(loose(there), []).append(there)
        found = table.get(loose(name), [])
        exact = [there for there in found if composed(there) == composed(name)]
        if len(exact or found) == 1:
            same[name] = (exact or found)[0]
    return same


def only(found: Iterable[Path]) -> Path | None:
    """The one of ``found``; None of none or several."""
    listed = list(found)
    return listed[0] if len(listed) == 1 and listed[0].is_file() else None


def folders_alike(one: Path, other: Path) -> tuple[bool, int]:
    """How much two files' folders have in common: whether they are the same, and their equal parts from either end."""
    first, second = one.parent.parts, other.parent.parts
    return first == second, _common(first, second) + _common(first[::-1], second[::-1])


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """How many parts two paths begin with alike."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
