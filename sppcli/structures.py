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


@dataclass(frozen=True)
class ImageDetections:
    """``boxes`` (N, 4), ``scores`` (N,), ``labels`` (N,) indices into the SVMs' classes; by class, best first."""

    boxes: Boxes
    scores: FloatArray
    labels: IntArray


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
        return self._take(self.image == index)

    def _take(self, mask: BoolArray) -> Detections:
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
