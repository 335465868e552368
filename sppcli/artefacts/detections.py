"""detections.h5: what was found where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.store import Header, create, open_artefact
from sppcli.artefacts.validity import checked_values
from sppcli.structures import Detections


@dataclass(frozen=True)
class DetectionsFile:
    """Detections with the images they were looked for in: ``paths`` relative to ``root``, ``sizes`` height, width."""

    path: Path
    header: Header
    detections: Detections
    paths: tuple[str, ...]
    sizes: npt.NDArray[np.int64]

    @property
    def root(self) -> Path:
        return Path(self.header.source["root"])


def read_detections(path: Path) -> DetectionsFile:
    with open_artefact(path, "detections") as artefact:
        of = checked_values(artefact)
        found = Detections(*(of[name] for name in ("image_ids", "classes", "image", "label", "boxes", "scores")))
        return DetectionsFile(path, artefact.header, found, of["paths"], of["sizes"])


def count_detections(path: Path, known: DetectionsFile | None = None) -> int:
    """How many detections the file holds; ``known``: what it holds, if it has been read."""
    if known:
        return len(known.detections.scores)
    with open_artefact(path, "detections") as artefact:
        return artefact.shape("scores")[0]


def write_detections(
    path: Path, header: Header, found: Detections, paths: tuple[str, ...], sizes: npt.NDArray[np.int64]
) -> None:
    with create(path, header) as writer:
        writer.strings("image_ids", found.image_ids)
        writer.strings("paths", paths)
        writer.array("sizes", np.asarray(sizes, dtype=np.int64).reshape(-1, 2))
        writer.strings("classes", found.classes)
        writer.array("image", found.image)
        writer.array("label", found.label)
        writer.array("boxes", found.boxes)
        writer.array("scores", found.scores)
