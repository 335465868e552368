"""What a format of annotations is: how it is recognised, and what opens it. `formats` lists them all.

A reader is one file that ends with its `Format`. ``recognise`` looks at a `Place` for the marks that the format's own
writers leave (a file of a certain name, certain keys, a certain root element), never at what might fit, and says what
it found. It must be quick on any folder of a million images and must not raise for what is not its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sppcli.datasets.annotated import read_text
from sppcli.datasets.base import Dataset
from sppcli.datasets.walking import Walk
from sppcli.errors import BadInput
from sppcli.runtime.inputs import open_regular

_HEAD = 4096


class Place:
    """A file or folder that was given, looked through once however many formats look.

    ``path``: absolute and there; ``images_needed``: False where annotations alone will do, as for evaluation.
    """

    def __init__(self, path: Path, images_needed: bool = True) -> None:
        self.path = path
        self.images_needed = images_needed
        self._heads: dict[Path, str] = {}
        self._parsed: dict[Path, Any] = {}

    @property
    def is_folder(self) -> bool:
        return self.path.is_dir()

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """Every file in the folder and below that is not hidden, sorted; the file itself, where one was given."""
        if not self.is_folder:
            return (self.path,)
        found: list[Path] = []
        walk = Walk(self.path)
        for here, folders, names in os.walk(self.path, followlinks=True):
            if not walk.enters(here):
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [Path(here, name) for name in names if not name.startswith(".")]
        return tuple(sorted(found))

    @cached_property
    def _by_ending(self) -> dict[str, tuple[Path, ...]]:
        table: dict[str, list[Path]] = {}
        for path in self.files:
            table.setdefault(path.suffix.lower(), []).append(path)
        return {ending: tuple(paths) for ending, paths in table.items()}

    def ending(self, *endings: str) -> tuple[Path, ...]:
        """The `files` whose names end so (``.json``, in lower case; letter case of the files does not matter)."""
        if len(endings) == 1:
            return self._by_ending.get(endings[0], ())
        return tuple(sorted(path for ending in endings for path in self._by_ending.get(ending, ())))

    def head(self, path: Path) -> str:
        """The first 4,096 bytes of a file as text, for marks at its beginning; "" where it cannot be read."""
        if path not in self._heads:
            try:
                with open_regular(path) as stream:
                    data = stream.read(_HEAD)
            except OSError:
                data = b""
            utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
            self._heads[path] = data.decode("utf-16" if utf16 else "utf-8-sig", errors="ignore")
        return self._heads[path]

    def json(self, path: Path) -> Any:
        """What a JSON file holds, parsed once; None where it is not JSON."""
        if path not in self._parsed:
            try:
                self._parsed[path] = json.loads(read_text(path, "JSON"))
            except (BadInput, ValueError, RecursionError):
                self._parsed[path] = None
        return self._parsed[path]

    def damaged(self) -> list[Path]:
        """The files that `json` was asked for and that are no JSON."""
        return sorted(path for path, content in self._parsed.items() if content is None)


@dataclass(frozen=True)
class Recognised:
    """``by``: the mark that was found, in words, for messages; ``open``: reads the data set.

    ``sure``: the mark is the format's own (``_annotations.coco.json``) rather than content that fits (a table whose
    header names an image, a class and a box). Where one format is sure and another is not, the sure one is read and the
    other is mentioned; two that are equally sure are refused.
    """

    by: str
    open: Callable[[], Dataset]
    sure: bool = True


@dataclass(frozen=True)
class Format:
    """``name``: as it is given (``yolo:FOLDER``); ``title``: for people; ``marks``: what it is recognised by."""

    name: str
    title: str
    marks: str
    recognise: Callable[[Place], Recognised | None]
