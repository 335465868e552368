"""Imports proposals from files of others, or earlier ones of ours, for the images of a data set."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.proposals import read_proposals
from sppcli.datasets.base import did_you_mean
from sppcli.errors import BadInput
from sppcli.geometry.boxes import clip
from sppcli.proposals.union import falling
from sppcli.proposals.window_files import Rows, read_windows
from sppcli.runtime.counts import count_of
from sppcli.runtime.inputs import read_regular
from sppcli.structures import Boxes, FloatArray, ImageItem

_CLIPPED = (
    "proposal reached beyond its image and was cut to it",
    "proposals reached beyond their image and were cut to it",
)
_EMPTY = ("proposal without extent in its image was left out", "proposals without extent in their image were left out")


@dataclass
class Imported:
    """A file of proposals: ``rows`` by position in the list of images; ``method``, what it says made them, or "".

    ``foreign`` are names in the file that no image has. The counts are kept by `take`: proposals taken, cut to their
    image, left out as they are empty (there), left out as equal to an earlier one, left out beyond the limit.
    """

    path: Path
    digest: str
    method: str
    rows: Mapping[int, Rows]
    foreign: tuple[str, ...]
    windows: int = 0
    clipped: int = 0
    empty: int = 0
    duplicates: int = 0
    beyond: int = 0

    def take(self, index: int, size: npt.NDArray[np.int64], limit: int) -> tuple[Boxes, FloatArray]:
        """The proposals (N, 4) and scores (N,) of image ``index``, which has ``size`` (height, width) in pixels.

        Cut to the image; without empty proposals and exact duplicates; at most ``limit``, the first ones. Without
        scores in the file they fall from 1 with the position.
        """
        rows = self.rows.get(index)
        if rows is None:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        boxes = clip(rows.boxes, int(size[0]), int(size[1]))
        there = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        self.clipped += int(np.count_nonzero((boxes != rows.boxes).any(axis=1) & there))
        self.empty += int(np.count_nonzero(~there))
        kept = np.flatnonzero(there)
        _, first = np.unique(boxes[kept], axis=0, return_index=True)
        self.duplicates += len(kept) - len(first)
        kept = kept[np.sort(first)]
        self.beyond += max(0, len(kept) - limit)
        kept = kept[:limit]
        self.windows += len(kept)
        return boxes[kept], falling(len(kept)) if rows.scores is None else rows.scores[kept]

    def faults(self, ids: Mapping[int, str]) -> list[str]:
        """One sentence for each thing that is not as it should be; ``ids`` are those of the images, by position."""
        missing = [name for index, name in ids.items() if index not in self.rows]
        found = []
        if missing:
            found.append(
                f"{len(missing):,} of {count_of(len(ids), 'image')} have no proposals in {self.path}, "
                f"the first: {missing[0]}"
            )
        if self.clipped:
            found.append(f"{self.path}: {count_of(self.clipped, *_CLIPPED)}")
        if self.empty:
            found.append(f"{self.path}: {count_of(self.empty, *_EMPTY)}")
        return found

    def notes(self, limit: int) -> list[str]:
        """One sentence for each thing that was left out though nothing is wrong with it."""
        found = []
        if self.foreign:
            found.append(
                f"{self.path} has proposals of {count_of(len(self.foreign), 'image')} outside the data set, "
                f"which are left out, the first: {self.foreign[0]}"
            )
        if self.beyond:
            found.append(
                f"{self.path}: --max-proposals {limit:,} leaves out {count_of(self.beyond, 'further proposal')}"
            )
        return found


def open_import(
    path: Path, images: Sequence[ImageItem], root: Path, digests: Sequence[str], of_shard: bool = False
) -> Imported:
    """Read a file of proposals and find the image that each belongs to.

    ``of_shard``: the digests of other shards' images are not known, so that a proposals.h5 may hold proposals of them.

    A proposals.h5 knows images by content. In other files the name of an image is its id, its path below ``root``, its
    file name with or without extension, or its number (COCO's image 139 is 000000000139.jpg).

    Raises:
        MissingInput, BadInput: no such file, not as its format says, no image of the data set in it, or a name that
            several images have.
    """
    if path.suffix.lower() in (".h5", ".hdf5"):
        here = set(digests)
        stored = read_proposals(path, lambda table: [row for row, value in enumerate(table.digests) if value in here])
        known = {value: i for i, value in enumerate(stored.images.digests)}
        taken = {
            index: Rows(stored.of(known[value]), stored.scores_of(known[value]))
            for index, value in enumerate(digests)
            if value in known
        }
        foreign = tuple(
            name for name, value in zip(stored.images.ids, stored.images.digests, strict=True) if value not in here
        )
        if of_shard:
            foreign = ()
        elif not taken:
            raise BadInput(f"{path}: holds proposals of other images, none with the content of one here")
        return Imported(path, stored.fingerprint, str(stored.header.config.get("method", "")), taken, foreign)
    found = read_windows(path)
    named = _names(images, root)
    rows: dict[int, Rows] = {}
    owner: dict[int, str] = {}
    unknown: list[str] = []
    for name, windows in found.items():
        candidates = named.get(name) or named.get(_number(name)) or named.get(_number(windows.number), ())
        if len(candidates) > 1:
            first, second = (images[index].id for index in candidates[:2])
            raise BadInput(f"{path}: {name!r} may be {first} or {second}; name images by their path below {root}")
        if not candidates:
            unknown.append(name)
            continue
        index = candidates[0]
        if index in owner:
            raise BadInput(
                f"{path}: {owner[index]!r} and {name!r} are both image {images[index].id}; name it in one way"
            )
        owner[index] = name
        rows[index] = windows
    if not rows:
        raise BadInput(
            f"{path}: none of its {len(found)} images is in the data set: it has {unknown[0]!r}, ids here are "
            f"as {images[0].id!r}{did_you_mean(unknown[0], [item.id for item in images])}"
        )
    return Imported(path, hashlib.sha256(read_regular(path)).hexdigest(), "", rows, tuple(unknown))


def _names(images: Sequence[ImageItem], root: Path) -> dict[str, tuple[int, ...]]:
    """Every name that an image may have, to the positions of those that have it; an id goes before other names."""
    names: dict[str, tuple[int, ...]] = {}
    for index, item in enumerate(images):
        path = PurePosixPath(item.path.relative_to(root) if item.path.is_relative_to(root) else item.path)
        for name in {str(path), str(path.with_suffix("")), path.name, path.stem, _number(path.stem)} - {""}:
            names[name] = (*names.get(name, ()), index)
    return names | {item.id: (index,) for index, item in enumerate(images)}


def _number(name: str) -> str:
    """``name`` as a number without leading zeros, marked as one; "" if it is none."""
    return f"number {name.lstrip('0')}" if re.fullmatch(r"[0-9]+", name, re.ASCII) else ""
