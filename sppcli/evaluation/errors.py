"""What kinds of errors a detector makes, and what each costs in average precision, after TIDE.

A false positive is of the first kind that fits, where IoU is with the object that it overlaps most:

| kind | a false positive that |
|---|---|
| localisation | overlaps an object of its class, IoU from 0.1 to 0.5 |
| classification | overlaps an object of another class, IoU 0.5 or more |
| duplicate | overlaps an object of its class, IoU 0.5 or more, which a better detection has found |
| background | overlaps nothing, IoU below 0.1 |
| both | is left: it overlaps an object of another class, IoU from 0.1 to 0.5 |

and *missed* is every object that is not found and that no localisation or classification error is about.

The cost of a kind is the AP gained by an oracle that mends all errors of this kind and no other: of a localisation or
classification error it makes the true positive that was meant (the best one for each object; those about an object
that is found already go away), other false positives it removes, and missed objects it no longer counts. Costs do not
add up to what is missing to AP 1, as mending one kind changes what another costs.

Difficult objects count as the devkit counts them: nothing on them is an error. A false positive may be about a
difficult object (of another class, or with too small an IoU); mended, it is neither hit nor miss.

Source: Bolya, Foley, Hays, Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020,
section 2, and its program (github.com/dbolya/tide) for the order of the kinds. AP is here the area under the curve.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.evaluation.verdicts import Verdicts
from sppcli.evaluation.voc_ap import ap_area, grouped
from sppcli.geometry.boxes import iou as overlaps
from sppcli.structures import BoolArray, IntArray

Float64 = npt.NDArray[np.float64]

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND, MISSED = KINDS
NONE = -1
_MENDED = (CLASSIFICATION, LOCALISATION)


@dataclass(frozen=True)
class Errors:
    """The kind of every error.

    ``kind`` (N,) int64 index into `KINDS` for each detection of the `Verdicts`, `NONE` for what is no false positive;
    ``target`` (N,) int64 the object that a localisation or classification error is about, else -1; ``missed`` (M,)
    bool for each object. ``other`` (N,) int64 the object of another class that a false positive overlaps most, -1 for
    none, and ``other_iou`` (N,) float64 the IoU with it.
    """

    verdicts: Verdicts
    kind: IntArray
    target: IntArray
    missed: BoolArray
    other: IntArray
    other_iou: Float64

    def counts(self) -> dict[str, int]:
        """Errors of each kind."""
        found = {name: int(np.count_nonzero(self.kind == number)) for number, name in enumerate(KINDS)}
        return {**found, MISSED: int(np.count_nonzero(self.missed))}

    def of_class(self) -> dict[str, IntArray]:
        """Kind -> errors of each class (K,): that of the detection or, if it is missed, of the object."""
        verdicts, number = self.verdicts, len(self.verdicts.classes)
        table = {name: np.bincount(verdicts.label[self.kind == i], minlength=number) for i, name in enumerate(KINDS)}
        return {**table, MISSED: np.bincount(verdicts.objects.label[self.missed], minlength=number)}


@dataclass(frozen=True)
class Costs:
    """``ap``: the mean AP as it is; ``gain``: kind -> AP gained by mending it; the other two: by removing every false
    positive, and by no longer counting any object that is not found. None where there is no object.
    """

    ap: float | None
    gain: dict[str, float]
    false_positives: float
    false_negatives: float


def find_errors(verdicts: Verdicts, background: float = 0.1) -> Errors:
    """Give every false positive its kind, and tell the missed objects.

    Args:
        verdicts: whose ``iou`` divides found from not found.
        background: IoU below which a detection is about no object.
    """
    other, other_iou = _most_overlapped_of_others(verdicts)
    found, false = verdicts.iou, verdicts.fp
    kind = np.full(len(verdicts.rows), NONE, dtype=np.int64)
    target = np.full(len(verdicts.rows), -1, dtype=np.int64)
    rules = (
        (LOCALISATION, (verdicts.own_iou >= background) & (verdicts.own_iou < found), verdicts.own),
        (CLASSIFICATION, other_iou >= found, other),
        (DUPLICATE, verdicts.own_iou >= found, None),
        (BACKGROUND, np.maximum(verdicts.own_iou, other_iou) < background, None),
        (BOTH, np.ones(len(kind), dtype=np.bool_), None),
    )
    for name, fits, about in rules:
        chosen = false & (kind == NONE) & fits
        kind[chosen] = KINDS.index(name)
        if about is not None:
            target[chosen] = about[chosen]
    objects = verdicts.objects
    missed = objects.counted.copy()
    missed[verdicts.own[verdicts.tp]] = False
    missed[target[target >= 0]] = False
    return Errors(verdicts, kind, target, missed, other, other_iou)


def costs(errors: Errors) -> Costs:
    """What each kind costs, in mean AP over the classes with objects."""
    verdicts = errors.verdicts
    now = mean_ap(errors, ())
    if now is None:
        return Costs(None, dict.fromkeys(KINDS, 0.0), 0.0, 0.0)
    gain = {name: (mean_ap(errors, (name,)) or 0.0) - now for name in KINDS}
    tp, none = verdicts.tp, np.zeros(len(verdicts.tp), dtype=np.bool_)
    clean = _mean(verdicts, verdicts.label, tp, none, verdicts.npos())
    hits = np.bincount(verdicts.label[tp], minlength=len(verdicts.classes))
    complete = _mean(verdicts, verdicts.label, tp, verdicts.fp, hits)
    return Costs(now, gain, (clean or 0.0) - now, (complete or 0.0) - now)


def mean_ap(errors: Errors, mended: Collection[str]) -> float | None:
    """Mean AP over the classes with objects, once all errors of the kinds ``mended`` are; None without objects.

    With all `KINDS` mended it is 1.
    """
    verdicts, objects = errors.verdicts, errors.verdicts.objects
    touched = np.isin(errors.kind, [KINDS.index(name) for name in mended])
    tp, fp, label = verdicts.tp.copy(), verdicts.fp & ~touched, verdicts.label.copy()
    # Of the errors about one object that nothing finds, the first in the order of counting is the one that is mended.
    free = objects.counted.copy()
    free[verdicts.own[verdicts.tp]] = False
    about = np.flatnonzero(touched & (errors.target >= 0))
    about = about[free[errors.target[about]]]
    _, first = np.unique(errors.target[about], return_index=True)
    mend = about[first]
    tp[mend], label[mend] = True, objects.label[errors.target[mend]]
    npos = verdicts.npos()
    if MISSED in mended:
        npos = npos - np.bincount(objects.label[errors.missed], minlength=len(npos))
    return _mean(verdicts, label, tp, fp, npos)


def _mean(verdicts: Verdicts, label: IntArray, tp: BoolArray, fp: BoolArray, npos: IntArray) -> float | None:
    """Mean AP over the classes that have objects; 1 for one of which no object is left to be found."""
    values: list[float] = []
    for name, rows in enumerate(grouped(label, len(verdicts.classes))):
        if verdicts.npos()[name]:
            values.append(ap_area(tp[rows], fp[rows], int(npos[name])) if npos[name] else 1.0)
    return float(np.mean(values)) if values else None


def _most_overlapped_of_others(verdicts: Verdicts) -> tuple[IntArray, Float64]:
    """For each false positive the object of another class that it overlaps most, and the IoU; -1 and 0 for none."""
    objects = verdicts.objects
    best, best_iou = np.full(len(verdicts.rows), -1, dtype=np.int64), np.zeros(len(verdicts.rows))
    false = np.flatnonzero(verdicts.fp)
    number = len(verdicts.image_ids)
    pairs: Sequence[tuple[IntArray, IntArray]] = list(
        zip(grouped(verdicts.image[false], number), grouped(objects.image, number), strict=True)
    )
    for rows, here in pairs:
        if not len(rows) or not len(here):
            continue
        mine = false[rows]
        table = overlaps(verdicts.boxes[mine], objects.boxes[here])
        table[verdicts.label[mine][:, None] == objects.label[here][None]] = 0
        column = table.argmax(axis=1)
        highest = table[np.arange(len(mine)), column]
        best[mine[highest > 0]] = here[column[highest > 0]]
        best_iou[mine] = highest
    return best, best_iou
