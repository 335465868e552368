"""Average precision as ILSVRC's detection task defines it.

It differs from PASCAL VOC's (`voc_ap`) in three ways:

- The IoU from which on a detection is a hit depends on the object: min(0.5, w h / ((w + 10) (h + 10))) for w x h
  pixels, so that a small one may be missed by some 5 pixels on each side.
- A detection goes to the object that it overlaps most among those of its class and image that are free and that it
  overlaps enough; only if there is none is it a miss. (VOC looks at the object overlapped most, taken or not.)
- Pairs of image and class on a blacklist do not count at all, neither objects nor detections.

AP is the area under the curve, as in VOC2010. Boxes are half-open here, so that w = xmax - xmin + 1 of the files.

Source: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015, section 4.3 and appendix.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.evaluation.voc_ap import ap_area
from sppcli.geometry.boxes import iou
from sppcli.structures import Annotations, BoolArray, Boxes, Detections

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class IlsvrcResult:
    """``ap`` and ``max_recall`` of each class, None without objects; ``mAP``: the mean over the others, or None.

    ``npos`` and ``n_detections`` count what is not blacklisted.
    """

    ap: dict[str, float | None]
    mAP: float | None  # noqa: N815 (the field's name)
    npos: dict[str, int]
    n_detections: dict[str, int]
    max_recall: dict[str, float | None]


def thresholds(boxes: Boxes) -> Float64:
    """IoU (N,) float64 from which on a detection of each of ``boxes`` (N, 4) is a hit."""
    sides = boxes[:, 2:].astype(np.float64) - boxes[:, :2]
    smaller: Float64 = np.minimum(0.5, sides.prod(axis=1) / (sides + 10).prod(axis=1))
    return smaller


def match_image(boxes: Boxes, objects: Boxes) -> BoolArray:
    """Hits (N,) among the detections ``boxes`` (N, 4) of one class in one image, best first; ``objects`` (M, 4)."""
    hits = np.zeros(len(boxes), dtype=np.bool_)
    needed = thresholds(objects)
    free = np.ones(len(objects), dtype=np.bool_)
    for row, overlap in enumerate(iou(boxes, objects)):
        enough = np.where(free & (overlap >= needed), overlap, -1.0)
        if len(enough) and enough.max() >= 0:
            free[int(enough.argmax())] = False
            hits[row] = True
    return hits


def evaluate_ilsvrc(
    detections: Detections,
    annotations: Mapping[str, Annotations],
    classes: Sequence[str],
    blacklist: Collection[tuple[str, str]] = (),
) -> IlsvrcResult:
    """AP of each of ``classes`` over the images in ``annotations``.

    Args:
        detections: equal scores count in the order of the rows; rows of other images or classes are not looked at.
        annotations: image id -> ground truth of every image evaluated. Difficult objects count like others.
        blacklist: (image id, class) that do not count.
    """
    out = set(blacklist)
    label_of = {name: number for number, name in enumerate(detections.classes)}
    ap: dict[str, float | None] = {}
    max_recall: dict[str, float | None] = {}
    npos, n_detections = {}, {}
    for name in classes:
        allowed = np.array([i in annotations and (i, name) not in out for i in detections.image_ids], dtype=np.bool_)
        rows = np.flatnonzero(detections.label == label_of.get(name, -1))
        rows = rows[allowed[detections.image[rows]]] if len(rows) else rows
        rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
        objects = {
            image_id: truth.boxes[truth.of_class(name)]
            for image_id, truth in annotations.items()
            if name in truth.labels and (image_id, name) not in out
        }
        hit = np.zeros(len(rows), dtype=np.bool_)
        image = detections.image[rows]
        for number in np.unique(image):
            image_id = detections.image_ids[number]
            if image_id in objects:
                mine = np.flatnonzero(image == number)
                hit[mine] = match_image(detections.boxes[rows[mine]], objects[image_id])
        npos[name], n_detections[name] = sum(map(len, objects.values())), len(rows)
        ap[name] = ap_area(hit, ~hit, npos[name]) if npos[name] else None
        max_recall[name] = np.count_nonzero(hit) / npos[name] if npos[name] else None
    known = [value for value in ap.values() if value is not None]
    return IlsvrcResult(ap, float(np.mean(known)) if known else None, npos, n_detections, max_recall)
