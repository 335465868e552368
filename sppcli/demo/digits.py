"""What the demonstration is made of: scikit-learn's scanned handwritten digits and its two photographs.

Both are installed with scikit-learn, so that `spp demo` needs no network. Source of the digits: Alpaydin and Kaynak,
"Optical Recognition of Handwritten Digits", UCI machine learning repository (its test set, 13 writers).

Everything is divided once, here, and the division depends on no seed:

- Of the digits, counted in scikit-learn's order, those that leave 2 or 5 when divided by 7 appear in held-out scenes
  only; the others are for training (of the network, and of the scenes in train and val). Neighbours in that order are
  often by one hand, so held-out means other digits, not other hands.
- Of each photograph, training sees the left half and held-out scenes the right half.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from sklearn.datasets import load_digits, load_sample_images

from sppcli.structures import ByteImage, FloatArray, IntArray

# 7 has nothing in common with 10, the period in which the digits were written.
_PERIOD, _HELD_OUT = 7, (2, 5)


class Part(Enum):
    """Which side of the division."""

    TRAINING = "training"
    HELD_OUT = "held-out"


@dataclass(frozen=True)
class Digits:
    """Scanned digits.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | images | (N, 8, 8) | float32 | ink from 0 (paper) to 1 |
    | labels | (N,) | int64 | 0 to 9 |
    | indices | (N,) | int64 | position in scikit-learn's 1,797, ascending |
    """

    images: FloatArray
    labels: IntArray
    indices: IntArray

    def __len__(self) -> int:
        return len(self.labels)


def digits(part: Part) -> Digits:
    """The digits of one part: 1,284 for training, 513 held out."""
    bunch = load_digits()
    indices = np.arange(len(bunch.target), dtype=np.int64)
    held_out = np.isin(indices % _PERIOD, _HELD_OUT)
    chosen = indices[held_out if part is Part.HELD_OUT else ~held_out]
    images: FloatArray = (bunch.images[chosen] / 16).astype(np.float32)
    return Digits(images, bunch.target[chosen].astype(np.int64), chosen)


def photographs(part: Part) -> tuple[ByteImage, ...]:
    """One half of each photograph (china.jpg, flower.jpg): two arrays (427, 320, 3), uint8, RGB."""
    halves = []
    for image in load_sample_images().images:
        middle = image.shape[1] // 2
        half = image[:, :middle] if part is Part.TRAINING else image[:, middle:]
        halves.append(np.ascontiguousarray(half, dtype=np.uint8))
    return tuple(halves)
