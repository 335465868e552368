"""How tests compare picks that rest on scores of a matrix product (CONTRIBUTING.md, "Ties").

The same sum, made in another block, differs in its last bits from one processor to the next. So a test that works out
scores by itself takes two within `ROUNDING` of each other for equal, and asks of a choice only what holds for whichever
of the equals was chosen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ROUNDING = 1e-5
"""Scores are sums of some hundred float32 products of about 1; they differ by far less between processors."""


def slow_iou(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Of two boxes, one number after the other, written without the package's own."""
    ax0, ay0, ax1, ay1 = np.asarray(a, float).tolist()
    bx0, by0, bx1, by1 = np.asarray(b, float).tolist()
    w, h = min(ax1, bx1) - max(ax0, bx0), min(ay1, by1) - max(ay0, by0)
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - w * h)


def assert_suppressed(
    kept: npt.NDArray[np.floating], scored: npt.NDArray[np.floating], threshold: float, least: float = -np.inf
) -> list[int]:
    """``kept`` is what greedy non-maximum suppression leaves of ``scored``, both (N, 5): x0 y0 x1 y1 score.

    Every box kept is one that was scored, with its score, above ``least``; no two kept overlap by more than
    ``threshold``; every other box above ``least`` overlaps one kept that scores at least as much. Of different scores
    only the greedy choice is so; of equal ones either may go. Returns, for each row kept, its row in ``scored``.
    """
    rows: list[int] = []
    for row in kept:
        same = np.flatnonzero((scored[:, :4] == row[:4]).all(axis=1) & (np.abs(scored[:, 4] - row[4]) <= ROUNDING))
        assert len(same), f"{row.tolist()} was not scored"
        assert row[4] > least, f"{row.tolist()} scores no more than {least}"
        rows.append(int(same[np.abs(scored[same, 4] - row[4]).argmin()]))
    assert len(set(rows)) == len(rows), "a box was kept twice"
    for i, one in enumerate(kept):
        for other in kept[:i]:
            assert slow_iou(one[:4], other[:4]) <= threshold, f"{one.tolist()} and {other.tolist()} were both kept"
    for i in np.setdiff1d(np.flatnonzero(scored[:, 4] > least + ROUNDING), rows):
        box, score = scored[i, :4], scored[i, 4]
        over = [row for row in kept if row[4] >= score - ROUNDING and slow_iou(row[:4], box) > threshold]
        assert over, f"{scored[i].tolist()} was dropped, and no better box overlaps it"
    return rows
