"""ILSVRC's localisation error: an image is right if one of five localisations has its class and a box of it.

A box is right at an IoU of 0.5 or more with any object of that class.

Source: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015, section 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sppcli.geometry.boxes import iou
from sppcli.structures import Annotations, Localisations


@dataclass(frozen=True)
class LocalisationErrors:
    """Shares of the images, from 0 to 1: ``top1``, ``top5`` error in class and box; ``class_top1``, ``class_top5`` in
    class alone. ``without_localisation``: images without a prediction, which count as wrong.
    """

    top1: float
    top5: float
    class_top1: float
    class_top5: float
    images: int
    without_localisation: int


def localisation_error(
    localisations: Mapping[str, Localisations], truth: Mapping[str, Annotations], threshold: float = 0.5
) -> LocalisationErrors:
    """Errors over the images in ``truth`` that show an object.

    Raises:
        ValueError: no image shows an object.
    """
    right = [0, 0, 0, 0]
    images = without_localisation = 0
    for image_id, objects in truth.items():
        if not objects.labels:
            continue
        images += 1
        mine = localisations.get(image_id)
        if mine is None or not mine.labels:
            without_localisation += 1
            continue
        classes, boxes = _right(mine, objects, threshold)
        for i, hits in enumerate((boxes[:1], boxes, classes[:1], classes)):
            right[i] += any(hits)
    if not images:
        raise ValueError("no image shows an object")
    top1, top5, class_top1, class_top5 = (1 - count / images for count in right)
    return LocalisationErrors(top1, top5, class_top1, class_top5, images, without_localisation)


def _right(
    localisations: Localisations, objects: Annotations, threshold: float
) -> tuple[Sequence[bool], Sequence[bool]]:
    """Return for each prediction whether its class is right, and whether its box is right too."""
    overlaps = iou(localisations.boxes, objects.boxes)
    classes, boxes = [], []
    for row, label in enumerate(localisations.labels):
        mask = objects.of_class(label)
        classes.append(bool(mask.any()))
        boxes.append(bool((overlaps[row, mask] >= threshold).any()))
    return classes, boxes
