"""The numbers that COCO files give to images and classes, which the files of two splits may give to different ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sppcli.errors import BadInput


@dataclass(frozen=True)
class CocoNumbers:
    """``images``: COCO's image id -> the image's id here; ``categories``: COCO's category id -> class name.

    Of one annotation file, or of several that agree (``paths``).
    """

    paths: tuple[Path, ...]
    images: Mapping[int, str]
    categories: Mapping[int, str]

    @cached_property
    def of_images(self) -> dict[str, int]:
        """Image id -> COCO's; the first where a file lists an image twice."""
        return _inverse(self.images)

    @cached_property
    def of_classes(self) -> dict[str, int]:
        """Class name -> COCO's category id; the first where two categories have one name."""
        return _inverse(self.categories)


def joined(several: Sequence[CocoNumbers]) -> CocoNumbers:
    """The numbers of several files together.

    Raises:
        BadInput: two files give one number to different images or classes; the text names the files and both.
    """
    return CocoNumbers(
        tuple(path for one in several for path in one.paths),
        _union([(one.paths[0], one.images) for one in several], "image"),
        _union([(one.paths[0], one.categories) for one in several], "category"),
    )


def _inverse(names: Mapping[int, str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for number, name in names.items():
        numbers.setdefault(name, number)
    return numbers


def _union(several: Sequence[tuple[Path, Mapping[int, str]]], what: str) -> dict[int, str]:
    names: dict[int, str] = {}
    first: dict[int, Path] = {}
    for path, numbers in several:
        for number, name in numbers.items():
            if names.setdefault(number, name) != name:
                raise BadInput(
                    f"{first[number]} and {path} give the {what} id {number} to {names[number]!r} and {name!r}, so "
                    "that results cannot tell them apart; choose the --split of one file"
                )
            first.setdefault(number, path)
    return names
