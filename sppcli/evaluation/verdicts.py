"""Every detection of a data set judged against the objects of its image, in one table that the error analyses share.

The rules are those of `voc_ap.match_detections`: a detection is compared with the objects of its class only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.evaluation.voc_ap import grouped, match_detections
from sppcli.structures import Annotations, BoolArray, Boxes, Detections, IntArray, as_boxes

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Objects:
    """The M objects of all images: ``image`` (M,) index into the image ids, ``label`` (M,) index into the classes,
    ``boxes`` (M, 4), ``difficult`` (M,) bool.
    """

    image: IntArray
    label: IntArray
    boxes: Boxes
    difficult: BoolArray

    @property
    def counted(self) -> BoolArray:
        """(M,) bool: those that are to be found."""
        return ~self.difficult


@dataclass(frozen=True)
class Verdicts:
    """What became of each detection. All arrays are in the order of counting: highest score first, stable.

    ``classes``, ``image_ids``: what the indices mean; ``rows`` (N,) int64 rows of the detections judged; ``image``,
    ``label`` (N,) int64; ``boxes`` (N, 4) float32; ``scores`` (N,) float32; ``own`` (N,) int64 the object of its own
    class that it overlaps most, -1 for none, and ``own_iou`` (N,) float64 the IoU with it; ``tp``, ``fp`` (N,) bool,
    both False where that object is difficult. ``iou``: from which on a detection is a true positive.
    """

    classes: tuple[str, ...]
    image_ids: tuple[str, ...]
    iou: float
    rows: IntArray
    image: IntArray
    label: IntArray
    boxes: Boxes
    scores: npt.NDArray[np.float32]
    own: IntArray
    own_iou: Float64
    tp: BoolArray
    fp: BoolArray
    objects: Objects

    def npos(self) -> IntArray:
        """Objects to be found of each class (K,) int64."""
        return np.bincount(self.objects.label[self.objects.counted], minlength=len(self.classes))

    def found_at(self) -> npt.NDArray[np.float32]:
        """For each object (M,) the score of the detection that finds it; minus infinity where none does."""
        found = np.full(len(self.objects.label), -np.inf, dtype=np.float32)
        found[self.own[self.tp]] = self.scores[self.tp]
        return found


def judge_all(
    detections: Detections, annotations: Mapping[str, Annotations], classes: Sequence[str], iou: float = 0.5
) -> Verdicts:
    """Judge the detections of the images in ``annotations`` and of ``classes``; others are not looked at.

    Args:
        annotations: image id -> ground truth of every image evaluated; labels outside ``classes`` are left out.
        iou: overlap from which on (inclusive) a detection finds an object.

    Raises:
        UsageProblem: ``iou`` outside (0, 1].
    """
    objects = _objects(annotations, classes)
    place = {image_id: number for number, image_id in enumerate(annotations)}
    number = {name: i for i, name in enumerate(classes)}
    to_place = np.array([place.get(name, -1) for name in detections.image_ids], dtype=np.int64)
    to_label = np.array([number.get(name, -1) for name in detections.classes], dtype=np.int64)
    image, label = to_place[detections.image], to_label[detections.label]
    rows = np.flatnonzero((image >= 0) & (label >= 0))
    rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
    image, label = image[rows], label[rows]
    boxes, scores = detections.boxes[rows], detections.scores[rows]
    own, own_iou = np.full(len(rows), -1, dtype=np.int64), np.zeros(len(rows))
    tp, fp = np.zeros(len(rows), dtype=np.bool_), np.zeros(len(rows), dtype=np.bool_)
    per_class = zip(grouped(label, len(classes)), grouped(objects.label, len(classes)), strict=True)
    for mine, theirs in per_class:
        matches = match_detections(
            boxes[mine],
            image[mine],
            scores[mine],
            objects.boxes[theirs],
            objects.image[theirs],
            objects.difficult[theirs],
            iou,
        )
        counted = mine[matches.order]
        known = matches.gt >= 0
        own[counted[known]] = theirs[matches.gt[known]]
        own_iou[counted], tp[counted], fp[counted] = matches.overlap, matches.tp, matches.fp
    ids = tuple(annotations)
    return Verdicts(tuple(classes), ids, iou, rows, image, label, boxes, scores, own, own_iou, tp, fp, objects)


def _objects(annotations: Mapping[str, Annotations], classes: Sequence[str]) -> Objects:
    number = {name: i for i, name in enumerate(classes)}
    everything = annotations.values()
    label = np.array([number.get(name, -1) for truth in everything for name in truth.labels], dtype=np.int64)
    image = np.repeat(np.arange(len(annotations), dtype=np.int64), [len(truth.labels) for truth in everything])
    boxes = np.concatenate([as_boxes([]), *(truth.boxes for truth in everything)])
    difficult = np.concatenate([np.zeros(0, np.bool_), *(truth.difficult for truth in everything)])
    kept = label >= 0
    return Objects(image[kept], label[kept], boxes[kept], difficult[kept])
