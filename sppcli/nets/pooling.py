"""Pyramid pooling of many windows from one conv map, compiled: what detection spends its pooling time in.

Counting for 2,000 windows, 50 bins, 256 channels: the result alone is 2,000 * 12,800 * 4 = 102 MB to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from sppcli.compiled import njit
from sppcli.engine.cpus import cpu_threads
from sppcli.structures import FloatArray

Int64 = npt.NDArray[np.int64]


@njit()
def _pool(
    conv_map: FloatArray,
    cells: Int64,
    rows: Int64,
    levels: Int64,
    sources: Int64,
    starts: Int64,
    out: FloatArray,
) -> None:
    channels = conv_map.shape[2]
    for i in range(cells.shape[0]):
        w = rows[i]
        x0, y0 = cells[i, 0], cells[i, 1]
        width, height = cells[i, 2] - x0, cells[i, 3] - y0
        for a in range(levels.shape[0]):
            n = levels[a]
            for row in range(n):
                for column in range(n):
                    target = out[w, starts[a] + row * n + column]
                    if sources[a] >= 0:
                        # Bin i of n is the union of the bins i*k .. i*k+k-1 of the level n*k: pool those.
                        b = sources[a]
                        m = levels[b]
                        k = m // n
                        first = starts[b] + row * k * m + column * k
                        target[:] = out[w, first]
                        for r in range(k):
                            for c in range(k):
                                other = out[w, first + r * m + c]
                                for z in range(channels):
                                    target[z] = max(target[z], other[z])
                    else:
                        top, bottom = y0 + row * height // n, y0 + ((row + 1) * height + n - 1) // n
                        left, right = x0 + column * width // n, x0 + ((column + 1) * width + n - 1) // n
                        target[:] = conv_map[top, left]
                        for y in range(top, bottom):
                            for x in range(left, right):
                                cell = conv_map[y, x]
                                for z in range(channels):
                                    target[z] = max(target[z], cell[z])


def pool_windows(
    conv_map: FloatArray,
    cells: Int64,
    levels: Sequence[int],
    out: FloatArray | None = None,
    rows: Int64 | None = None,
) -> FloatArray:
    """Max-pool each window of a conv map into the pyramid's bins.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | conv_map | (H, W, C) | float32 | channels last |
    | cells | (N, 4) | int64 | x0 y0 x1 y1 in cells, half-open, inside the map, not empty |
    | levels | (L,) | | bins a side: 6, 3, 2, 1 |
    | out | (M, bins * C) | float32 | optional, contiguous: filled and returned |
    | rows | (N,) | int64 | optional: the row of ``out`` that each window goes to; by default 0, 1, 2 … |
    | returns | (N, bins * C) | float32 | layout as in `pyramid`; ``out`` if given |

    Bins are those of Appendix A (golden cases ``bins`` and ``pooling``; the release starts its maximum at 0, which
    is the same on maps after a ReLU). A level that divides a finer level is pooled from it, which gives the
    same bins exactly: floor(i H / n) = floor(i k H / (n k)).

    Raises:
        ValueError: a window that is empty or leaves the map, levels that are not positive, or an ``out`` or ``rows``
            that does not fit.
    """
    levels = tuple(int(n) for n in levels)
    if not levels or min(levels) < 1:
        raise ValueError(f"pyramid levels must be positive: {levels}")
    height, width, channels = conv_map.shape
    cells = np.ascontiguousarray(cells, dtype=np.int64).reshape(-1, 4)
    if len(cells) and not (
        (cells[:, :2] >= 0).all()
        and (cells[:, 2:] > cells[:, :2]).all()
        and (cells[:, 2] <= width).all()
        and (cells[:, 3] <= height).all()
    ):
        raise ValueError(f"a window is empty or leaves the map of {height} x {width} cells")
    bins = sum(n * n for n in levels)
    if out is None:
        out = np.empty((len(cells), bins * channels), dtype=np.float32)
    elif out.ndim != 2 or out.shape[1] != bins * channels or not out.flags.c_contiguous:
        # A view of anything else would be filled in a copy, and ``out`` returned as it was.
        raise ValueError(f"out must be contiguous rows of {bins * channels} numbers")
    rows = np.arange(len(cells)) if rows is None else rows
    if len(rows) != len(cells) or (len(rows) and (rows.min() < 0 or rows.max() >= len(out))):
        raise ValueError("rows must name one row of out for each window")
    result = out.reshape(len(out), bins, channels)
    # Finest level first, so that coarser ones can be pooled from it.
    order = sorted(range(len(levels)), key=lambda i: -levels[i])
    offsets = np.cumsum([0, *(n * n for n in levels)])
    sizes = np.array([levels[i] for i in order], dtype=np.int64)
    starts = np.array([offsets[i] for i in order], dtype=np.int64)
    sources = np.array([_finer(sizes, a) for a in range(len(sizes))], dtype=np.int64)
    conv_map = np.ascontiguousarray(conv_map, dtype=np.float32)
    threads = min(cpu_threads(), max(1, len(cells) // 16))
    jobs = [
        (part, chosen)
        for part, chosen in zip(np.array_split(cells, threads), np.array_split(rows, threads), strict=True)
        if len(part)
    ]
    if len(jobs) == 1:
        _pool(conv_map, jobs[0][0], jobs[0][1], sizes, sources, starts, result)
    elif jobs:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda job: _pool(conv_map, job[0], job[1], sizes, sources, starts, result), jobs))
    return out


def _finer(sizes: Int64, a: int) -> int:
    """The coarsest level before ``a`` that ``sizes[a]`` divides, or -1: the fewest bins to read."""
    candidates = [b for b in range(a) if sizes[b] % sizes[a] == 0]
    return min(candidates, key=lambda b: int(sizes[b]), default=-1)
