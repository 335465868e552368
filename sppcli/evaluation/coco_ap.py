"""Average precision as COCO defines it, computed by pycocotools: AP over IoU 0.50:0.95, by size, and AR.

Difficult objects (VOC's) are ignored as crowds are, neither hit nor miss, but matched by IoU and once only. COCO's own
files have none; their figures are those of pycocotools on the files themselves.

One difference from running pycocotools by hand: annotations are numbered from 1 here. It takes an annotation whose id
is 0 for "no match", and so misses that object.

Source: cocodataset.org, "Detection evaluation"; Lin et al., "Microsoft COCO", ECCV 2014.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.errors import UsageProblem
from sppcli.structures import BoolArray, Detections, WrittenDetections

Float64 = npt.NDArray[np.float64]

STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's twelve figures in its order; s, m, l: areas below 32^2, from there to 96^2, and above."""
CLASS_STATS = STATS[:6]
AREAS = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}
"""COCO's sizes of objects: from the first to the second area in square pixels."""


@dataclass(frozen=True)
class CocoTruth:
    """Ground truth of one image.

    ``xywh`` (N, 4) float64 x y width height; ``labels`` N class names; ``area`` (N,) float64; ``crowd``, ``difficult``
    (N,) bool. ``number``: COCO's image id; equal scores count in its order, or in that of the images if one has None.
    """

    xywh: Float64
    labels: tuple[str, ...]
    area: Float64
    crowd: BoolArray
    difficult: BoolArray
    number: int | None = None


@dataclass(frozen=True)
class CocoResult:
    """``stats``: by `STATS`; ``ap``: AP of each class; None where there is no ground truth. ``npos``: objects of each
    class that count; ``n_detections``: detections of each class in the images evaluated. ``of_class``: class -> the
    figures `CLASS_STATS` of it.
    """

    stats: dict[str, float | None]
    ap: dict[str, float | None]
    npos: dict[str, int]
    n_detections: dict[str, int]
    of_class: dict[str, dict[str, float | None]]


def evaluate_coco(
    detections: Detections | WrittenDetections, truth: Mapping[str, CocoTruth], classes: Sequence[str]
) -> CocoResult:
    """COCO's figures over the images in ``truth``.

    Args:
        detections: the best 100 of each class and image count; rows of other images or classes do not.
        truth: image id -> ground truth of every image evaluated, including those without objects.
        classes: the classes to evaluate; the mean is over those with ground truth.

    Raises:
        UsageProblem: a label is not among ``classes``.
    """
    category = {name: i for i, name in enumerate(classes, start=1)}
    foreign = sorted({label for image in truth.values() for label in image.labels} - category.keys())
    if foreign:
        raise UsageProblem(
            f"there are objects of {', '.join(foreign)}, which are not among the classes evaluated; add them"
        )
    numbers = _numbers(truth)
    written = WrittenDetections.of(detections) if isinstance(detections, Detections) else detections
    rows = _rows(written, numbers, category)
    stats, per_class = _run(_ground_truth(truth, numbers, category), rows, list(numbers.values()))
    counted = [
        label
        for image in truth.values()
        for label, out in zip(image.labels, image.crowd | image.difficult, strict=True)
        if not out
    ]
    return CocoResult(
        {name: _known(value) for name, value in zip(STATS, stats, strict=True)},
        {name: _known(per_class[i][0]) for i, name in enumerate(classes)},
        {name: counted.count(name) for name in classes},
        {name: sum(row["category_id"] == category[name] for row in rows) for name in classes},
        {name: dict(zip(CLASS_STATS, map(_known, per_class[i]), strict=True)) for i, name in enumerate(classes)},
    )


def _numbers(truth: Mapping[str, CocoTruth]) -> dict[str, int]:
    given = [image.number for image in truth.values()]
    if None not in given and len(set(given)) == len(given):
        return {image_id: int(image.number or 0) for image_id, image in truth.items()}
    return {image_id: position for position, image_id in enumerate(truth, start=1)}


def _rows(
    detections: WrittenDetections, numbers: Mapping[str, int], category: Mapping[str, int]
) -> list[dict[str, Any]]:
    images = [numbers.get(image_id) for image_id in detections.image_ids]
    labels = [category.get(name) for name in detections.classes]
    rows: list[dict[str, Any]] = []
    for i, (image, label) in enumerate(zip(detections.image.tolist(), detections.label.tolist(), strict=True)):
        if images[image] is not None and labels[label] is not None:
            bbox = detections.xywh[i].tolist()
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": images[image],
                    "category_id": labels[label],
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3],
                    "score": float(detections.scores[i]),
                }
            )
    return rows


def _ground_truth(
    truth: Mapping[str, CocoTruth], numbers: Mapping[str, int], category: Mapping[str, int]
) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image_id, image in truth.items():
        for row, label in enumerate(image.labels):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": numbers[image_id],
                    "category_id": category[label],
                    "bbox": image.xywh[row].tolist(),
                    "area": float(image.area[row]),
                    "iscrowd": int(image.crowd[row]),
                    "difficult": bool(image.difficult[row]),
                }
            )
    return {
        "images": [{"id": number} for number in numbers.values()],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in category.items()],
    }


def _run(truth: dict[str, Any], rows: list[dict[str, Any]], images: list[int]) -> tuple[list[float], list[list[float]]]:
    """Return pycocotools' twelve figures, and `CLASS_STATS` of each category; -1 where there is no object."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    class Evaluation(COCOeval):  # type: ignore[misc]
        def _prepare(self) -> None:
            super()._prepare()
            for objects in self._gts.values():
                for row in objects:
                    row["ignore"] = row["ignore"] or row["difficult"]

    # pycocotools reports on standard output what it does.
    with contextlib.redirect_stdout(io.StringIO()):
        found, given = COCO(), COCO()
        given.dataset, found.dataset = truth, {**truth, "annotations": rows}
        given.createIndex()
        found.createIndex()
        evaluation = Evaluation(given, found, "bbox")
        evaluation.params.imgIds = images
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # (IoU, recall, area) of a class, with 100 detections; the areas are all, small, medium, large.
    per_class = [
        [_mean(part) for part in (one[..., 0], one[0, :, 0], one[5, :, 0], *(one[..., i] for i in (1, 2, 3)))]
        for one in np.moveaxis(evaluation.eval["precision"][..., -1], 2, 0)
    ]
    return [float(value) for value in evaluation.stats], per_class


def _mean(precision: Float64) -> float:
    return float(precision[precision > -1].mean()) if (precision > -1).any() else -1.0


def _known(value: float) -> float | None:
    return None if value < 0 else value
