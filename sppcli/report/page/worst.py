"""The images with the most mistakes, as pictures with all their boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sppcli.errors import SppError
from sppcli.evaluation.thresholds import steps_of
from sppcli.evaluation.verdicts import Verdicts
from sppcli.images import read_image
from sppcli.report.page.pictures import Picture, Shape, encoded, reduced
from sppcli.runtime.progress import Progress
from sppcli.structures import IntArray

MOST_BOXES = 150
"""Detections that are drawn on a picture, the best; more would hide it."""
_SHAPE_BYTES = 260


@dataclass(frozen=True, kw_only=True)
class Where:
    """Image id -> its file, and its height and width where these are known."""

    paths: Mapping[str, Path]
    sizes: Mapping[str, tuple[int, int]]


def mistakes(verdicts: Verdicts, threshold: float) -> IntArray:
    """False positives and missed objects of each image (I,) among the detections that score ``threshold`` or more."""
    number = len(verdicts.image_ids)
    false = verdicts.image[verdicts.fp & (verdicts.scores >= threshold)]
    objects = verdicts.objects
    missed = objects.image[objects.counted & (verdicts.found_at() < threshold)]
    return np.bincount(false, minlength=number) + np.bincount(missed, minlength=number)


def worst_pictures(
    verdicts: Verdicts,
    thresholds: npt.NDArray[np.float64],
    start: int,
    *,
    where: Where,
    count: int,
    budget: int,
    progress: Progress,
) -> list[Picture]:
    """At most ``count`` pictures, those with the most mistakes at step ``start`` first, in ``budget`` bytes."""
    made = mistakes(verdicts, float(thresholds[start]))
    chosen = np.argsort(-made, kind="stable")[:count]
    progress.start(len(chosen), "images")
    images: list[Image.Image | None] = []
    problems: list[str] = []
    for row in chosen:
        image_id = verdicts.image_ids[row]
        try:
            images.append(reduced(read_image(where.paths[image_id])))
            problems.append("")
        except SppError as error:
            images.append(None)
            problems.append(str(error))
        progress.advance()
    gone = [problem for problem in problems if problem]
    if gone:
        progress.warn(f"{len(gone)} of {len(chosen)} images cannot be shown, the first: {gone[0]}")
    steps = steps_of(thresholds, verdicts.scores), steps_of(thresholds, verdicts.found_at())
    shapes = [_shapes(verdicts, int(row), *steps) for row in chosen]
    room = budget - _SHAPE_BYTES * sum(len(one) for one, _ in shapes)
    texts = iter(encoded([image for image in images if image is not None], room))
    pictures = []
    for row, image, problem, (drawn, more) in zip(chosen, images, problems, shapes, strict=True):
        image_id = verdicts.image_ids[row]
        width, height = _size(image_id, image, drawn, where)
        data = next(texts) if image is not None else ""
        pictures.append(Picture(image_id, data, width, height, drawn, more, problem))
    return pictures


def _size(image_id: str, image: Image.Image | None, shapes: tuple[Shape, ...], where: Where) -> tuple[int, int]:
    """Width and height that the boxes are drawn in."""
    if image_id in where.sizes:
        height, width = where.sizes[image_id]
        return width, height
    if image is not None:
        return image.width, image.height
    ends = [(shape.x + shape.width, shape.y + shape.height) for shape in shapes]
    return max([1, *(int(x) for x, _ in ends)]), max([1, *(int(y) for _, y in ends)])


def _shapes(verdicts: Verdicts, row: int, steps: IntArray, found: IntArray) -> tuple[tuple[Shape, ...], int]:
    """Objects below, detections above from the lowest score up; and how many detections are not among them."""
    objects, classes = verdicts.objects, verdicts.classes
    shapes = []
    for i in np.flatnonzero(objects.image == row):
        name = classes[objects.label[i]]
        kind = "difficult" if objects.difficult[i] else "truth"
        shapes.append(_shape(kind, objects.boxes[i], name, int(objects.label[i]), int(found[i])))
    mine = np.flatnonzero((verdicts.image == row) & (steps >= 0))
    kept = mine[:MOST_BOXES]
    for i in kept[::-1]:
        kind = "right" if verdicts.tp[i] else "false" if verdicts.fp[i] else "ignored"
        label = f"{classes[verdicts.label[i]]} {verdicts.scores[i]:.2f}"
        shapes.append(_shape(kind, verdicts.boxes[i], label, int(verdicts.label[i]), int(steps[i])))
    return tuple(shapes), len(mine) - len(kept)


def _shape(kind: str, box: npt.NDArray[np.float32], label: str, group: int, step: int) -> Shape:
    x0, y0, x1, y1 = (round(float(value), 1) for value in box)
    return Shape(kind, x0, y0, round(x1 - x0, 1), round(y1 - y0, 1), label, group, step)
