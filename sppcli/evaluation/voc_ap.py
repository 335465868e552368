"""Average precision as PASCAL VOC defines it: matching, then precision and recall, then AP.

The rules are those of the devkit's VOCevaldet.m (golden case ``voc_synthetic``):

- A detection belongs to the ground-truth box of its class and image that it overlaps most, the first one on
  ties, among all of them: difficult ones and ones already taken too.
- It is a hit when that IoU is at least 0.5 (not above 0.5) and no detection with a higher score has that box; on
  a box that is taken it is a miss, even if it overlaps a free one too; on a difficult box it is neither.
- Detections count from the highest score down; equal scores in the order of the rows (a stable sort).

| where it differs | devkit | here |
|---|---|---|
| recall points k/10 | floating point: ``0:0.1:1`` | exact: tp * 10 >= k * npos |
| class without ground truth | 0 with 11 points, NaN by area | None, left out of the mean |
| only difficult boxes detected | NaN | 0 |

The floating grids disagree with each other: ``i * 0.1`` (Octave, numpy.arange) overshoots 0.3, 0.6 and 0.7;
MATLAB's colon, as far as is known, only 0.3. A curve with a recall of exactly 3/10 (6/10, 7/10) loses there. So the
exact comparison equals the golden array ``ap11_matlab_grid`` but where a recall is exactly 3/10, and is higher there
(class cc, whose 12th hit of 40 makes +0.0009).

Sources: Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010, section 4.2; VOC2007 and
VOC2010 development kits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from sppcli.errors import UsageProblem
from sppcli.structures import Annotations, BoolArray, Boxes, Detections, IntArray, as_boxes

Protocol = Literal["voc2007", "voc2010"]
Points = Literal["exact", "matlab", "octave"]
Float64 = npt.NDArray[np.float64]

_PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Matches:
    """The result of matching the N detections of one class. All arrays are in the order of counting, best score first.

    ``order`` (N,) int64 rows of the input; ``gt`` (N,) int64 row of the ground-truth box overlapped most, -1 for
    none; ``overlap`` (N,) float64 the IoU with it; ``tp``, ``fp`` (N,) bool, both False where that box is difficult.
    """

    order: IntArray
    gt: IntArray
    overlap: Float64
    tp: BoolArray
    fp: BoolArray


@dataclass(frozen=True)
class VocResult:
    """AP of every class, in the order asked for, and what it was computed from.

    ``ap`` and ``max_recall`` are None for a class without (non-difficult) ground truth; ``mAP`` is the mean over the
    others, None where there are none. ``npos`` counts non-difficult ground truth. ``recall`` and ``precision`` hold
    one float64 entry per detection, highest score first; NaN where nothing is defined yet (see ``precision_recall``).
    ``n_elsewhere`` counts detections in images outside the annotations given, which were not looked at.
    """

    protocol: str
    iou: float
    ap: dict[str, float | None]
    mAP: float | None  # noqa: N815 (the field's name)
    npos: dict[str, int]
    n_detections: dict[str, int]
    recall: dict[str, Float64]
    precision: dict[str, Float64]
    max_recall: dict[str, float | None]
    n_elsewhere: int


def evaluate_voc(
    detections: Detections,
    annotations: Mapping[str, Annotations],
    classes: Sequence[str],
    protocol: Protocol = "voc2007",
    iou: float = 0.5,
    points: Points = "exact",
) -> VocResult:
    """AP of each of ``classes`` over the images in ``annotations``.

    Args:
        detections: row order decides between equal scores. Rows of other classes are not looked at, nor rows of
            images outside ``annotations`` (counted in ``n_elsewhere``).
        annotations: image id -> ground truth of every image evaluated, including those without detections.
        classes: the classes to report; one without detections has AP 0, one without ground truth None.
        protocol: "voc2007", 11 recall points, or "voc2010", area under the curve.
        iou: overlap from which on (inclusive) a detection is a hit.
        points: of "voc2007", see ``ap_11point``.

    Raises:
        UsageProblem: the protocol or the points do not exist, or ``iou`` is outside (0, 1].
    """
    if protocol not in get_args(Protocol):
        raise UsageProblem(f"there is no protocol {protocol!r}: choose one of {', '.join(get_args(Protocol))}")
    if points not in get_args(Points):
        raise UsageProblem(f"there are no recall points {points!r}: choose one of {', '.join(get_args(Points))}")
    position = {image_id: number for number, image_id in enumerate(annotations)}
    to_position = np.array([position.get(image_id, -1) for image_id in detections.image_ids], dtype=np.int64)
    image = to_position[detections.image]
    label_of = {name: number for number, name in enumerate(detections.classes)}
    here = np.flatnonzero(image >= 0)
    rows_of = grouped(detections.label[here], len(detections.classes))
    truth = truth_by_class(annotations, classes)

    ap: dict[str, float | None] = {}
    max_recall: dict[str, float | None] = {}
    npos, n_detections, recall, precision = {}, {}, {}, {}
    for name in classes:
        rows = here[rows_of[label_of[name]]] if name in label_of else here[:0]
        gt_boxes, gt_image, gt_difficult = truth[name]
        matches = match_detections(
            detections.boxes[rows], image[rows], detections.scores[rows], gt_boxes, gt_image, gt_difficult, iou
        )
        n = int(np.count_nonzero(~gt_difficult))
        recall[name], precision[name] = precision_recall(matches.tp, matches.fp, n)
        npos[name], n_detections[name] = n, len(rows)
        if n == 0:
            ap[name] = max_recall[name] = None
        else:
            hit, false = matches.tp, matches.fp
            ap[name] = ap_11point(hit, false, n, points) if protocol == "voc2007" else ap_area(hit, false, n)
            max_recall[name] = np.count_nonzero(matches.tp) / n
    known = [value for value in ap.values() if value is not None]
    return VocResult(
        protocol=protocol,
        iou=iou,
        ap=ap,
        mAP=float(np.mean(known)) if known else None,
        npos=npos,
        n_detections=n_detections,
        recall=recall,
        precision=precision,
        max_recall=max_recall,
        n_elsewhere=len(image) - len(here),
    )


def voc2007(
    detections: Detections,
    annotations: Mapping[str, Annotations],
    classes: Sequence[str],
    *,
    iou: float = 0.5,
    points: Points = "exact",
) -> VocResult:
    """`evaluate_voc` by VOC2007's rule, as an `Evaluate`."""
    return evaluate_voc(detections, annotations, classes, "voc2007", iou, points)


def voc2010(
    detections: Detections,
    annotations: Mapping[str, Annotations],
    classes: Sequence[str],
    *,
    iou: float = 0.5,
    points: Points = "exact",
) -> VocResult:
    """`evaluate_voc` by VOC2010's rule, as an `Evaluate`; there are no recall points."""
    return evaluate_voc(detections, annotations, classes, "voc2010", iou, points)


Evaluate = Callable[..., VocResult]
"""The function that a line of `registry.PROTOCOLS` names: ``(detections, annotations, classes, *, iou, points)`` as for
`evaluate_voc`; the result's ``ap`` is the protocol's figure, ``mAP`` its mean.
"""


def match_detections(
    boxes: Boxes,
    image: IntArray,
    scores: npt.NDArray[np.floating],
    gt_boxes: Boxes,
    gt_image: IntArray,
    gt_difficult: BoolArray,
    iou: float = 0.5,
) -> Matches:
    """Decide hit, miss or neither for the detections of one class.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | boxes | (N, 4) | float32 | detections, x0 y0 x1 y1 half-open, pixels |
    | image | (N,) | int64 | number of the image of each, 0 or more |
    | scores | (N,) | float | higher is surer |
    | gt_boxes | (M, 4) | float32 | ground truth; the first of equal overlap is matched |
    | gt_image | (M,) | int64 | number of the image of each, 0 or more |
    | gt_difficult | (M,) | bool | |

    IoU is computed in float64.

    Raises:
        UsageProblem: ``iou`` outside (0, 1].
    """
    if not 0 < iou <= 1:
        raise UsageProblem(f"an IoU threshold of {iou} has no meaning: choose one above 0, up to 1")
    order = np.argsort(-np.asarray(scores), kind="stable")
    gt, overlap = _best_overlap(boxes[order], image[order], gt_boxes, gt_image)
    matched = overlap >= iou
    tp = np.zeros(len(order), dtype=np.bool_)
    counted = np.flatnonzero(matched)
    counted = counted[~gt_difficult[gt[counted]]]
    _, first = np.unique(gt[counted], return_index=True)
    tp[counted[first]] = True
    fp = ~tp
    fp[matched] &= ~gt_difficult[gt[matched]]
    return Matches(order, gt, overlap, tp, fp)


def precision_recall(tp: BoolArray, fp: BoolArray, npos: int) -> tuple[Float64, Float64]:
    """Recall and precision (N,) after each detection, from the flags ``tp`` and ``fp`` (N,) in order of counting.

    Precision is NaN up to the first hit or miss (only difficult boxes so far); recall is NaN where ``npos`` is 0.
    """
    hits, misses = np.cumsum(tp, dtype=np.int64), np.cumsum(fp, dtype=np.int64)
    counted = hits + misses
    precision = np.full(len(hits), np.nan)
    np.divide(hits, counted, out=precision, where=counted > 0)
    recall = hits / npos if npos else np.full(len(hits), np.nan)
    return recall, precision


def ap_11point(tp: BoolArray, fp: BoolArray, npos: int, points: Points = "exact") -> float:
    """Mean over recalls 0, 0.1 … 1 of the highest precision at that recall or beyond (VOC2007).

    Args:
        tp, fp: (N,) flags in order of counting.
        npos: number of non-difficult ground-truth boxes, at least 1.
        points: "exact": a recall of exactly k/10 reaches the point k/10, hits and ``npos`` compared as integers.
            "matlab", "octave": 0:0.1:1 as these make it of floating numbers, which overshoot 0.3 and, in Octave, 0.6
            and 0.7; equal to the devkit run there (golden ``ap11_matlab_grid``, ``ap11_octave``).
    """
    hits = np.cumsum(tp, dtype=np.int64)
    recall, best = _envelope(tp, fp, npos)
    # hits never falls, so the points at a recall or beyond it are the rest of the curve from the first one on
    if points == "exact":
        start = np.searchsorted(hits * 10, np.arange(11) * npos)
    else:
        # Octave steps from 0; MATLAB's colon operator is believed to step from both ends to the middle.
        steps = np.arange(11) * 0.1
        grid = steps if points == "octave" else np.where(np.arange(11) < 6, steps, 1 - np.arange(11)[::-1] * 0.1)
        start = np.searchsorted(recall, grid)
    return float(np.append(best, 0.0)[start].mean())


def ap_area(tp: BoolArray, fp: BoolArray, npos: int) -> float:
    """Area under precision as a falling step function of recall (VOC2010 and later).

    Args:
        tp, fp: (N,) flags in order of counting.
        npos: number of non-difficult ground-truth boxes, at least 1.
    """
    recall, best = _envelope(tp, fp, npos)
    return float(np.sum(np.diff(recall, prepend=0.0) * best))


def _envelope(tp: BoolArray, fp: BoolArray, npos: int) -> tuple[Float64, Float64]:
    """Recall (N,), and the highest precision from there on (N,); 0 where that is not defined."""
    if npos < 1:
        raise ValueError("a class without ground truth has no average precision")
    recall, precision = precision_recall(tp, fp, npos)
    return recall, np.maximum.accumulate(np.nan_to_num(precision)[::-1])[::-1]


def truth_by_class(
    annotations: Mapping[str, Annotations], classes: Sequence[str]
) -> dict[str, tuple[Boxes, IntArray, BoolArray]]:
    """Class -> ground-truth boxes, the number of the image of each (in the order of ``annotations``), difficult."""
    number = {name: i for i, name in enumerate(classes)}
    everything = annotations.values()
    boxes = np.concatenate([as_boxes([]), *(truth.boxes for truth in everything)])
    difficult = np.concatenate([np.zeros(0, np.bool_), *(truth.difficult for truth in everything)])
    image = np.repeat(np.arange(len(annotations)), [len(truth.labels) for truth in everything])
    label = np.array([number.get(name, len(classes)) for truth in everything for name in truth.labels], dtype=np.int64)
    rows = grouped(label, len(classes))
    return {name: (boxes[rows[i]], image[rows[i]], difficult[rows[i]]) for name, i in number.items()}


def grouped(label: IntArray, number: int) -> list[IntArray]:
    """For each label 0 to ``number`` - 1 the rows of ``label`` (N,) that have it, ascending; others are left out."""
    # Numbers of two bytes or less are sorted by counting, in the time of a few copies.
    keys = np.where((label >= 0) & (label < number), label, number).astype(np.min_scalar_type(number))
    ends = np.cumsum(np.bincount(keys, minlength=number + 1))
    return np.split(np.argsort(keys, kind="stable"), ends[:-1])[:number]


def _best_overlap(boxes: Boxes, image: IntArray, gt_boxes: Boxes, gt_image: IntArray) -> tuple[IntArray, Float64]:
    """For each detection the row of the ground truth of its image with the highest IoU (the first on ties), and
    that IoU; -1 and 0 where none overlaps."""
    best = np.full(len(boxes), -1, dtype=np.int64)
    overlap = np.zeros(len(boxes))
    by_image = np.argsort(gt_image, kind="stable")
    of_image = np.bincount(gt_image, minlength=int(image.max(initial=-1)) + 1)
    count = of_image[image]
    start = (np.cumsum(of_image) - of_image)[image]
    candidates = np.flatnonzero(count)
    # Pairs of a detection and each ground-truth box of its image are compared, a bounded number of them at a time.
    cuts = np.searchsorted(np.cumsum(count[candidates]), np.arange(_PAIRS_AT_ONCE, count.sum(), _PAIRS_AT_ONCE))
    for rows in np.split(candidates, cuts):
        if len(rows) == 0:
            continue
        per_row = count[rows]
        first = np.cumsum(per_row) - per_row
        within = np.arange(per_row.sum()) - np.repeat(first, per_row)
        gt = by_image[np.repeat(start[rows], per_row) + within]
        pair_iou = _paired_iou(boxes[np.repeat(rows, per_row)], gt_boxes[gt])
        highest = np.maximum.reduceat(pair_iou, first)
        is_highest = np.flatnonzero(pair_iou == np.repeat(highest, per_row))
        picked = gt[is_highest[np.searchsorted(is_highest, first)]]
        best[rows] = np.where(highest > 0, picked, -1)
        overlap[rows] = highest
    return best, overlap


def _paired_iou(a: Boxes, b: Boxes) -> Float64:
    """IoU (N,) float64 of row i of ``a`` with row i of ``b``, both (N, 4)."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    sides = np.minimum(a64[:, 2:], b64[:, 2:]) - np.maximum(a64[:, :2], b64[:, :2])
    inter = np.where((sides > 0).all(axis=1), sides.prod(axis=1), 0.0)
    union = (a64[:, 2:] - a64[:, :2]).prod(axis=1) + (b64[:, 2:] - b64[:, :2]).prod(axis=1) - inter
    iou: Float64 = np.divide(inter, union, out=np.zeros_like(inter), where=inter > 0)
    return iou
