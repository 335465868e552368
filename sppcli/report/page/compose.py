"""From judged detections to what the page says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sppcli.evaluation.coco_ap import AREAS, CocoResult, CocoTruth, evaluate_coco
from sppcli.evaluation.errors import KINDS, Errors, costs, find_errors
from sppcli.evaluation.operating_point import BINS, calibration_error
from sppcli.evaluation.thresholds import Tally, confusion, confusion_changes, grid, tally
from sppcli.evaluation.verdicts import Verdicts, judge_all
from sppcli.evaluation.voc_ap import VocResult, evaluate_voc
from sppcli.report.page.content import Calibration, ClassRow, ErrorRow, SizeRow, Thresholds
from sppcli.report.page.panels import reliability_panel
from sppcli.structures import Annotations, Detections, FloatArray, IntArray

STRICT_IOU = 0.75
MOST_IN_MATRIX = 24
"""Classes of a confusion matrix that can still be read; of more, those that are confused most are shown."""

_MEANINGS = {
    "classification": "on an object, but of another class",
    "localisation": "of the right class, but the box fits badly (IoU 0.1 to {iou:g})",
    "both": "of another class, and the box fits badly",
    "duplicate": "on an object that a better detection has found",
    "background": "on nothing (IoU below 0.1)",
    "missed": "objects that no detection is about",
}
_SIZES = {"small": "up to 32 x 32 pixels", "medium": "up to 96 x 96 pixels", "large": "above 96 x 96 pixels"}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What thresholds are on. ``what``: score or probability; ``values`` (N,) float32 of each detection.

    ``start``: the threshold at which the page opens, and ``why``; None: where F1 is best.
    """

    what: str
    values: FloatArray
    start: float | None
    why: str


def scores_of(found: Detections) -> Scale:
    """Thresholds on the scores themselves, chosen on the images of the report."""
    return Scale(what="score", values=found.scores, start=None, why="where F1 over all classes is best on these images")


@dataclass(frozen=True)
class Figures:
    """All that is computed of a set of detections.

    ``errors``: by score; ``shown``: by what thresholds are on (``scale``), as is ``table``; ``start``: the step of
    ``table`` at which the page opens.
    """

    voc: VocResult
    coco: CocoResult
    strict: Verdicts
    errors: Errors
    shown: Errors
    scale: Scale
    table: Tally
    start: int
    truth: Mapping[str, CocoTruth]

    @property
    def verdicts(self) -> Verdicts:
        return self.errors.verdicts

    @classmethod
    def of(
        cls,
        found: Detections,
        truth: Mapping[str, Annotations],
        written: Mapping[str, CocoTruth],
        classes: Sequence[str],
        iou: float,
        scale: Scale,
    ) -> Figures:
        """Compute them.

        Args:
            truth, written: image id -> ground truth, as VOC's and as COCO's rules take it.
            iou: from which on a detection finds an object.
            scale: of the thresholds; within a class its values rise with the scores.
        """
        errors = find_errors(judge_all(found, truth, classes, iou))
        shown = find_errors(judge_all(replace(found, scores=scale.values), truth, classes, iou))
        also = [] if scale.start is None else [scale.start]
        table = tally(shown.verdicts, grid(shown.verdicts.scores, *also))
        start = table.best() if scale.start is None else int(np.searchsorted(table.thresholds, scale.start))
        return cls(
            evaluate_voc(found, truth, classes, iou=iou),
            evaluate_coco(found, written, classes),
            judge_all(found, truth, classes, max(STRICT_IOU, iou)),
            errors,
            shown,
            scale,
            table,
            start,
            written,
        )


def class_rows(figures: Figures) -> list[ClassRow]:
    """Each class with its average precisions, in the order of the classes."""
    voc, coco = figures.voc, figures.coco
    rows = []
    for name in figures.verdicts.classes:
        of = coco.of_class[name]
        sizes = of["APs"], of["APm"], of["APl"]
        counts = voc.npos[name], voc.n_detections[name]
        rows.append(ClassRow(name, *counts, voc.ap[name], of["AP50"], of["AP75"], of["AP"], sizes))
    return rows


def error_rows(figures: Figures) -> tuple[list[ErrorRow], float | None, float, float]:
    """The kinds of errors with their costs; mean AP, and what all false positives and all missed objects cost."""
    price, counts, per_class = costs(figures.errors), figures.errors.counts(), figures.errors.of_class()
    rows = [
        ErrorRow(
            name,
            _MEANINGS[name].format(iou=figures.verdicts.iou),
            counts[name],
            price.gain[name],
            per_class[name].tolist(),
        )
        for name in KINDS
    ]
    return rows, price.ap, price.false_positives, price.false_negatives


def size_rows(figures: Figures) -> list[SizeRow]:
    """AP by size of object, over all classes."""
    areas = [one.area[~(one.crowd | one.difficult)] for one in figures.truth.values()]
    area = np.concatenate([np.zeros(0), *areas])
    rows = []
    for name, stat in zip(AREAS, ("APs", "APm", "APl"), strict=True):
        low, high = AREAS[name]
        count = int(np.count_nonzero((area >= low) & (area < high)))
        rows.append(SizeRow(name, _SIZES[name], count, figures.coco.stats[stat]))
    return rows


def threshold_content(figures: Figures) -> Thresholds:
    """Counts and confusions at every step of the slider."""
    table = figures.table
    changes = confusion_changes(figures.shown, table.thresholds)
    matrix = confusion(changes, table.npos, figures.start)
    shown = _most_confused(matrix)
    cells = [
        (row, column, pairs)
        for row in (*shown, len(table.npos))
        for column in shown
        if (pairs := _pairs(changes[row, column]))
    ]
    others = [k for k in range(len(table.npos)) if k not in set(shown)]
    hidden = {k: pairs for k in shown if (pairs := _pairs(changes[k, others].sum(axis=0)))}
    return Thresholds(
        values=table.thresholds.tolist(),
        start=figures.start,
        why=figures.scale.why,
        reset="Best F1" if figures.scale.start is None else "As chosen",
        what=figures.scale.what,
        hits=table.hits,
        false=table.false,
        npos=table.npos,
        changes=cells,
        shown=shown,
        hidden=hidden,
        matrix=matrix,
    )


def calibration(figures: Figures) -> Calibration:
    """How often detections of a probability are right, for a `Scale` of probabilities."""
    verdicts = figures.shown.verdicts
    judged = verdicts.tp | verdicts.fp
    values, hits = verdicts.scores[judged], verdicts.tp[judged]
    error = calibration_error(values, hits)
    return Calibration(error=error or 0.0, panel=reliability_panel(values, hits, BINS))


def _pairs(changes: IntArray) -> list[int]:
    """[step, count, step, count, …] of the steps at which something changes."""
    at = np.flatnonzero(changes)
    return np.stack([at, changes[at]], axis=1).ravel().tolist()


def _most_confused(matrix: IntArray) -> list[int]:
    """The classes whose rows and columns are shown: all, or those that are taken for another, or another for them."""
    classes = len(matrix) - 1
    if classes <= MOST_IN_MATRIX:
        return list(range(classes))
    inner = matrix[:-1, :-1].copy()
    np.fill_diagonal(inner, 0)
    most = np.argsort(-(inner.sum(axis=0) + inner.sum(axis=1)), kind="stable")[:MOST_IN_MATRIX]
    return sorted(most.tolist())
