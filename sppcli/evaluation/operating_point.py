"""What a threshold on the scores gives: precision, recall and F1; the threshold that gives the best; calibration error.

Detections are matched to objects as for AP at one IoU (`verdicts.judge_all`): on a difficult object or a crowd one
is neither right nor wrong, and takes no part here. Thresholds lie halfway between two scores, so that rounding decides
nothing, and a detection counts if its score is above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sppcli.errors import UsageProblem
from sppcli.evaluation.verdicts import judge_all
from sppcli.structures import Annotations, BoolArray, Calibration, Detections, Floats, Floats64

AT_IOU = 0.5
"""From which on a detection above a threshold is right, where AP is taken at other overlaps (COCO, ILSVRC)."""
BINS = 15
"""Bins of equal width that `calibration_error` compares probabilities and shares in (Guo et al. 2017)."""


@dataclass(frozen=True)
class Matched:
    """Detections of one class that are right or wrong, best score first, and the number of ``objects`` to find.

    ``scores`` (N,) float32; ``hits`` (N,) bool.
    """

    scores: Floats
    hits: BoolArray
    objects: int


@dataclass(frozen=True)
class Figures:
    """``shown`` detections above a threshold, ``hits`` of them right, of ``objects``."""

    shown: int
    hits: int
    objects: int

    @property
    def precision(self) -> float | None:
        """Share of what is shown that is right; None where nothing is shown."""
        return self.hits / self.shown if self.shown else None

    @property
    def recall(self) -> float | None:
        """Share of the objects that are found; None without objects."""
        return self.hits / self.objects if self.objects else None

    @property
    def f1(self) -> float | None:
        """2 hits / (shown + objects): the harmonic mean of both; None where there is neither."""
        return 2 * self.hits / (self.shown + self.objects) if self.shown + self.objects else None

    def __add__(self, other: Figures) -> Figures:
        return Figures(self.shown + other.shown, self.hits + other.hits, self.objects + other.objects)


@dataclass(frozen=True)
class Aim:
    """What a threshold is chosen for: the best F1, or the most of the other at a ``precision`` or ``recall``."""

    kind: str = "f1"
    value: float = 0.0

    @classmethod
    def of(cls, text: str) -> Aim:
        """Read ``f1``, ``precision=0.95`` or ``recall=0.9``.

        Raises:
            UsageProblem: anything else.
        """
        kind, _, number = text.partition("=")
        if text == "f1":
            return cls()
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if kind not in ("precision", "recall") or not 0 < value <= 1:
            raise UsageProblem(f"{text!r} says no aim; write f1, precision=0.95 or recall=0.9")
        return cls(kind, value)

    def __str__(self) -> str:
        return "f1" if self.kind == "f1" else f"{self.kind}={self.value:g}"


def matched(
    detections: Detections, annotations: Mapping[str, Annotations], classes: Sequence[str], iou: float = 0.5
) -> dict[str, Matched]:
    """Match the detections of each of ``classes`` to the objects of the images in ``annotations`` (by id)."""
    verdicts = judge_all(detections, annotations, classes, iou)
    counted, npos = verdicts.tp | verdicts.fp, verdicts.npos().tolist()
    found = {}
    for label, (name, objects) in enumerate(zip(classes, npos, strict=True)):
        rows = np.flatnonzero(counted & (verdicts.label == label))
        found[name] = Matched(verdicts.scores[rows], verdicts.tp[rows], objects)
    return found


def figures(found: Matched, threshold: float) -> Figures:
    """What scores above ``threshold``."""
    shown = np.asarray(found.scores, dtype=np.float64) > threshold
    return Figures(int(shown.sum()), int(found.hits[shown].sum()), found.objects)


def choose_threshold(found: Matched, aim: Aim) -> tuple[float, bool]:
    """The threshold that serves ``aim`` best, and whether it is reached at all.

    f1: the largest F1. precision=p: the largest recall among thresholds whose precision is p or more, or, where none
    has that, the largest precision. recall=r: the highest threshold whose recall is r or more, or else the lowest of
    all. Of equal ones the highest threshold. Without detections, or without objects, there is none: infinity.
    """
    if not len(found.scores) or not found.objects:
        return float("inf"), False
    scores = np.asarray(found.scores, dtype=np.float64)
    last = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))  # of each score, the last detection that has it
    hits, shown = np.cumsum(found.hits)[last], last + 1
    below = np.append(scores[last][1:], scores[-1] - 2e-3 * max(1.0, abs(scores[-1])))
    cuts = (scores[last] + below) / 2
    precision, recall = hits / shown, hits / found.objects
    if aim.kind == "f1":
        return float(cuts[np.argmax(2 * hits / (shown + found.objects))]), True
    if aim.kind == "precision":
        good = precision >= aim.value
        if not good.any():
            return float(cuts[np.argmax(precision)]), False
        return float(cuts[np.argmax(np.where(good, recall, -1.0))]), True
    good = recall >= aim.value
    return (float(cuts[np.argmax(good)]), True) if good.any() else (float(cuts[-1]), False)


def together(found: Sequence[Matched], probabilities: Sequence[Floats64]) -> Matched:
    """All classes as one, by probability instead of score."""
    values = np.concatenate([np.zeros(0), *probabilities])
    hits = np.concatenate([np.zeros(0, np.bool_), *(one.hits for one in found)])
    order = np.argsort(-values, kind="stable")
    return Matched(values[order], hits[order], sum(one.objects for one in found))


@dataclass(frozen=True)
class AtThreshold:
    """What a calibrated detector gives on images that it was not calibrated on.

    ``thresholds`` and ``figures`` by class; ``all_figures``: their sums; ``error``: expected calibration error of all
    detections that are right or wrong, ``error_shown``: of those above their threshold, None where there are none.
    """

    thresholds: dict[str, float]
    figures: dict[str, Figures]
    all_figures: Figures
    error: float | None
    error_shown: float | None


def at_threshold(found: Mapping[str, Matched], calibration: Calibration) -> AtThreshold:
    """Judge ``calibration`` by the detections ``found`` of each class; classes that it does not know have none."""
    at, thresholds = {}, {}
    likely: list[Floats64] = [np.zeros(0)]
    hits: list[BoolArray] = [np.zeros(0, np.bool_)]
    shown: list[BoolArray] = [np.zeros(0, np.bool_)]
    for name, one in found.items():
        known = name in calibration.classes
        k = calibration.classes.index(name) if known else -1
        thresholds[name] = float(calibration.thresholds[k]) if known else float("inf")
        at[name] = figures(one, thresholds[name])
        if known:
            likely.append(calibration.maps[k](one.scores))
            hits.append(one.hits)
            shown.append(np.asarray(one.scores, dtype=np.float64) > thresholds[name])
    probabilities, right, visible = np.concatenate(likely), np.concatenate(hits), np.concatenate(shown)
    return AtThreshold(
        thresholds,
        at,
        sum(at.values(), Figures(0, 0, 0)),
        calibration_error(probabilities, right),
        calibration_error(probabilities[visible], right[visible]),
    )


def calibration_error(probabilities: Floats, hits: BoolArray) -> float | None:
    """Expected calibration error: mean distance between probability and share of hits over `BINS` bins.

    Bins are weighted by their number of detections. None without any.
    """
    if not len(hits):
        return None
    values = np.asarray(probabilities, dtype=np.float64)
    bins = np.clip((values * BINS).astype(np.int64), 0, BINS - 1)
    gaps = np.bincount(bins, weights=hits - values, minlength=BINS)
    return float(np.abs(gaps).sum() / len(hits))
