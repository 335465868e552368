"""Recall of region proposals, by their number and by IoU threshold, and average recall.

An object is recalled at an IoU threshold t, by the first N proposals of its image, if one of them overlaps it by t or
more. A proposal may recall several objects, and has no class. Difficult objects are left out.

Average recall (AR) is twice the area under recall as a function of t from 0.5 to 1,

    AR = 2 * integral of recall(t) dt over 0.5 .. 1 = mean over objects of 2 * max(o - 0.5, 0),

with o the largest IoU of the object with a proposal; the second form is computed, exactly and without a grid.
It is 1 when every object is a proposal.

Sources: Hosang, Benenson, Dollár and Schiele, "What makes for effective detection proposals?", PAMI 2016, section 4.4
(they match a proposal to one object only; with many proposals per object the numbers hardly differ); Uijlings et al.,
IJCV 2013, for recall against the number of proposals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sppcli.geometry.boxes import iou
from sppcli.structures import Annotations, BoolArray, Boxes, as_boxes

Float64 = npt.NDArray[np.float64]

COUNTS = (10, 20, 50, 100, 200, 500, 1000, 2000)
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class ProposalRecall:
    """How well the proposals cover each of M objects, none of them difficult.

    | field | shape | dtype | meaning |
    |---|---|---|---|
    | labels | M | str | class of each |
    | counts | C | int | numbers of proposals to evaluate, rising |
    | overlap | (M, C + 1) | float64 | largest IoU with the first counts[i] proposals of its image, last with all |
    | windows | | float | mean number of proposals per image |
    """

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    overlap: Float64
    windows: float

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted names of the classes of the objects."""
        return tuple(sorted(set(self.labels)))

    def of_class(self, name: str) -> ProposalRecall:
        """The objects of one class."""
        mask: BoolArray = np.array([label == name for label in self.labels], dtype=np.bool_)
        return ProposalRecall((name,) * int(mask.sum()), self.counts, self.overlap[mask], self.windows)

    def recall(self, thresholds: Sequence[float] | Float64 = THRESHOLDS) -> Float64:
        """Share of the objects recalled, (thresholds, C + 1) float64, at an IoU of each threshold or more.

        NaN where there is no object.
        """
        if not len(self.overlap):
            return np.full((len(thresholds), len(self.counts) + 1), np.nan)
        reached = self.overlap[None, :, :] >= np.asarray(thresholds, dtype=np.float64)[:, None, None]
        return np.asarray(reached.mean(axis=1), dtype=np.float64)

    def average_recall(self) -> Float64:
        """AR by number of proposals, (C + 1,) float64; NaN where there is no object."""
        if not len(self.overlap):
            return np.full(len(self.counts) + 1, np.nan)
        return np.asarray(2 * np.maximum(self.overlap - 0.5, 0).mean(axis=0), dtype=np.float64)


def reach(
    windows: Mapping[str, Boxes], annotations: Mapping[str, Annotations], counts: Sequence[int] = COUNTS
) -> ProposalRecall:
    """The largest overlap of each object with the first proposals of its image.

    Args:
        windows: image id -> (N, 4) float32 in their order; an image that is not there has none.
        annotations: image id -> ground truth, of every image evaluated.
        counts: numbers of proposals to evaluate, at least 1, rising; all proposals are evaluated besides.
    """
    labels: list[str] = []
    rows = [np.zeros((0, len(counts) + 1))]
    for image_id, truth in annotations.items():
        easy = ~truth.difficult
        labels += [label for label, keep in zip(truth.labels, easy, strict=True) if keep]
        rows.append(_best(windows.get(image_id, as_boxes([])), truth.boxes[easy], counts))
    total = sum(len(windows.get(image_id, ())) for image_id in annotations)
    return ProposalRecall(tuple(labels), tuple(counts), np.concatenate(rows), total / max(1, len(annotations)))


def _best(windows: Boxes, objects: Boxes, counts: Sequence[int]) -> Float64:
    """Largest IoU of each object (M, 4) with the first counts[i] proposals (N, 4), and with all: (M, C + 1)."""
    if not len(windows) or not len(objects):
        return np.zeros((len(objects), len(counts) + 1))
    best = np.maximum.accumulate(iou(objects, windows), axis=1)
    return np.asarray(best[:, [min(count, len(windows)) - 1 for count in (*counts, len(windows))]], dtype=np.float64)
