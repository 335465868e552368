"""proposals.h5: the region proposals of every image, and where the images are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.images import ImageTable
from sppcli.artefacts.shards import SHARD
from sppcli.artefacts.store import Header, Json, create, open_artefact
from sppcli.artefacts.validity import checked_values
from sppcli.structures import Boxes, FloatArray


@dataclass(frozen=True)
class Proposals:
    """All of a proposals file. ``offsets`` (images + 1,): image i has rows offsets[i]:offsets[i+1] of ``boxes``."""

    path: Path
    header: Header
    images: ImageTable
    boxes: Boxes
    scores: FloatArray
    offsets: npt.NDArray[np.int64]

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
        """Proposals (N, 4) of image ``index``."""
        return self.boxes[self.offsets[index] : self.offsets[index + 1]]

    def scores_of(self, index: int) -> FloatArray:
        """Scores (N,) of the proposals of image ``index``."""
        return self.scores[self.offsets[index] : self.offsets[index + 1]]


def read_proposals(path: Path) -> Proposals:
    with open_artefact(path, "proposals") as artefact:
        found = checked_values(artefact)
        return Proposals(path, artefact.header, ImageTable.of(found), found["boxes"], found["scores"], found["offsets"])


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
    return options | {name: header.source[name] for name in ("edge_model",) if name in header.source}
