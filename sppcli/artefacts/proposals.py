"""proposals.h5: the region proposals of every image, and where the images are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.images import ImageTable
from sppcli.artefacts.shards import SHARD
from sppcli.artefacts.store import Header, Json, create, open_artefact
from sppcli.artefacts.validity import checked_proposals, checked_tables, checked_values
from sppcli.runtime.shards import Shard
from sppcli.runtime.urls import to_record
from sppcli.structures import Boxes, FloatArray

Wanted = Callable[[ImageTable], Iterable[int]]
"""Which rows of the table of images proposals are asked for of."""


@dataclass(frozen=True)
class Proposals:
    """A proposals file. ``offsets`` (images + 1,): image i has rows offsets[i]:offsets[i+1] of ``boxes``.

    ``rows``: the images whose proposals were read, where not those of all were; ``images`` are all in any case.
    """

    path: Path
    header: Header
    images: ImageTable
    boxes: Boxes
    scores: FloatArray
    offsets: npt.NDArray[np.int64]
    rows: frozenset[int] | None = None

    @property
    def fingerprint(self) -> str:
        return self.header.fingerprint

    @property
    def root(self) -> Path:
        """Folder that image paths are relative to."""
        return Path(self.header.source["root"])

    @property
    def sources(self) -> list[str]:
        """What `spp propose` was given, as absolute paths."""
        return list(self.header.source["paths"])

    def of(self, index: int) -> Boxes:
        """Proposals (N, 4) of image ``index``.

        Raises:
            LookupError: they were not asked for.
        """
        return self.boxes[self._span(index)]

    def scores_of(self, index: int) -> FloatArray:
        """Scores (N,) of the proposals of image ``index``; as `of`."""
        return self.scores[self._span(index)]

    def _span(self, index: int) -> slice:
        if self.rows is not None and index not in self.rows:
            raise LookupError(f"{self.path}: the proposals of {self.images.ids[index]} were not read")
        return slice(self.offsets[index], self.offsets[index + 1])


def read_proposals(path: Path, wanted: Wanted | None = None) -> Proposals:
    """All of the file; or with ``wanted`` its tables, and of some images the proposals, and nothing else of it.

    Raises:
        MissingInput, BadArtefact: it is not there, or what was read of it is damaged.
    """
    with open_artefact(path, "proposals", lazily=wanted is not None) as artefact:
        if wanted is None:
            found = checked_values(artefact)
            rest = (found["boxes"], found["scores"], found["offsets"])
            return Proposals(path, artefact.header, ImageTable.of(found), *rest)
        found = checked_tables(artefact)
        images = ImageTable.of(found)
        rows = sorted(wanted(images))
        boxes, scores = checked_proposals(artefact, found, rows)
        counts = np.zeros(len(images) + 1, np.int64)
        counts[np.array(rows, np.int64) + 1] = np.diff(found["offsets"])[rows]
        return Proposals(path, artefact.header, images, boxes, scores, np.cumsum(counts), frozenset(rows))


def none_of_them(images: ImageTable) -> Iterable[int]:
    """For `read_proposals`: the table of images is all that is asked for."""
    return ()


def read_images(path: Path) -> ImageTable:
    """The table of images of a proposals file, without reading the proposals."""
    return read_proposals(path, none_of_them).images


def of_shard(shard: Shard | None) -> Wanted | None:
    """For `read_proposals`: what belongs to ``shard``; all without one."""
    return None if shard is None else lambda images: shard.rows(images.ids)


def write_proposals(path: Path, header: Header, images: ImageTable, found: list[tuple[Boxes, FloatArray]]) -> None:
    """``found`` holds boxes and scores of each image of ``images``, in its order."""
    with create(path, header) as writer:
        images.write(writer)
        writer.array("boxes", np.concatenate([np.zeros((0, 4), np.float32), *(boxes for boxes, _ in found)]))
        writer.array("scores", np.concatenate([np.zeros(0, np.float32), *(scores for _, scores in found)]))
        writer.array("offsets", np.cumsum([0, *(len(boxes) for boxes, _ in found)], dtype=np.int64))


def source_json(kind: str, paths: list[str], root: str) -> Json:
    return {"kind": kind, "paths": paths, "root": root}


def propose_settings(proposals: Proposals) -> Json:
    """The options of `spp propose` that made these proposals, except the name of the method."""
    header = proposals.header
    options = {name: value for name, value in header.config.items() if name not in ("method", "engine", SHARD)}
    # Where the model lies does not decide the proposals, and so is no part of the configuration.
    return options | {name: to_record(header.source[name]) for name in ("edge_model",) if name in header.source}
