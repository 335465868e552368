"""Data augmentation in training (paper, "Training the classifier"; Krizhevsky et al. 2012).

Random choices are made for a whole batch from one generator, so that they depend on the batch's number alone and not on
which thread or process works on which row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.images import CENTRE, crop_start
from sppcli.structures import ByteImage

COLOURS = ("pca", "jitter", "none")
CROPS = ("random", "corners")

# Principal components of the colours of ImageNet's pixels, RGB from 0 to 1: deviations and directions (columns).
_DEVIATIONS = np.array([0.2175, 0.0188, 0.0045])
_DIRECTIONS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


@dataclass(frozen=True)
class Draws:
    """The random choices for a batch of B images.

    | field | shape | meaning |
    |---|---|---|
    | at | (B, 2) | where the crop lies: y and x as shares of the room that it has |
    | flipped | (B,) | whether it is mirrored |
    | gain, lift | (B, 3) | a pixel v of 0..255 becomes v * gain + lift, by channel |
    """

    at: npt.NDArray[np.float64]
    flipped: npt.NDArray[np.bool_]
    gain: npt.NDArray[np.float32]
    lift: npt.NDArray[np.float32]


def draw(
    count: int,
    rng: np.random.Generator,
    *,
    crop: str = "random",
    flip: bool = True,
    colour: str = "pca",
    strength: float = 0.1,
) -> Draws:
    """Draw the random choices for ``count`` images.

    ``crop``: anywhere, or one of the four corners or the centre. ``colour``: pca adds a random multiple of each
    principal component, its deviation ``strength`` (Krizhevsky et al.); jitter scales and lifts each channel by a
    normal deviate of ``strength``.
    """
    if crop == "corners":
        places = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [CENTRE, CENTRE]])
        at = places[rng.integers(0, 5, size=count)]
    else:
        at = rng.random((count, 2))
    flipped = rng.random(count) < 0.5 if flip else np.zeros(count, dtype=np.bool_)
    gain, lift = np.ones((count, 3)), np.zeros((count, 3))
    if colour == "pca":
        lift = 255 * (rng.normal(0, strength, size=(count, 3)) * _DEVIATIONS) @ _DIRECTIONS.T
    elif colour == "jitter":
        gain = rng.normal(1, strength, size=(count, 3))
        lift = rng.normal(0, 255 * strength, size=(count, 3))
    return Draws(at, flipped, gain.astype(np.float32), lift.astype(np.float32))


def centred(count: int) -> Draws:
    """Choose nothing at random: centre crops, not mirrored, with unaltered colours."""
    one, zero = np.ones((count, 3), dtype=np.float32), np.zeros((count, 3), dtype=np.float32)
    return Draws(np.full((count, 2), CENTRE), np.zeros(count, dtype=np.bool_), one, zero)


def crops(images: Sequence[ByteImage], side: int, draws: Draws) -> ByteImage:
    """Crop a square of ``side`` pixels from each (H, W, 3) image: (B, side, side, 3).

    Raises:
        ValueError: an image smaller than the crop.
    """
    out = np.empty((len(images), side, side, 3), dtype=np.uint8)
    for row, image in enumerate(images):
        room = image.shape[0] - side, image.shape[1] - side
        if min(room) < 0:
            raise ValueError(f"an image of {image.shape[1]}x{image.shape[0]} pixels is smaller than the crop of {side}")
        y, x = (crop_start(share, space) for share, space in zip(draws.at[row], room, strict=True))
        cut = image[y : y + side, x : x + side]
        out[row] = cut[:, ::-1] if draws.flipped[row] else cut
    return out


def colour_jittered(image: ByteImage, rng: np.random.Generator, strength: float) -> ByteImage:
    """``image`` (H, W, 3) with brightness, contrast and saturation each multiplied by 1 - strength to 1 + strength."""
    if not strength:
        return image
    bright, contrast, colour = rng.uniform(1 - strength, 1 + strength, 3).astype(np.float32)
    value = image.astype(np.float32)
    grey = value @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    # In one go: towards grey, then towards the mean grey, then darker or brighter.
    value *= colour * contrast * bright
    value += ((1 - colour) * contrast * bright * grey + (1 - contrast) * bright * grey.mean())[:, :, None]
    return np.clip(value, 0, 255).astype(np.uint8)
