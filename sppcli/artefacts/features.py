"""features.h5: the conv maps of every image at every scale, or R-CNN's features of every region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.images import ImageTable
from sppcli.artefacts.proposals import Proposals
from sppcli.artefacts.store import Artefact, Header, described, open_artefact
from sppcli.artefacts.validity import checked_halves, checked_regions, checked_values
from sppcli.artefacts.writing import Writer
from sppcli.errors import BadArtefact, StaleArtefact
from sppcli.structures import Boxes, FloatArray


@dataclass(frozen=True)
class NetworkRecord:
    """What later stages need to know of the network that made the maps.

    ``digest``: SHA-256 of the trunk. ``stride`` and ``centre``: pixels of the scaled image. ``input_size``: side in
    pixels of its training input; ``input_cells``: side of its map there. ``pyramid``: the levels it was
    trained with, () if it was trained without a pyramid.
    """

    backbone: str
    cut: str
    digest: str
    stride: float
    centre: float
    channels: int
    input_size: int
    input_cells: int
    pyramid: tuple[int, ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NetworkRecord:
        names = {"canonical": "input_size", "canonical_cells": "input_cells"}
        fields = {names.get(name, name): item for name, item in value.items()}
        return cls(**{**fields, "pyramid": tuple(value["pyramid"])})

    def to_json(self) -> dict[str, Any]:
        """The fields under the names that files have for them."""
        names = {"input_size": "canonical", "input_cells": "canonical_cells"}
        return {names.get(name, name): item for name, item in asdict(self).items()}


@dataclass(frozen=True)
class RcnnRecord:
    """How R-CNN's features were made: regions warped to ``side`` pixels with ``context`` around them, up to ``layer``.

    ``levels``: the pyramid over the warped region's map; ``head_digest``: SHA-256 of the fc layers, "" for pool5.
    """

    layer: str
    levels: tuple[int, ...]
    side: int
    context: int
    head_digest: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RcnnRecord:
        return cls(**{**value, "levels": tuple(value["levels"])})

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "levels": list(self.levels)}


def map_name(scale: int, index: int, mirrored: bool = False) -> str:
    return f"{'mirrored' if mirrored else 'maps'}/{scale}/{index:06d}"


def vectors_name(index: int) -> str:
    return f"windows/{index:06d}"


def boxes_name(index: int) -> str:
    return f"boxes/{index:06d}"


class ImageMaps:
    """Conv maps of one image; a map is read when it is first asked for, and held.

    ``size``: (height, width) of the image; ``map_sizes``: (height, width) of the map at each scale.
    """

    def __init__(
        self,
        artefact: Artefact,
        scales: tuple[int, ...],
        channels: int,
        index: int,
        size: tuple[int, int],
        mirrored: bool = False,
    ) -> None:
        self._artefact = artefact
        self._names = [map_name(scale, index, mirrored) for scale in scales]
        self.size = size
        for name in self._names:
            if name not in artefact:
                raise BadArtefact(f"{artefact.path}: {name} is missing; run spp extract --force")
            shape = artefact.shape(name)
            if len(shape) != 3 or shape[2] != channels or min(shape) < 1:
                raise BadArtefact(
                    f"{artefact.path}: {name} has the shape {shape}, not height, width and {channels} channels; "
                    "run spp extract --force"
                )
        self.map_sizes = [artefact.shape(name)[:2] for name in self._names]
        self._held: dict[int, npt.NDArray[np.float16]] = {}

    def read(self, scale_index: int) -> npt.NDArray[np.float16]:
        """The map (h, w, channels), as it is stored.

        Raises:
            BadArtefact: a value that is no finite number.
        """
        if scale_index not in self._held:
            self._held[scale_index] = checked_halves(self._artefact, self._names[scale_index])
        return self._held[scale_index]


class ImageVectors:
    """R-CNN's features of one image's regions (objects and proposals), found by their boxes.

    ``size``: (height, width) of the image.
    """

    def __init__(self, artefact: Artefact, image_id: str, index: int, size: tuple[int, int]) -> None:
        self._artefact = artefact
        self._image_id = image_id
        self._index = index
        self.size = size
        for name in (vectors_name(index), boxes_name(index)):
            if name not in artefact:
                raise BadArtefact(f"{artefact.path}: {name} is missing; run spp extract --force")
        vectors, boxes = (artefact.shape(name(index)) for name in (vectors_name, boxes_name))
        if len(vectors) != 2 or boxes != (vectors[0], 4):
            raise BadArtefact(
                f"{artefact.path}: {vectors_name(index)} has the shape {vectors} and its boxes {boxes}; "
                "run spp extract --force"
            )

    def of(self, boxes: npt.NDArray[np.floating]) -> FloatArray:
        """Features (N, D) float32 of regions (N, 4).

        Raises:
            StaleArtefact: a region was no object or proposal when the features were made.
        """
        rows = [self._rows.get(key, -1) for key in _keys(boxes)]
        absent = rows.count(-1)
        if absent:
            raise StaleArtefact(
                f"{self._artefact.path} has no features of {absent} of the regions asked for in {self._image_id}: its "
                "annotations have changed since; run spp extract --method rcnn again"
            )
        return self._vectors[rows].astype(np.float32)

    @cached_property
    def _rows(self) -> dict[bytes, int]:
        boxes = checked_regions(self._artefact, boxes_name(self._index))
        return {key: row for row, key in enumerate(_keys(boxes))}

    @cached_property
    def _vectors(self) -> npt.NDArray[np.float16]:
        return checked_halves(self._artefact, vectors_name(self._index))


def _keys(boxes: npt.NDArray[np.floating]) -> list[bytes]:
    # Adding 0 makes -0 a 0, which has other bits.
    return [row.tobytes() for row in np.ascontiguousarray(boxes, dtype=np.float32) + np.float32(0)]


class Features:
    """An open features file: conv maps, or with ``rcnn`` R-CNN's features of regions."""

    def __init__(self, artefact: Artefact) -> None:
        self.path = artefact.path
        self.header: Header = artefact.header
        self.fingerprint = artefact.fingerprint
        self.images = ImageTable.of(checked_values(artefact))
        with described(artefact):
            self.scales: tuple[int, ...] = tuple(self.header.config["scales"])
            self.network = NetworkRecord.from_json(self.header.config["network"])
            rcnn = self.header.config.get("crops")
            self.rcnn = RcnnRecord.from_json(rcnn) if rcnn else None
        self._artefact = artefact

    @property
    def root(self) -> Path:
        return Path(self.header.source["root"])

    @property
    def mirrored(self) -> bool:
        """Whether the maps of the mirror images are here too."""
        return bool(self.header.config.get("flip", False))

    def maps(self, index: int, mirrored: bool = False) -> ImageMaps:
        height, width = self.images.sizes[index]
        return ImageMaps(self._artefact, self.scales, self.network.channels, index, (int(height), int(width)), mirrored)

    def vectors(self, index: int) -> ImageVectors:
        height, width = self.images.sizes[index]
        return ImageVectors(self._artefact, self.images.ids[index], index, (int(height), int(width)))

    def boxes(self, index: int) -> Boxes:
        """Regions (N, 4) of image ``index`` that have R-CNN's features."""
        return checked_regions(self._artefact, boxes_name(index))

    def check_shards(self) -> None:
        """See `Linking.check_shards`."""
        self._artefact.check_shards()

    def copy(self, writer: Writer, source: str, target: str) -> None:
        """Copy what is stored of an image into another file, as it is."""
        writer.copy_from(self._artefact, source, target)

    def check_proposals(self, proposals: Proposals) -> None:
        """Refuse regions that are not the ones these maps were made for.

        Raises:
            StaleArtefact: says which files, and what to run.
        """
        if self.header.inputs["proposals"] != proposals.fingerprint:
            raise StaleArtefact(
                f"{self.path} was made from other proposals than {proposals.path} "
                f"({self.header.inputs['proposals'][:8]}, not {proposals.fingerprint[:8]}); run spp extract again"
            )


@contextmanager
def open_features(path: Path, lazily: bool = False) -> Iterator[Features]:
    """``lazily``: see `reading.open_checked`."""
    with open_artefact(path, "features", lazily) as artefact:
        yield Features(artefact)
