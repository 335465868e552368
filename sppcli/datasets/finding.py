"""Images found by the names that annotation files have for them, wherever they lie below the data set's folder.

A name may be a bare file name, a path of this or of another machine (``C:\\Users\\…``), percent-encoded or a URL, and
it may be spelled in another way (`matching`). The file whose path ends most like it is meant; among equals the one
whose folders are most like the annotation file's. Where two are as near, neither is taken: nothing is read by guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from sppcli.datasets.matching import composed, folders_alike, loose

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class ImageFinder:
    """Images by name. Built once for a data set; a look-up touches no disk."""

    def __init__(self, images: Iterable[Path]) -> None:
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for path in images:
            self._by_name.setdefault(loose(path.name), []).append(path)
            self._by_stem.setdefault(loose(path.stem), []).append(path)

    def find(self, name: str, beside: Path, folders: Iterable[str] = ()) -> list[Path]:
        """The images that ``name`` can mean: none, one, or several that are equally near.

        Args:
            name: as the annotation file has it; one without extension is looked for with any.
            beside: the annotation file.
            folders: names of folders that the image should lie in, such as its split.
        """
        wanted = frozenset(folders)
        for parts in _readings(name):
            key = loose(parts[-1])
            if candidates := self._by_name.get(key) or self._by_stem.get(key):
                ranks = {path: _rank(path, parts, beside, wanted) for path in candidates}
                best = max(ranks.values())
                return [path for path, rank in ranks.items() if rank == best]
        return []


def _readings(name: str) -> Iterator[tuple[str, ...]]:
    """The parts of ``name``, read as it stands, then as a Windows path, then as a URL."""
    plain = urlsplit(name).path if _SCHEME.match(name) and _is_url(name) else name
    tried = [name, name.replace("\\", "/"), plain, unquote(plain).replace("\\", "/")]
    for text in dict.fromkeys(tried):
        parts = tuple(part for part in PurePosixPath(text).parts if part not in ("/", ".", ".."))
        if parts:
            yield parts


def _is_url(name: str) -> bool:
    try:
        return bool(urlsplit(name).path)
    except ValueError:
        return False


def _rank(
    path: Path, parts: tuple[str, ...], beside: Path, folders: frozenset[str]
) -> tuple[int, bool, bool, bool, int, int]:
    """How well a file fits: the end of its path, its spelling, the folders asked for, its way from the annotations."""
    here = path.parts
    # The last part is the same but for spelling and perhaps an extension.
    tail = 1
    while tail < min(len(parts), len(here)) and loose(here[-1 - tail]) == loose(parts[-1 - tail]):
        tail += 1
    exact = composed(parts[-1]) in (composed(path.name), composed(path.stem))
    return tail, exact, not folders.isdisjoint(here[:-1]), *folders_alike(path, beside), -len(here)
