"""Region proposals against the ground truth of their image: what every training takes its examples from.

How well a proposal shows an object is their IoU. It is matched to the object of greatest IoU; of several to the one of
the lowest class, in the order in which classes are given, and of one class to the first (the release takes the first
maximum over its ``overlap(:, c)``). A proposal that overlaps no object is matched to none.

The rule of crowds (COCO's iscrowd, one box around objects that nobody told apart): a crowd is no object, so nothing is
matched to it and it is nobody's positive example. A proposal of which at least half lies in a crowd is likely to show
one of its objects, so it is no negative of the crowd's class and no background. Half is where COCO's evaluation at an
IoU of 0.5 starts to forgive a detection in a crowd. Each stage says which range of IoU it wants, and none says more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.geometry.boxes import covered, iou
from sppcli.structures import Annotations, BoolArray, IntArray

Float64 = npt.NDArray[np.float64]

CROWD_COVER = 0.5
"""A proposal with at least this share inside a crowd is no negative example."""


@dataclass(frozen=True)
class Matches:
    """N proposals against the objects of K classes.

    | field | shape | dtype | meaning |
    |---|---|---|---|
    | overlap | (N, K) | float64 | greatest IoU with an object of the class, 0 without one; crowds are no objects |
    | in_crowd | (N, K) | bool | at least half of the proposal lies in a crowd of the class |
    | iou | (N,) | float64 | greatest IoU with any object |
    | label | (N,) | int64 | class of the object matched, -1 if the proposal overlaps none |
    | match | (N,) | int64 | that object's index in the annotations, -1 if the proposal overlaps none |
    """

    overlap: Float64
    in_crowd: BoolArray
    iou: Float64
    label: IntArray
    match: IntArray

    def positives(self, at_least: float, strict: bool = False) -> IntArray:
        """Indices of proposals matched with an IoU of ``at_least``, or with ``strict`` above it."""
        enough = self.iou > at_least if strict else self.iou >= at_least
        return np.flatnonzero(enough & (self.label >= 0))

    def background(self, at_least: float, below: float) -> IntArray:
        """Indices of proposals whose greatest IoU lies in [at_least, below) and that lie in no crowd."""
        return np.flatnonzero((self.iou >= at_least) & (self.iou < below) & ~self.in_crowd.any(axis=1))

    def negatives(self, below: float) -> BoolArray:
        """(N, K): whether a proposal overlaps every object of the class by less than ``below``, outside its crowds."""
        return (self.overlap < below) & ~self.in_crowd


def match(boxes: npt.NDArray[np.floating], truth: Annotations, classes: Sequence[str]) -> Matches:
    """Match ``boxes`` (N, 4) to the objects of ``classes``; objects and crowds of other classes are not looked at.

    Source: release-style region database (``overlap(:, c)`` = greatest IoU with the objects of class c), R-CNN.
    """
    pairs = iou(boxes, truth.boxes)
    inside = covered(boxes, truth.boxes) >= CROWD_COVER
    overlap = np.zeros((len(boxes), len(classes)))
    in_crowd = np.zeros((len(boxes), len(classes)), dtype=np.bool_)
    firsts = np.full((len(boxes), len(classes)), -1, dtype=np.int64)
    for k, name in enumerate(classes):
        mine = truth.of_class(name)
        objects = np.flatnonzero(mine & ~truth.crowd)
        if len(objects):
            overlap[:, k] = pairs[:, objects].max(axis=1)
            firsts[:, k] = objects[pairs[:, objects].argmax(axis=1)]
        in_crowd[:, k] = inside[:, mine & truth.crowd].any(axis=1)
    if not len(classes):
        none = np.full(len(boxes), -1, dtype=np.int64)
        return Matches(overlap, in_crowd, np.zeros(len(boxes)), none, none)
    best = overlap.argmax(axis=1)
    greatest = overlap[np.arange(len(boxes)), best]
    some = greatest > 0
    label = np.where(some, best, -1)
    return Matches(overlap, in_crowd, greatest, label, np.where(some, firsts[np.arange(len(boxes)), best], -1))
