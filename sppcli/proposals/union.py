"""The proposals of one image from several sources, joined without duplicates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sppcli.structures import Boxes, FloatArray


def unite(sources: Sequence[tuple[Boxes, FloatArray]]) -> tuple[Boxes, FloatArray]:
    """Boxes (N, 4) and scores (N,) of several sources as one list; of a single source, as they are.

    The sources take turns: the first proposal of each, then the second of each, so that the first N proposals of the
    union hold the first N / (number of sources) of each. A proposal that is exactly equal to an earlier one is left
    out. Scores of different sources cannot be compared: those of a union fall from 1 with the position.
    """
    if len(sources) == 1:
        return sources[0]
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(found for found, _ in sources)])
    turn = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(found)) for found, _ in sources)])
    boxes = distinct(boxes[np.argsort(turn, kind="stable")])
    return boxes, falling(len(boxes))


def distinct(boxes: Boxes) -> Boxes:
    """``boxes`` (N, 4) without those that are exactly equal to an earlier one, in the same order."""
    _, first = np.unique(boxes, axis=0, return_index=True)
    return boxes[np.sort(first)]


def falling(count: int) -> FloatArray:
    """Scores (count,) float32 that say the order and no more: from 1 down, above 0."""
    return np.linspace(1, 0, count, endpoint=False, dtype=np.float32)
