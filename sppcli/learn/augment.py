"""What training does to an image before the network sees it (paper, "Training the classifier"; Krizhevsky et al. 2012).

Draws are made for a whole batch from one generator, so that they depend on the batch's number alone and not on which
thread or process works on which row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sppcli.images import Normalisation
from sppcli.structures import ByteImage

COLOURS = ("pca", "jitter", "none")
CROPS = ("random", "corners")

# Share of the room at which a crop is in the middle, and above it rather than below where the room is odd.
CENTRE = 0.5 - 1e-6

# Principal components of the colours of ImageNet's pixels, RGB as shares of 1: deviations and directions (columns).
_DEVIATIONS = np.array([0.2175, 0.0188, 0.0045])
_DIRECTIONS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


@dataclass(frozen=True)
class Draws:
    """The random choices for a batch of B images.

    | field | shape | meaning |
    |---|---|---|
    | at | (B, 2) | where the crop lies, y and x as shares of the room there is |
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
    """Choices for ``count`` images.

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
    """No choice at all: the centre crop as it is."""
    one, zero = np.ones((count, 3), dtype=np.float32), np.zeros((count, 3), dtype=np.float32)
    return Draws(np.full((count, 2), CENTRE), np.zeros(count, dtype=np.bool_), one, zero)


def crops(images: Sequence[ByteImage], side: int, draws: Draws) -> ByteImage:
    """A square of ``side`` pixels from each (H, W, 3) image: (B, side, side, 3).

    Raises:
        ValueError: an image smaller than the crop.
    """
    out = np.empty((len(images), side, side, 3), dtype=np.uint8)
    for row, image in enumerate(images):
        room = image.shape[0] - side, image.shape[1] - side
        if min(room) < 0:
            raise ValueError(f"an image of {image.shape[1]}x{image.shape[0]} pixels is smaller than the crop of {side}")
        # A share of 1 is the last place; the others are equally likely.
        y, x = (min(int(share * (space + 1)), space) for share, space in zip(draws.at[row], room, strict=True))
        cut = image[y : y + side, x : x + side]
        out[row] = cut[:, ::-1] if draws.flipped[row] else cut
    return out


def to_input(
    images: torch.Tensor,
    size: int,
    normalisation: Normalisation,
    gain: torch.Tensor | None = None,
    lift: torch.Tensor | None = None,
) -> torch.Tensor:
    """What the network reads: (B, S, S, 3) uint8, altered, normalised and resized (bilinear, antialiased) to ``size``.

    Runs where ``images`` is. Returns (B, 3, size, size) float32, channels last in memory.
    """
    value = images.permute(0, 3, 1, 2).float()
    if gain is not None and lift is not None:
        value = (value * gain[:, :, None, None] + lift[:, :, None, None]).clamp_(0, 255)
    if images.shape[1] != size or images.shape[2] != size:
        value = nn.functional.interpolate(value, (size, size), mode="bilinear", antialias=True)
    return normalised(value, normalisation)


def normalised(pixels: torch.Tensor, normalisation: Normalisation) -> torch.Tensor:
    """(B, 3, H, W) float32 RGB of 0..255 as the network reads it: `Normalisation.apply` on tensors of any device."""
    if normalisation.order == "bgr":
        pixels = pixels.flip(1)
    scale = torch.tensor([1 / (normalisation.divisor * s) for s in normalisation.std], device=pixels.device)
    shift = torch.tensor([m / s for m, s in zip(normalisation.mean, normalisation.std, strict=True)]).to(pixels.device)
    value = pixels * scale[:, None, None] - shift[:, None, None]
    return value.contiguous(memory_format=torch.channels_last)
