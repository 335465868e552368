"""A small detection data set in VOC's layout: handwritten digits inked over photographs, among clutter.

Scenes are 320 x 240. A digit's ink is 24 to 96 pixels high (a range of 4), drawn evenly over the logarithm; its box is
the tight box of its ink. Around the digits lie strokes, shapes and scrambled digits, none of them annotated. Digits
that are faint or that another one crosses are marked ``difficult``, as VOC does with objects it does not score.

Held-out scenes (``test``) share neither a digit nor a region of a photograph with ``train`` and ``val``: see
`learn.digits`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
from PIL import Image

from sppcli.demo import ink
from sppcli.demo.digits import Digits, Part, digits, photographs
from sppcli.runtime.files import naming
from sppcli.structures import ByteImage, FloatArray

WIDTH, HEIGHT = 320, 240
SMALLEST, LARGEST = 24, 96
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# Two boxes may share this part of the smaller one; digits that share more of it are both marked difficult.
TOUCHING, CROSSING = 0.05, 0.3
LEAST_CONTRAST = 90.0
_FAINT, _CROSSED = 0.06, 0.05


@dataclass(frozen=True)
class Thing:
    """One digit of a scene.

    ``box``: x0 y0 x1 y1, 0-based, half-open, pixels; ``source``: its position among scikit-learn's digits.
    """

    name: str
    box: tuple[int, int, int, int]
    difficult: bool
    source: int


@dataclass(frozen=True)
class Scene:
    """A finished scene: ``image`` (240, 320, 3) uint8 RGB, ``things`` from back to front.

    ``owner`` (240, 320) int16: which thing's ink covers a pixel by at least half, -1 where none does.
    """

    image: ByteImage
    things: tuple[Thing, ...]
    owner: npt.NDArray[np.int16]


@dataclass(frozen=True)
class Split:
    """``count`` scenes of the ``part`` of the digits and photographs, listed as ``name``."""

    name: str
    part: Part
    count: int


def splits_of(scenes: int) -> tuple[Split, ...]:
    """Of the ``scenes`` three eighths for train, three eighths for val, and the rest, a quarter, for test."""
    train = 3 * scenes // 8
    return (
        Split("train", Part.TRAINING, train),
        Split("val", Part.TRAINING, train),
        Split("test", Part.HELD_OUT, scenes - 2 * train),
    )


def compose_scene(source: Digits, photos: Sequence[ByteImage], rng: np.random.Generator) -> Scene:
    """One scene of 5 to 9 digits, or fewer if they find no room; the same generator state gives the same scene."""
    image = ink.background(photos[int(rng.integers(len(photos)))], WIDTH, HEIGHT, rng)
    for _ in range(int(rng.integers(1, 6))):
        add_clutter(image, source, _height(rng), rng)
    owner = np.full((HEIGHT, WIDTH), -1, dtype=np.int16)
    things: list[Thing] = []
    for _ in range(int(rng.integers(5, 10))):
        _add_digit(image, owner, things, source, rng)
    finished = ink.grain(image, float(rng.uniform(0, 0.7)), float(rng.uniform(2, 6)), rng)
    return Scene(finished, tuple(things), owner)


def compose(root: Path, scenes: int, seed: int, step: Callable[[], None] = lambda: None) -> None:
    """Write ``scenes`` scenes as a VOC data set at ``root``: there in full afterwards, or not at all.

    JPEGImages/<id>.jpg, Annotations/<id>.xml (1-based inclusive corners, as VOC has them), ImageSets/Main with train,
    val, trainval and test. ``step`` is called after each scene. The same seed and number give the same files.
    """
    temporary = root.with_name(f".{root.name}.tmp")
    if temporary.exists():
        shutil.rmtree(temporary)
    with naming(root, temporary):
        _compose(temporary, scenes, seed, step)
        temporary.replace(root)


def _compose(temporary: Path, scenes: int, seed: int, step: Callable[[], None]) -> None:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (temporary / folder).mkdir(parents=True)
    lists: dict[str, list[str]] = {"trainval": []}
    number = 0
    for split in splits_of(scenes):
        source, photos = digits(split.part), photographs(split.part)
        lists[split.name] = []
        for _ in range(split.count):
            number += 1
            name = f"{number:06d}"
            scene = compose_scene(source, photos, np.random.default_rng([seed, number]))
            Image.fromarray(scene.image).save(temporary / "JPEGImages" / f"{name}.jpg", quality=92)
            (temporary / "Annotations" / f"{name}.xml").write_text(_annotation(name, scene.things), encoding="utf-8")
            lists[split.name].append(name)
            if split.part is Part.TRAINING:
                lists["trainval"].append(name)
            step()
    for name, members in lists.items():
        text = "".join(f"{member}\n" for member in members)
        (temporary / "ImageSets" / "Main" / f"{name}.txt").write_text(text, encoding="utf-8")


def add_clutter(image: FloatArray, source: Digits, size: int, rng: np.random.Generator) -> None:
    """Paint one thing that is no digit on ``image``, in place: ``size`` pixels large, perhaps cut by the border."""
    kind = rng.integers(3)
    if kind == 0:
        coverage = ink.clutter_stroke(size, rng)
    elif kind == 1:
        coverage = ink.clutter_shape(size, rng)
    else:
        # Not of ones: the pieces of a one look like a one.
        candidates = np.flatnonzero(source.labels != 1)
        coverage = ink.clutter_glyph(source.images[int(rng.choice(candidates))], size, rng)
    height, width = image.shape[:2]
    x = int(rng.integers(-(size // 3), width - size // 2))
    y = int(rng.integers(-(size // 3), height - size // 2))
    under = image[max(0, y) : y + size, max(0, x) : x + size]
    colour = ink.contrasting_colour(under, LEAST_CONTRAST / 2, rng)
    ink.paint(image, coverage, x, y, colour, float(rng.uniform(0.5, 1.0)))


def _add_digit(
    image: FloatArray,
    owner: npt.NDArray[np.int16],
    things: list[Thing],
    source: Digits,
    rng: np.random.Generator,
) -> None:
    index = int(rng.integers(len(source)))
    coverage = inked_digit(source.images[index], _height(rng), rng)
    may_cross = rng.random() < _CROSSED
    place = _place(coverage, things, CROSSING if may_cross else TOUCHING, rng)
    faint = rng.random() < _FAINT
    if place is None:
        return
    x, y = place
    height, width = coverage.shape
    box = (x, y, x + width, y + height)
    crossed = [other for other, thing in enumerate(things) if shared(box, thing.box) > TOUCHING]
    for other in crossed:
        earlier = things[other]
        things[other] = Thing(earlier.name, earlier.box, True, earlier.source)
    under = image[y : y + height, x : x + width]
    colour = ink.contrasting_colour(under, LEAST_CONTRAST, rng)
    ink.paint(image, coverage, x, y, colour, float(rng.uniform(0.2, 0.3) if faint else rng.uniform(0.8, 1.0)))
    owner[y : y + height, x : x + width][coverage >= 0.5] = len(things)
    things.append(Thing(NAMES[int(source.labels[index])], box, faint or bool(crossed), int(source.indices[index])))


def inked_digit(digit: FloatArray, height: int, rng: np.random.Generator) -> FloatArray:
    """A digit (8, 8) as it stands in scenes: a little tilted, slanted and stretched; coverage (height, w)."""
    tilt, slant = float(rng.uniform(-10, 10)), float(rng.uniform(-0.1, 0.1))
    return ink.digit_coverage(digit, height, tilt, slant, float(rng.uniform(0.85, 1.2)))


def _height(rng: np.random.Generator) -> int:
    return round(float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST)))))


def _place(
    coverage: FloatArray, things: Sequence[Thing], most: float, rng: np.random.Generator
) -> tuple[int, int] | None:
    """A corner at which the digit lies inside the scene and shares at most ``most`` with every other; None: no room."""
    height, width = coverage.shape
    for _ in range(60):
        x, y = int(rng.integers(1, WIDTH - width)), int(rng.integers(1, HEIGHT - height))
        if all(shared((x, y, x + width, y + height), thing.box) <= most for thing in things):
            return x, y
    return None


def shared(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Area common to two boxes over the area of the smaller one."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(0, width) * max(0, height) / smaller


def _annotation(name: str, things: Sequence[Thing]) -> str:
    objects = "".join(
        f"  <object>\n    <name>{escape(thing.name)}</name>\n    <pose>Unspecified</pose>\n"
        f"    <truncated>0</truncated>\n    <difficult>{int(thing.difficult)}</difficult>\n"
        f"    <bndbox><xmin>{thing.box[0] + 1}</xmin><ymin>{thing.box[1] + 1}</ymin>"
        f"<xmax>{thing.box[2]}</xmax><ymax>{thing.box[3]}</ymax></bndbox>\n  </object>\n"
        for thing in things
    )
    return (
        f"<annotation>\n  <folder>digits</folder>\n  <filename>{name}.jpg</filename>\n"
        f"  <size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>\n"
        f"  <segmented>0</segmented>\n{objects}</annotation>\n"
    )
