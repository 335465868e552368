"""Crops to train the demonstration's network on: digits and background, painted over photographs as in the scenes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sppcli.demo import ink
from sppcli.demo.digits import Digits, Part, digits, photographs
from sppcli.demo.scenes import LEAST_CONTRAST, NAMES, add_clutter, inked_digit
from sppcli.learn.loading import InMemory
from sppcli.structures import ByteImage, FloatArray

# Side of a crop: 64 to 56 as 256 to 224, so that a random cut of the trained size jitters as the paper's do.
SIDE = 64

# Geometric mean of a digit's width and height, in pixels: what windows have at the scale nearest the input size.
# Long digits are limited to most of the crop: a one that is cut at both ends cannot be told from a stroke.
_SMALLEST, _LARGEST, _LONGEST = 36, 58, 60

# Crops of the background for each one of a digit.
_BACKGROUND = 0.5


def crops(part: Part, each: int, seed: int, step: Callable[[], None] = lambda: None) -> InMemory:
    """Crops of every digit of ``part``, ``each`` times, and half as many of the background.

    Each time another place, ink and piece of photograph; the same arguments give the same crops. ``step`` is called
    ``each`` times.

    Returns:
        Images (N, 64, 64, 3) uint8; labels 0 to 9, and 10 for the background, after the digits of each round.
    """
    source, photos = digits(part), photographs(part)
    rng = np.random.default_rng([seed, *part.value.encode()])
    images: list[ByteImage] = []
    labels: list[int] = []
    for _ in range(each):
        for index in range(len(source)):
            images.append(_digit(source, index, photos[int(rng.integers(len(photos)))], rng))
            labels.append(int(source.labels[index]))
        for _ in range(round(_BACKGROUND * len(source))):
            images.append(_background(source, photos[int(rng.integers(len(photos)))], rng))
            labels.append(len(NAMES))
        step()
    return InMemory(np.stack(images), np.array(labels, dtype=np.int64))


def _ground(photo: ByteImage, rng: np.random.Generator) -> FloatArray:
    """A square of a photograph, as large as it stands in a scene that detection has shrunk or enlarged."""
    cut = round(float(np.exp(rng.uniform(np.log(SIDE / 4), np.log(SIDE * 1.6)))))
    y = int(rng.integers(0, photo.shape[0] - cut + 1))
    x = int(rng.integers(0, photo.shape[1] - cut + 1))
    return ink.background(photo[y : y + cut, x : x + cut], SIDE, SIDE, rng)


def _digit(source: Digits, index: int, photo: ByteImage, rng: np.random.Generator) -> ByteImage:
    """A whole digit near the middle, at times over clutter."""
    image = _ground(photo, rng)
    if rng.random() < 0.3:
        add_clutter(image, source, int(rng.integers(16, 60)), rng)
    x0, y0, x1, y1 = ink.ink_bounds(source.images[index] >= 0.5)
    mean = float(rng.uniform(_SMALLEST, _LARGEST))
    height = round(min(mean * np.sqrt((y1 - y0) / (x1 - x0)), _LONGEST))
    coverage = inked_digit(source.images[index], height, rng)
    x = round((SIDE - coverage.shape[1]) / 2 + rng.normal(0, 2.5))
    y = round((SIDE - coverage.shape[0]) / 2 + rng.normal(0, 2.5))
    under = image[max(0, y) : max(0, y) + coverage.shape[0], max(0, x) : max(0, x) + coverage.shape[1]]
    return _finished(image, coverage, x, y, under, rng)


def _background(source: Digits, photo: ByteImage, rng: np.random.Generator) -> ByteImage:
    """A photograph, up to two pieces of clutter, and often part of a digit that the border cuts off."""
    image = _ground(photo, rng)
    for _ in range(int(rng.integers(0, 3))):
        add_clutter(image, source, int(rng.integers(16, 60)), rng)
    if rng.random() < 0.7:
        # As windows that are off the mark show it: from a stretch of one stroke to half of it.
        index = int(rng.integers(len(source)))
        height = int(rng.integers(40, 160))
        coverage = inked_digit(source.images[index], height, rng)
        angle = float(rng.uniform(0, 2 * np.pi))
        reach = 0.42 * (SIDE + min(0, height - SIDE)) * float(rng.uniform(0.9, 1.4))
        x = round(SIDE / 2 + reach * np.cos(angle) - coverage.shape[1] / 2)
        y = round(SIDE / 2 + reach * np.sin(angle) - coverage.shape[0] / 2)
        return _finished(image, coverage, x, y, image, rng)
    return ink.grain(image, float(rng.uniform(0, 1.6)), float(rng.uniform(1, 7)), rng)


def _finished(
    image: FloatArray, coverage: FloatArray, x: int, y: int, under: FloatArray, rng: np.random.Generator
) -> ByteImage:
    colour = ink.contrasting_colour(under, LEAST_CONTRAST, rng)
    ink.paint(image, coverage, x, y, colour, float(rng.uniform(0.6, 1.0)))
    return ink.grain(image, float(rng.uniform(0, 1.6)), float(rng.uniform(1, 7)), rng)
