"""How large a data set is, as far as that decides how long stages take: counts, and sizes of a sample of the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from sppcli.datasets import open_dataset
from sppcli.datasets.look import look
from sppcli.datasets.roles import TEST_SHARE, VAL_SHARE
from sppcli.errors import SppError

SAMPLE = 32


@dataclass(frozen=True)
class DataSize:
    """``images``, and how many of them there are in a split; ``width`` and ``height`` are means, in pixels."""

    images: int
    splits: dict[str, int]
    classes: int
    width: float
    height: float

    def of_split(self, name: str) -> int:
        return self.splits.get(name, self.images)

    @property
    def megapixels(self) -> float:
        """Of an image as it is."""
        return self.width * self.height / 1e6

    def megapixels_at(self, side: float) -> float:
        """Of an image whose shorter side is resized to ``side`` pixels."""
        short, long = sorted((self.width, self.height))
        return side * side * long / short / 1e6


def look_at(folder: Path) -> DataSize:
    """Read what there is in ``folder``; of the images' sizes, some.

    Raises:
        MissingInput, BadInput: no data set, or none of the images looked at can be read.
    """
    dataset = open_dataset([folder])
    count = len(dataset.images)
    rows = sorted({round(i * (count - 1) / (SAMPLE - 1)) for i in range(SAMPLE)}) if count else []
    sizes = [size for row in rows if (size := look(dataset.images[row].path, pixels=False).size)]
    width, height = (mean(column) for column in zip(*sizes, strict=True)) if sizes else (640.0, 480.0)
    if dataset.has_roles():
        splits = {}
        for name in ("train", "val", "trainval", "test"):
            try:
                splits[name] = len(dataset.split(name))
            except SppError:
                continue
    else:
        shares = {"train": 1 - TEST_SHARE - VAL_SHARE, "val": VAL_SHARE, "trainval": 1 - TEST_SHARE, "test": TEST_SHARE}
        splits = {name: round(share * count) for name, share in shares.items()}
    return DataSize(count, splits, max(1, len(dataset.classes)), width, height)
