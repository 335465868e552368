"""features.h5: the conv maps of every image at every scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sppcli.artefacts.images import ImageTable
from sppcli.artefacts.proposals import Proposals
from sppcli.artefacts.store import Artefact, Header, Writer, described, open_artefact
from sppcli.errors import BadArtefact, StaleArtefact
from sppcli.structures import FloatArray


@dataclass(frozen=True)
class NetworkRecord:
    """What later stages must know of the network that made the maps.

    ``digest``: SHA-256 of the trunk. ``stride`` and ``centre``: pixels of the scaled image. ``canonical``: side in
    pixels of its training input; ``canonical_cells``: side of its map there. ``pyramid``: the levels it was
    trained with, () if it was trained without a pyramid.
    """

    backbone: str
    cut: str
    digest: str
    stride: float
    centre: float
    channels: int
    canonical: int
    canonical_cells: int
    pyramid: tuple[int, ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NetworkRecord:
        return cls(**{**value, "pyramid": tuple(value["pyramid"])})


def map_name(scale: int, index: int) -> str:
    return f"maps/{scale}/{index:06d}"


class ImageMaps:
    """Conv maps of one image; a map is read when it is asked for.

    ``size``: (height, width) of the image; ``map_sizes``: (height, width) of the map at each scale.
    """

    def __init__(self, artefact: Artefact, scales: tuple[int, ...], index: int, size: tuple[int, int]) -> None:
        self._artefact = artefact
        self._names = [map_name(scale, index) for scale in scales]
        self.size = size
        for name in self._names:
            if name not in artefact:
                raise BadArtefact(f"{artefact.path}: {name} is missing; run spp extract --force")
        self.map_sizes = [artefact.shape(name)[:2] for name in self._names]

    def read(self, scale_index: int) -> FloatArray:
        """The map (h, w, channels), float32."""
        return self._artefact.array(self._names[scale_index]).astype(np.float32)


class Features:
    """An open features file."""

    def __init__(self, artefact: Artefact) -> None:
        self.path = artefact.path
        self.header: Header = artefact.header
        self.fingerprint = artefact.fingerprint
        self.images = ImageTable.read(artefact)
        with described(artefact):
            self.scales: tuple[int, ...] = tuple(self.header.config["scales"])
            self.network = NetworkRecord.from_json(self.header.config["network"])
        self._artefact = artefact

    @property
    def root(self) -> Path:
        return Path(self.header.source["root"])

    def maps(self, index: int) -> ImageMaps:
        height, width = self.images.sizes[index]
        return ImageMaps(self._artefact, self.scales, index, (int(height), int(width)))

    def copy_map(self, writer: Writer, scale: int, index: int, target: str) -> None:
        """Copy the stored map of image ``index`` into another file, as it is."""
        writer.copy_from(self._artefact, map_name(scale, index), target)

    def check_proposals(self, proposals: Proposals) -> None:
        """Refuse windows that are not the ones these maps were made for.

        Raises:
            StaleArtefact: says which files, and what to run.
        """
        if self.header.inputs["proposals"] != proposals.fingerprint:
            raise StaleArtefact(
                f"{self.path} was made from other proposals than {proposals.path} "
                f"({self.header.inputs['proposals'][:8]}, not {proposals.fingerprint[:8]}); run spp extract again"
            )


@contextmanager
def open_features(path: Path) -> Iterator[Features]:
    with open_artefact(path, "features") as artefact:
        yield Features(artefact)
