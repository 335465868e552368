"""Greedy non-maximum suppression with the release's rules for ties (golden case ``nms``)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sppcli.runtime.compiled import njit


@njit()
def _suppress(boxes: npt.NDArray[np.float64], order: npt.NDArray[np.int64], threshold: float) -> npt.NDArray[np.int64]:
    n = order.shape[0]
    gone = np.zeros(n, dtype=np.bool_)
    picks = np.empty(n, dtype=np.int64)
    count = 0
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for a in range(n):
        if gone[a]:
            continue
        i = order[a]
        picks[count] = i
        count += 1
        for b in range(a + 1, n):
            if gone[b]:
                continue
            j = order[b]
            w = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
            h = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
            if w > 0 and h > 0:
                inter = w * h
                if inter / (areas[i] + areas[j] - inter) > threshold:
                    gone[b] = True
    return picks[:count]


def nms(
    boxes: npt.NDArray[np.floating], scores: npt.NDArray[np.floating], threshold: float = 0.3
) -> npt.NDArray[np.int64]:
    """Indices of the boxes kept, best score first.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | boxes | (N, 4) | float | x0 y0 x1 y1 half-open |
    | scores | (N,) | float | higher is better |
    | threshold | | float | a box is dropped when its IoU with a better one is strictly above this |
    | returns | (K,) | int64 | indices in order of selection |

    Of equal scores the higher index is picked first, as in the release.
    """
    order = np.argsort(scores, kind="stable")[::-1].astype(np.int64)
    return np.asarray(_suppress(np.ascontiguousarray(boxes, dtype=np.float64), order, float(threshold)))
