"""What the report's page says, in the order of the page; `render` puts it into HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sppcli.report.page.pictures import Picture
from sppcli.structures import IntArray


@dataclass(frozen=True)
class ClassRow:
    """One class: its objects and detections, and AP by rule; None where there is no object."""

    name: str
    objects: int
    detections: int
    voc: float | None
    ap50: float | None
    ap75: float | None
    ap: float | None
    sizes: tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class ErrorRow:
    """One kind of error: how many, and the AP that mending it would gain; ``of_class``: counts of each class."""

    name: str
    meaning: str
    count: int
    cost: float
    of_class: Sequence[int]


@dataclass(frozen=True)
class SizeRow:
    """Objects of one size, COCO's: ``objects`` that count, and AP over all classes."""

    name: str
    meaning: str
    objects: int
    ap: float | None


@dataclass(frozen=True)
class Panel:
    """A chart with its heading."""

    title: str
    note: str
    chart: Markup


@dataclass(frozen=True)
class LabelRow:
    """Objects of one class in the data set: in all images, difficult ones among them, in each split."""

    name: str
    objects: int
    difficult: int
    splits: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What the annotations of the data set hold: images without an object, and without annotation; ``sides``: (from,
    to, objects) in pixels.
    """

    images: int
    empty: int
    unannotated: int
    rows: Sequence[LabelRow]
    splits: Sequence[str]
    sides: Sequence[tuple[int, int, int]]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What the slider moves through.

    ``values``: thresholds, ascending; ``start``: the step at which the page opens, and ``why`` there; ``reset``: name
    of the button that leads back to it; ``hits``, ``false`` (K, S) and ``npos`` (K,): see
    `evaluation.thresholds.Tally`; ``changes``: (row, column, [step, count, …]) of the confusion matrix; ``shown``:
    classes of the matrix, by index; ``hidden``: class -> [step, count, …] of its objects that are taken for a class
    that is not shown; ``what``: score or probability.
    """

    values: Sequence[float]
    start: int
    why: str
    reset: str
    what: str
    hits: IntArray
    false: IntArray
    npos: IntArray
    changes: Sequence[tuple[int, int, list[int]]]
    shown: Sequence[int]
    hidden: Mapping[int, list[int]]
    matrix: IntArray

    def total(self) -> dict[str, int]:
        """Counts of all classes together where the page opens."""
        hits, false = int(self.hits[:, self.start].sum()), int(self.false[:, self.start].sum())
        return {"hits": hits, "false": false, "npos": int(self.npos.sum())}


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How far probabilities can be believed. ``error``: expected calibration error."""

    error: float
    panel: Panel


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything on the page."""

    title: str
    data: str
    split: str
    iou: float
    strict_iou: float
    images: int
    objects: int
    detections: int
    map_voc: float | None
    coco: Mapping[str, float | None]
    classes: Sequence[ClassRow]
    curves: Sequence[Panel]
    errors: Sequence[ErrorRow]
    error_ap: float | None
    all_false: float
    all_missed: float
    not_found: int
    sizes: Sequence[SizeRow]
    thresholds: Thresholds
    by_threshold: Sequence[Panel]
    pictures: Sequence[Picture]
    pictures_of: int
    labels: Labels
    calibration: Calibration | None
    made: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    remarks: Sequence[str]

    @property
    def has_difficult(self) -> bool:
        """Whether a difficult object is on one of the pictures."""
        return any(shape.kind == "difficult" for picture in self.pictures for shape in picture.shapes)
