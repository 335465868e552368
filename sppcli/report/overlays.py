"""What to draw on one image: detections judged against ground truth, proposals, or ground truth alone.

Boxes become marks (`drawing`) with a caption and the counts in it. A detection or proposal finds an object from an IoU
of 0.5 on, as in PASCAL VOC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.evaluation.voc_ap import match_detections
from sppcli.geometry.boxes import iou
from sppcli.report.drawing import WHITE, Colour, Key, Line, Mark
from sppcli.runtime.counts import count_of
from sppcli.structures import Annotations, BoolArray, Boxes, Detections, FloatArray, IntArray

FOUND = 0.5
FALSE, MISSED = "false", "missed"
_GREY: Colour = (125, 125, 125)
# Difficult objects, which count neither way.
_DIFFICULT: Colour = (150, 165, 180)
# Not among the first colours of classes.
_WINDOW: Colour = (255, 0, 110)


@dataclass(frozen=True)
class Overlay:
    """The marks of one image, and what they amount to. Counts are None where there is nothing to count them by.

    ``boxes``: number of detections or proposals; ``drawn``: how many of them are among the marks; ``objects``: number
    of objects that are not difficult; ``found``: how many of these a detection, or any proposal, finds.
    ``classes``: that occur among the marks. ``false``: false positives; ``difficult``: whether a difficult object is
    among the marks.
    """

    marks: tuple[Mark, ...]
    caption: str
    classes: frozenset[str]
    boxes: int | None = None
    drawn: int | None = None
    objects: int | None = None
    found: int | None = None
    false: int | None = None
    difficult: bool = False

    @property
    def mistakes(self) -> int:
        """False positives and missed objects."""
        return (self.false or 0) + (self.objects or 0) - (self.found or 0)


def detection_overlay(
    detections: Detections,
    truth: Annotations | None,
    colours: Mapping[str, Colour],
    min_score: float,
    max_boxes: int,
    only: str | None = None,
) -> Overlay:
    """Ground truth below, detections over it from the lowest score up; missed objects and false detections stand out.

    Args:
        detections: of one image.
        truth: None if there is none; then nothing is called false.
        colours: of every class that occurs.
        min_score: detections with a lower score are left out and find no object.
        max_boxes: how many are drawn at most, highest scores first; all of them are judged.
        only: draw `FALSE` positives or `MISSED` objects alone; or the detections and objects of this class, which
            then are those that are counted.
    """
    if only not in (None, FALSE, MISSED):
        detections, truth = _of_class(detections, truth, str(only))
    kept = np.flatnonzero(detections.scores >= min_score)
    kept = kept[np.argsort(-detections.scores[kept], kind="stable")]
    false, found = judge(detections, kept, truth or Annotations.empty())
    drawable = kept[false[kept]] if only == FALSE else kept[:0] if only == MISSED else kept
    shown = drawable[:max_boxes]
    marks: list[Mark] = []
    names = {detections.classes[i] for i in detections.label[shown]}
    if truth is not None:
        names |= set(truth.labels)
        for i, label in enumerate(truth.labels):
            missed = not found[i] and not truth.difficult[i]
            if only != FALSE and (missed or only != MISSED):
                colour = _DIFFICULT if truth.difficult[i] else WHITE
                marks.append(
                    Mark(_corners(truth.boxes[i]), colour, "dashed", f"missed {label}" if missed else "", label)
                )
    for i in shown[::-1]:
        name, score = detections.classes[detections.label[i]], f"{detections.scores[i]:.2f}"
        line: Line = "dotted" if truth is not None and false[i] else "solid"
        marks.append(Mark(_corners(detections.boxes[i]), colours[name], line, f"{name} {score}", score))
    hidden = f" ({len(drawable) - len(shown)} more not drawn)" if len(drawable) > len(shown) else ""
    if truth is None:
        caption = f"{count_of(len(kept), 'detection')}{hidden}"
        return Overlay(tuple(marks), caption, frozenset(names), len(kept), len(shown))
    objects, hits = int(np.count_nonzero(~truth.difficult)), int(np.count_nonzero(found))
    caption = f"{hits} of {objects} found, {np.count_nonzero(false)} false{hidden}"
    return Overlay(
        tuple(marks),
        caption,
        frozenset(names),
        len(kept),
        len(shown),
        objects,
        hits,
        int(np.count_nonzero(false)),
        difficult=any(mark.colour == _DIFFICULT for mark in marks),
    )


def _of_class(detections: Detections, truth: Annotations | None, name: str) -> tuple[Detections, Annotations | None]:
    mask = np.array([label == name for label in detections.classes], dtype=np.bool_)[detections.label]
    if truth is None:
        return detections.only(mask), None
    mine = truth.of_class(name)
    labels = tuple(label for label in truth.labels if label == name)
    return detections.only(mask), Annotations(truth.boxes[mine], labels, truth.difficult[mine], truth.crowd[mine])


def judge(detections: Detections, rows: IntArray, truth: Annotations) -> tuple[BoolArray, BoolArray]:
    """Which detections are false, and which objects are found, by VOC's rules.

    A second detection of an object is false; one of a difficult object is neither right nor false.

    Args:
        detections: (N) of one image.
        rows: those that take part.
        truth: the M objects of the image.

    Returns:
        false: (N,) bool; never for a row that takes no part.
        found: (M,) bool; never for a difficult object.
    """
    false = np.zeros(len(detections.scores), dtype=np.bool_)
    found = np.zeros(len(truth.labels), dtype=np.bool_)
    for label, name in enumerate(detections.classes):
        mine, theirs = rows[detections.label[rows] == label], np.flatnonzero(truth.of_class(name))
        matches = match_detections(
            detections.boxes[mine],
            np.zeros(len(mine), dtype=np.int64),
            detections.scores[mine],
            truth.boxes[theirs],
            np.zeros(len(theirs), dtype=np.int64),
            truth.difficult[theirs],
            FOUND,
        )
        false[mine[matches.order[matches.fp]]] = True
        found[theirs[matches.gt[matches.tp]]] = True
    return false, found


def proposal_overlay(
    boxes: Boxes, scores: FloatArray, truth: Annotations | None, colours: Mapping[str, Colour], max_boxes: int
) -> Overlay:
    """The best proposals as thin lines; over them each object and the proposal that overlaps it most, with the IoU.

    Args:
        boxes, scores: (N, 4), (N,) proposals of one image.
        truth: None if there is none.
        colours: of every class that occurs.
        max_boxes: proposals drawn thin, highest scores first.
    """
    order = np.argsort(-scores, kind="stable")[:max_boxes]
    marks = [Mark(_corners(boxes[i]), _WINDOW, "thin") for i in order[::-1]]
    caption = f"{len(order):,} of {count_of(len(boxes), 'proposal')}"
    if truth is None:
        return Overlay(tuple(marks), caption, frozenset(), len(boxes), len(order))
    marks += [Mark(_corners(box), WHITE, "dashed") for box in truth.boxes]
    overlaps = iou(truth.boxes, boxes) if len(boxes) else np.zeros((len(truth.boxes), 1))
    best = overlaps.max(axis=1)
    for i, name in enumerate(truth.labels):
        if best[i] > 0:
            line: Line = "solid" if best[i] >= FOUND else "dotted"
            window = _corners(boxes[int(overlaps[i].argmax())])
            marks.append(Mark(window, colours[name], line, f"{name} {best[i]:.2f}", f"{best[i]:.2f}"))
    counted = best[~truth.difficult]
    found = int(np.count_nonzero(counted >= FOUND))
    if len(counted):
        caption += f", {found} of {count_of(len(counted), 'object')} covered"
    return Overlay(tuple(marks), caption, frozenset(truth.labels), len(boxes), len(order), len(counted), found)


def truth_overlay(truth: Annotations, colours: Mapping[str, Colour]) -> Overlay:
    """Every object of an image with its class."""
    marks = []
    for box, name, difficult in zip(truth.boxes, truth.labels, truth.difficult, strict=True):
        marks.append(Mark(_corners(box), colours[name], "dashed", f"{name} (difficult)" if difficult else name, name))
    hard = int(np.count_nonzero(truth.difficult))
    caption = count_of(len(marks), "object") + (f", {hard} of them difficult" if hard else "")
    return Overlay(tuple(marks), caption, frozenset(truth.labels), objects=len(marks) - hard)


def legend(what: str, overlays: Sequence[Overlay], colours: Mapping[str, Colour]) -> list[Key]:
    """The classes that occur on the pictures, and what their lines mean.

    Args:
        what: ``detections``, ``proposals`` or ``ground-truth``.
        overlays: of all the pictures.
        colours: class -> colour, in the order of the legend.
    """
    occurring = frozenset[str]().union(*(overlay.classes for overlay in overlays))
    line: Line = "dashed" if what == "ground-truth" else "solid"
    keys = [Key(name, colour, line) for name, colour in colours.items() if name in occurring]
    if what == "proposals":
        keys.append(Key("proposal", _WINDOW, "thin"))
    if what == "ground-truth" or all(overlay.objects is None for overlay in overlays):
        return keys
    if what == "detections":
        lines = {mark.line for overlay in overlays for mark in overlay.marks}
        if lines == {"dashed"}:  # objects alone
            keys = []
        else:
            keys += [Key(f"right (IoU >= {FOUND:g})", _GREY), Key("false", _GREY, "dotted")]
        keys.append(Key("ground truth, named where missed", WHITE, "dashed"))
        if any(overlay.difficult for overlay in overlays):
            keys.append(Key("difficult object, counts neither way", _DIFFICULT, "dashed"))
        return keys
    keys += [Key(f"an object's best proposal (IoU >= {FOUND:g})", _GREY), Key("IoU below", _GREY, "dotted")]
    return [*keys, Key("ground truth", WHITE, "dashed")]


def _corners(box: npt.NDArray[np.floating]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(value) for value in box)
    return x0, y0, x1, y1
