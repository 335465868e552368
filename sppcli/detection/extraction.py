"""Computes each image's part of features.h5: SPP-net's conv maps, or R-CNN's features of its regions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.features import Features, RcnnRecord, boxes_name, map_name, vectors_name
from sppcli.artefacts.proposals import Proposals
from sppcli.datasets.base import Dataset
from sppcli.errors import MissingInput
from sppcli.features.conv_maps import Extractor
from sppcli.features.rcnn import RcnnReader
from sppcli.structures import Boxes, ByteImage, as_boxes

Arrays = Mapping[str, npt.NDArray[Any]]


class Extraction(Protocol):
    """``settings``: what decides an image's arrays besides network and precision; ``inputs``: besides the proposals.

    ``together``: how many images of one size `compute` takes at most.
    """

    settings: dict[str, Any]
    inputs: dict[str, str]
    together: int

    def keys(self) -> tuple[str, ...]:
        """A key for each image of the proposals: images with equal keys have equal arrays."""

    def keys_in(self, features: Features) -> tuple[str, ...]:
        """The keys of the images in an earlier file with the same settings."""

    def names(self, index: int) -> dict[str, str]:
        """Name of each array of an image -> its name in the file, where the image has row ``index``."""

    def plain_bytes(self, row: int) -> int:
        """About how many bytes the arrays of the image ``row`` are before they are compressed."""

    def compute(self, rows: Sequence[int], images: Sequence[ByteImage]) -> list[Arrays]:
        """The arrays of each image, by their names; ``rows``: theirs in the proposals.

        Raises:
            BadInput: an activation beyond what float16 holds.
        """


class MapExtraction:
    """Conv maps of the whole image at each of ``scales``, and with ``flip`` those of its mirror image.

    ``batch``: images that go through the network at once.
    """

    def __init__(
        self,
        proposals: Proposals,
        extractor: Extractor,
        scales: tuple[int, ...],
        flip: bool = False,
        batch: int = 1,
    ) -> None:
        self._images = proposals.images
        self._extractor = extractor
        self._scales = scales
        self._sides = (False, True) if flip else (False,)
        self.settings: dict[str, Any] = {"scales": list(scales), **({"flip": True} if flip else {})}
        self.inputs: dict[str, str] = {}
        self.together = batch

    def keys(self) -> tuple[str, ...]:
        return self._images.digests

    def keys_in(self, features: Features) -> tuple[str, ...]:
        return features.images.digests

    def names(self, index: int) -> dict[str, str]:
        return {
            map_name(scale, 0, mirrored): map_name(scale, index, mirrored)
            for mirrored in self._sides
            for scale in self._scales
        }

    def plain_bytes(self, row: int) -> int:
        height, width = (int(side) for side in self._images.sizes[row])
        network = self._extractor.network
        cells = sum(height * width * (scale / min(height, width) / network.grid.stride) ** 2 for scale in self._scales)
        return int(2 * len(self._sides) * cells * network.channels)

    def compute(self, rows: Sequence[int], images: Sequence[ByteImage]) -> list[Arrays]:
        names = [self._images.paths[row] for row in rows]
        found: list[dict[str, npt.NDArray[Any]]] = [{} for _ in rows]
        for mirrored in self._sides:
            seen = [image[:, ::-1] if mirrored else image for image in images]
            for scale, maps in zip(self._scales, self._extractor.batch(seen, self._scales, names), strict=True):
                for arrays, values in zip(found, maps, strict=True):
                    arrays[map_name(scale, 0, mirrored)] = values
        return list(found)


class WindowExtraction:
    """R-CNN's features of the image's regions: its objects, which training asks for, and its proposals.

    Regions fill the network's batches, so that images come one by one.
    """

    together = 1

    def __init__(self, proposals: Proposals, dataset: Dataset, reader: RcnnReader, record: RcnnRecord) -> None:
        self._proposals = proposals
        self._reader = reader
        self._objects = [_objects(dataset, image_id) for image_id in proposals.images.ids]
        self.settings: dict[str, Any] = {"scales": [], "crops": record.to_json()}
        joined = hashlib.sha256(b"".join(boxes.tobytes() for boxes in self._objects))
        joined.update(str([len(boxes) for boxes in self._objects]).encode())
        self.inputs = {"objects": joined.hexdigest()}

    def keys(self) -> tuple[str, ...]:
        images, read = self._proposals.images, self._proposals.rows
        # Those of other shards are looked up by nobody.
        return tuple(
            _key(digest, self._boxes(row)) if read is None or row in read else f"elsewhere {images.ids[row]}"
            for row, digest in enumerate(images.digests)
        )

    def keys_in(self, features: Features) -> tuple[str, ...]:
        return tuple(_key(digest, features.boxes(i)) for i, digest in enumerate(features.images.digests))

    def names(self, index: int) -> dict[str, str]:
        return {"windows": vectors_name(index), "boxes": boxes_name(index)}

    def plain_bytes(self, row: int) -> int:
        return len(self._boxes(row)) * (2 * self._reader.dimensions + 16)

    def compute(self, rows: Sequence[int], images: Sequence[ByteImage]) -> list[Arrays]:
        found: list[Arrays] = []
        for row, image in zip(rows, images, strict=True):
            boxes = self._boxes(row)
            found.append({"windows": self._reader(image, boxes, self._proposals.images.paths[row]), "boxes": boxes})
        return found

    def _boxes(self, row: int) -> Boxes:
        return np.concatenate([self._objects[row], self._proposals.of(row)])


def _objects(dataset: Dataset, image_id: str) -> Boxes:
    """Boxes (N, 4) of the image's objects; none where it has no annotation."""
    try:
        return dataset.annotations(image_id).boxes if dataset.has_annotations else as_boxes([])
    except MissingInput:
        return as_boxes([])


def _key(digest: str, boxes: Boxes) -> str:
    return hashlib.sha256(digest.encode() + np.ascontiguousarray(boxes).tobytes()).hexdigest()
