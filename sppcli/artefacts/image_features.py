"""image-features.h5: one vector per whole image, with the classes that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.images import ImageTable
from sppcli.artefacts.store import Header, create, open_artefact
from sppcli.artefacts.validity import checked_values
from sppcli.structures import BoolArray, FloatArray


@dataclass(frozen=True)
class ImageFeatures:
    """All of the file.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | vectors | (N, D) | float32 | one row per image |
    | labels | (N, K) | int8 | 1 present, -1 absent, 0 only difficult or not known |
    | in_split | (N, S) | bool | membership in each of ``splits`` |
    """

    path: Path
    header: Header
    images: ImageTable
    vectors: FloatArray
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int8]
    splits: tuple[str, ...]
    in_split: BoolArray

    @property
    def kind(self) -> str:
        """Of the data set: voc, class folders, folder or files."""
        return str(self.header.source["kind"])


def read_image_features(path: Path) -> ImageFeatures:
    with open_artefact(path, "image-features") as artefact:
        found = checked_values(artefact)
        rest = (found[name] for name in ("vectors", "classes", "labels", "split_names", "in_split"))
        return ImageFeatures(path, artefact.header, ImageTable.of(found), *rest)


def write_image_features(file: ImageFeatures) -> None:
    """Write all of ``file`` to its ``path``."""
    with create(file.path, file.header) as writer:
        file.images.write(writer)
        writer.array("vectors", file.vectors)
        writer.strings("classes", file.classes)
        writer.array("labels", file.labels)
        writer.strings("split_names", file.splits)
        writer.array("in_split", file.in_split)
