"""Values that modules exchange, validated on construction.

Boxes are float32, ``(N, 4)``, ``x0 y0 x1 y1``, 0-based and half-open, in pixels of the original image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sppcli.errors import BadInput

Boxes = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating]
Floats64 = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
ByteImage = npt.NDArray[np.uint8]


def as_boxes(values: npt.ArrayLike, where: str = "boxes") -> Boxes:
    """Return ``values`` as boxes, or say what is wrong with them.

    Args:
        values: anything array-like of shape (N, 4); an empty list gives shape (0, 4).
        where: named in the error.

    Raises:
        BadInput: wrong shape, a number that is not finite, or a box whose end lies before its start.
    """
    boxes = np.asarray(values, dtype=np.float32)
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise BadInput(f"{where}: expected rows of x0 y0 x1 y1, got an array of shape {boxes.shape}")
    if not np.isfinite(boxes).all():
        raise BadInput(f"{where}: a coordinate is not a finite number")
    backwards = (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
    if backwards.any():
        raise BadInput(f"{where}: box {int(np.argmax(backwards))} ends before it starts")
    return boxes


@dataclass(frozen=True)
class ImageItem:
    """One image of a data set: its id (unique, stable), and where it lies."""

    id: str
    path: Path


@dataclass(frozen=True, order=True)
class ImageRef:
    """An image of a features file by its ``index`` there, or its horizontal mirror image."""

    index: int
    mirrored: bool = False

    @property
    def mirror(self) -> ImageRef:
        return ImageRef(self.index, not self.mirrored)


@dataclass(frozen=True)
class Annotations:
    """Ground truth of one image.

    ``boxes`` (N, 4) float32; ``labels`` N class names; ``difficult`` (N,) bool, VOC's flag; ``crowd`` (N,) bool, a
    group of objects in one box (COCO's iscrowd), by default none: crowds are difficult too, and no positives.
    """

    boxes: Boxes
    labels: tuple[str, ...]
    difficult: BoolArray
    crowd: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    def __post_init__(self) -> None:
        if not len(self.crowd):
            object.__setattr__(self, "crowd", np.zeros(len(self.labels), dtype=np.bool_))
        if not len(self.boxes) == len(self.labels) == len(self.difficult) == len(self.crowd):
            raise ValueError("boxes, labels, difficult and crowd differ in length")

    @classmethod
    def empty(cls) -> Annotations:
        return cls(as_boxes([]), (), np.zeros(0, dtype=np.bool_))

    def of_class(self, name: str) -> BoolArray:
        """Mask (N,) of the objects of class ``name``."""
        return np.array([label == name for label in self.labels], dtype=np.bool_)

    def only(self, kept: Sequence[bool]) -> Annotations:
        """The objects that ``kept`` (N,) is true of."""
        mask = np.array(kept, dtype=np.bool_)
        labels = tuple(name for name, keep in zip(self.labels, kept, strict=True) if keep)
        return Annotations(self.boxes[mask], labels, self.difficult[mask], self.crowd[mask])


@dataclass(frozen=True)
class ImageDetections:
    """``boxes`` (N, 4), ``scores`` (N,), ``labels`` (N,) indices into the SVMs' classes; by class, best first.

    ``probabilities`` (N,) float32: that a detection is right, where the detector is calibrated.
    """

    boxes: Boxes
    scores: FloatArray
    labels: IntArray
    probabilities: FloatArray | None = None


@dataclass(frozen=True)
class Found:
    """What was found in one image of id ``id``; ``path``: below the data set's root; ``size``: height, width."""

    id: str
    path: str
    size: tuple[int, int]
    detections: ImageDetections


@dataclass(frozen=True)
class Detections:
    """Detections over a list of images, one row each, in no particular order.

    ``image`` (N,) int64 index into ``image_ids``; ``label`` (N,) int64 index into ``classes``;
    ``boxes`` (N, 4) float32; ``scores`` (N,) float32.
    """

    image_ids: tuple[str, ...]
    classes: tuple[str, ...]
    image: IntArray
    label: IntArray
    boxes: Boxes
    scores: FloatArray

    def __post_init__(self) -> None:
        if not len(self.image) == len(self.label) == len(self.boxes) == len(self.scores):
            raise ValueError("image, label, boxes and scores differ in length")

    @classmethod
    def of_images(cls, found: Sequence[Found], classes: tuple[str, ...]) -> Detections:
        """The detections of many images as one table."""
        counts = [len(item.detections.scores) for item in found]
        return cls(
            tuple(item.id for item in found),
            classes,
            np.repeat(np.arange(len(found), dtype=np.int64), counts),
            np.concatenate([np.zeros(0, np.int64), *(item.detections.labels for item in found)]),
            np.concatenate([np.zeros((0, 4), np.float32), *(item.detections.boxes for item in found)]),
            np.concatenate([np.zeros(0, np.float32), *(item.detections.scores for item in found)]),
        )

    def of_image(self, index: int) -> Detections:
        return self.only(self.image == index)

    def only(self, mask: BoolArray) -> Detections:
        """The rows where ``mask`` (N,) says so, of the same images and classes."""
        return Detections(
            self.image_ids, self.classes, self.image[mask], self.label[mask], self.boxes[mask], self.scores[mask]
        )


@dataclass(frozen=True)
class WrittenDetections:
    """Detections as COCO's result files write them, in double precision: not one bit is lost on the way to their score.

    As `Detections`, but ``xywh`` (N, 4) float64 x y width height and ``scores`` (N,) float64, in the order of the file.
    """

    image_ids: tuple[str, ...]
    classes: tuple[str, ...]
    image: IntArray
    label: IntArray
    xywh: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if not len(self.image) == len(self.label) == len(self.xywh) == len(self.scores):
            raise ValueError("image, label, xywh and scores differ in length")

    @classmethod
    def of(cls, found: Detections) -> WrittenDetections:
        """What a file of ``found`` holds when its numbers are written in full."""
        corners = found.boxes.astype(np.float64)
        xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        scores = found.scores.astype(np.float64)
        return cls(found.image_ids, found.classes, found.image, found.label, xywh, scores)


@dataclass(frozen=True)
class Skipped:
    """An input that was left out of a result, and why."""

    name: str
    reason: str


MAX_LOCALISATIONS = 5
"""Localisations of one image that ILSVRC's top-5 error reads."""


@dataclass(frozen=True)
class Localisations:
    """At most five predicted objects of one image, the surest first: ``labels`` and ``boxes`` (N, 4)."""

    labels: tuple[str, ...]
    boxes: Boxes

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.boxes) or len(self.labels) > MAX_LOCALISATIONS:
            raise ValueError(f"labels and boxes differ in length, or are more than {MAX_LOCALISATIONS}")


@dataclass(frozen=True)
class ScoreMap:
    """How the scores of one class become probabilities: a map that never falls, so that no order changes.

    ``knots`` (N, 2) float64, scores and probabilities, both rising: linear between them, constant beyond them
    (isotonic regression). Without knots the sigmoid 1 / (1 + exp(-(slope x + intercept))) of the score x, or with
    ``logit`` of log(x / (1 - x)), for scores that are probabilities themselves (Platt's method).
    """

    method: str
    knots: Floats64
    slope: float = 0.0
    intercept: float = 0.0
    logit: bool = False

    def __call__(self, scores: Floats) -> Floats64:
        """Probabilities (N,) of ``scores`` (N,)."""
        values = np.asarray(scores, dtype=np.float64)
        if len(self.knots):
            return np.interp(values, self.knots[:, 0], self.knots[:, 1])
        if self.logit:
            inside = np.clip(values, 1e-7, 1 - 1e-7)
            values = np.log(inside / (1 - inside))
        return np.asarray(1 / (1 + np.exp(-np.clip(self.slope * values + self.intercept, -500, 500))))

    def lowest(self, probability: float, among: Floats) -> float:
        """The least of the scores ``among`` (N,) that has ``probability`` or more; infinity if none has."""
        there = np.asarray(among, dtype=np.float64)[self(among) >= probability]
        return float(there.min()) if len(there) else float("inf")


@dataclass(frozen=True)
class Calibration:
    """Probabilities and thresholds of a detector's classes, in the order of its labels.

    ``thresholds`` (K,) float64: of raw scores; a detection counts as an object if its score is above that of its class.
    """

    classes: tuple[str, ...]
    maps: tuple[ScoreMap, ...]
    thresholds: Floats64

    def __post_init__(self) -> None:
        if not len(self.classes) == len(self.maps) == len(self.thresholds):
            raise ValueError("classes, maps and thresholds differ in length")

    def probabilities(self, scores: Floats, labels: IntArray) -> FloatArray:
        """Probability (N,) float32 that each detection is right, from ``scores`` (N,) and ``labels`` (N,)."""
        found = np.zeros(len(scores), dtype=np.float32)
        for k, score_map in enumerate(self.maps):
            rows = labels == k
            found[rows] = score_map(np.asarray(scores)[rows])
        return found

    def shown(self, scores: Floats, labels: IntArray) -> BoolArray:
        """Whether each detection (N,) counts as an object: its score is above the threshold of its class."""
        return np.asarray(np.asarray(scores) > self.thresholds[labels], dtype=np.bool_)

    def applied(self, found: ImageDetections, thresholds: bool = True) -> ImageDetections:
        """``found`` with probabilities; with ``thresholds`` only what counts as an object."""
        kept = self.shown(found.scores, found.labels) if thresholds else np.ones(len(found.scores), np.bool_)
        scores, labels = found.scores[kept], found.labels[kept]
        return ImageDetections(found.boxes[kept], scores, labels, self.probabilities(scores, labels))
