"""The table of images that proposals and features share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.store import digest_of
from sppcli.artefacts.validity import Values
from sppcli.artefacts.writing import Writer
from sppcli.structures import Skipped


def images_fingerprint(images: Iterable[tuple[str, str, str]]) -> str:
    """Digest of the ids, paths and digests of images, in order of id."""
    return digest_of([list(row) for row in images])


@dataclass(frozen=True)
class ImageTable:
    """One row per image, in order of id.

    ``paths`` relative to the source's root; ``digests`` SHA-256 of the files; ``sizes`` (N, 2) int64 height, width.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    sizes: npt.NDArray[np.int64]
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each id."""
        return {image_id: row for row, image_id in enumerate(self.ids)}

    def absolute(self, root: Path, index: int) -> Path:
        return root / self.paths[index]

    @classmethod
    def of(cls, found: Values) -> ImageTable:
        """Of what `validity.checked_values` read."""
        names, reasons = found["skipped_names"], found["skipped_reasons"]
        return cls(
            found["image_ids"],
            found["paths"],
            found["digests"],
            found["sizes"],
            tuple(Skipped(name, reason) for name, reason in zip(names, reasons, strict=True)),
        )

    def write(self, writer: Writer) -> None:
        writer.strings("image_ids", self.ids)
        writer.strings("paths", self.paths)
        writer.strings("digests", self.digests)
        writer.array("sizes", np.asarray(self.sizes, dtype=np.int64).reshape(-1, 2))
        writer.strings("skipped_names", [item.name for item in self.skipped])
        writer.strings("skipped_reasons", [item.reason for item in self.skipped])
