"""Compiled pyramid pooling of many regions from one conv map: what detection spends its pooling time in.

For 2,000 regions, 50 bins and 256 channels, the result alone is 2,000 * 12,800 * 4 = 102 MB to write. Less than that is
read: maps stay float16, where the maximum of numbers of one sign is a maximum of 16-bit integers, and a bin is read
from a map of 2 x 2 maxima, so that only a quarter of its cells is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from sppcli.runtime.compiled import njit
from sppcli.runtime.cpus import cpu_threads
from sppcli.structures import Floats

Int64 = npt.NDArray[np.int64]


@intrinsic
def _as_float(typing_context: Any, bits: Any) -> Any:
    """The float32 whose 32 bits an int32 holds."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return types.float32(types.int32), generate


@njit(inline="always")
def _largest(target: Any, a: Any, b: Any, c: Any, d: Any, first: bool) -> None:
    """``target`` becomes the maximum of four cells, and of itself unless they are the ``first``."""
    # Comparisons, not max(): they compile to one vector instruction.
    if first:
        for z in range(target.shape[0]):
            p = a[z] if a[z] > b[z] else b[z]
            q = c[z] if c[z] > d[z] else d[z]
            target[z] = p if p > q else q
    else:
        for z in range(target.shape[0]):
            p = a[z] if a[z] > b[z] else b[z]
            q = c[z] if c[z] > d[z] else d[z]
            p = p if p > q else q
            target[z] = p if p > target[z] else target[z]


@njit()
def _quads(conv_map: Any) -> Any:
    """(H - 1, W - 1, C): the maximum of each 2 x 2 cells."""
    height, width, channels = conv_map.shape
    out = np.empty((height - 1, width - 1, channels), conv_map.dtype)
    for y in range(height - 1):
        for x in range(width - 1):
            cells = conv_map[y, x], conv_map[y, x + 1], conv_map[y + 1, x], conv_map[y + 1, x + 1]
            _largest(out[y, x], cells[0], cells[1], cells[2], cells[3], True)
    return out


@njit()
def _pool_one(
    conv_map: Any, quads: Any, window: Any, levels: Any, sources: Any, starts: Any, sides: Any, out: Any
) -> None:
    """Pool one region into ``out`` (bins, C); ``sides`` (finest level, 2) is room to work in."""
    x0, y0 = window[0], window[1]
    width, height = window[2] - x0, window[3] - y0
    for a in range(levels.shape[0]):
        n = levels[a]
        if sources[a] >= 0:
            # Bin i of n is the union of the bins i*k .. i*k+k-1 of the level n*k: pool those.
            b = sources[a]
            m = levels[b]
            k = m // n
            for row in range(n):
                for column in range(n):
                    target = out[starts[a] + row * n + column]
                    start = starts[b] + row * k * m + column * k
                    for r in range(0, k, 2):
                        upper, lower = start + r * m, start + min(r + 1, k - 1) * m
                        for c in range(0, k, 2):
                            d = min(c + 1, k - 1)
                            cells = out[upper + c], out[upper + d], out[lower + c], out[lower + d]
                            _largest(target, cells[0], cells[1], cells[2], cells[3], r == 0 and c == 0)
            continue
        for column in range(n):
            sides[column, 0] = x0 + column * width // n
            sides[column, 1] = x0 + ((column + 1) * width + n - 1) // n
        for row in range(n):
            top, bottom = y0 + row * height // n, y0 + ((row + 1) * height + n - 1) // n
            for column in range(n):
                target = out[starts[a] + row * n + column]
                left, right = sides[column, 0], sides[column, 1]
                # Steps of 2 over the 2 x 2 maxima; the last one overlaps where the bin's side is odd.
                step = 2 if bottom - top > 1 and right - left > 1 else 1
                source = quads if step == 2 else conv_map
                last_y, last_x = bottom - step, right - step
                for y in range(top, bottom, 2 * step):
                    upper, lower = min(y, last_y), min(y + step, last_y)
                    for x in range(left, right, 2 * step):
                        c, d = min(x, last_x), min(x + step, last_x)
                        cells = source[upper, c], source[upper, d], source[lower, c], source[lower, d]
                        _largest(target, cells[0], cells[1], cells[2], cells[3], y == top and x == left)


@njit()
def _pool(
    conv_map: Any, quads: Any, cells: Int64, rows: Int64, levels: Int64, sources: Int64, starts: Int64, out: Any
) -> None:
    sides = np.empty((levels.max(), 2), np.int64)
    for i in range(cells.shape[0]):
        _pool_one(conv_map, quads, cells[i], levels, sources, starts, sides, out[rows[i]])


@njit()
def _pool_and_widen(
    conv_map: Any, quads: Any, cells: Int64, rows: Int64, levels: Int64, sources: Int64, starts: Int64, out: Any
) -> None:
    """Pool bits of float16 numbers, finite and not below 0, and widen them to float32."""
    bits = np.empty(out.shape[1:], np.int16)
    flat = bits.reshape(-1)
    sides = np.empty((levels.max(), 2), np.int64)
    rebias = np.float32(2.0**112)
    for i in range(cells.shape[0]):
        _pool_one(conv_map, quads, cells[i], levels, sources, starts, sides, bits)
        target = out[rows[i]].reshape(-1)
        for z in range(target.shape[0]):
            # Exponents are counted from 15 in float16, from 127 in float32; subnormal numbers come out right too.
            target[z] = _as_float(np.int32(flat[z]) << np.int32(13)) * rebias  # type: ignore[call-arg]


def pool_windows(
    conv_map: Floats,
    cells: Int64,
    levels: Sequence[int],
    out: Floats | None = None,
    rows: Int64 | None = None,
) -> Any:
    """Max-pool each region of a conv map into the pyramid's bins.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | conv_map | (H, W, C) | float16 or float32 | channels last; float16 without numbers below 0 is the fastest |
    | cells | (N, 4) | int64 | x0 y0 x1 y1 in cells, half-open, inside the map, not empty |
    | levels | (L,) | | bins per side: 6, 3, 2, 1 |
    | out | (M, bins * C) | float16 or float32 | optional, contiguous: filled and returned |
    | rows | (N,) | int64 | optional: the row of ``out`` that each region goes to; by default 0, 1, 2 … |
    | returns | (N, bins * C) | float32 | layout as in `pyramid`; ``out`` if given |

    Bins are those of Appendix A (golden cases ``bins`` and ``pooling``; the release starts its maximum at 0, which
    is the same on maps after a ReLU). A level that divides a finer level is pooled from it, which gives the
    same bins exactly: floor(i H / n) = floor(i k H / (n k)). Regions sorted by y0 are the fastest.

    Raises:
        ValueError: a region that is empty or leaves the map, levels that are not positive, or an ``out`` or ``rows``
            that does not fit.
    """
    levels = tuple(int(n) for n in levels)
    cells = np.ascontiguousarray(cells, dtype=np.int64).reshape(-1, 4)
    count, channels = sum(n * n for n in levels), conv_map.shape[2]
    if out is None:
        out = np.empty((len(cells), count * channels), dtype=np.float32)
    rows = np.arange(len(cells)) if rows is None else rows
    _check(conv_map, cells, levels, out, rows)
    if not len(cells):
        return out
    bits = _plain_bits(conv_map)
    if bits is None and out.dtype == np.float16:
        # This is rare (a network without a ReLU at its cut) and not worth a kernel.
        out[rows] = pool_windows(conv_map, cells, levels).astype(np.float16)
        return out
    # Finest level first, so that coarser ones can be pooled from it.
    order = sorted(range(len(levels)), key=lambda i: -levels[i])
    offsets = np.cumsum([0, *(n * n for n in levels)])
    sizes = np.array([levels[i] for i in order], dtype=np.int64)
    starts = np.array([offsets[i] for i in order], dtype=np.int64)
    sources = np.array([_finer(sizes, a) for a in range(len(sizes))], dtype=np.int64)
    result: Any = out.reshape(len(out), count, channels)
    kernel: Any = _pool
    if bits is None:
        values: Any = np.ascontiguousarray(conv_map, dtype=np.float32)
    elif out.dtype == np.float16:
        values, result = bits, result.view(np.int16)
    else:
        values, kernel = bits, _pool_and_widen
    quads = _quads(values)
    threads = min(cpu_threads(), max(1, len(cells) // 16))
    jobs = list(zip(np.array_split(cells, threads), np.array_split(rows, threads), strict=True))
    if threads == 1:
        kernel(values, quads, cells, rows, sizes, sources, starts, result)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda job: kernel(values, quads, *job, sizes, sources, starts, result), jobs))
    return out


def _check(conv_map: Floats, cells: Int64, levels: tuple[int, ...], out: Floats, rows: Int64) -> None:
    """Raise the errors of `pool_windows`."""
    if not levels or min(levels) < 1:
        raise ValueError(f"pyramid levels must be positive: {levels}")
    height, width, channels = conv_map.shape
    inside = (cells[:, :2] >= 0).all() and (cells[:, 2] <= width).all() and (cells[:, 3] <= height).all()
    if not inside or not (cells[:, 2:] > cells[:, :2]).all():
        raise ValueError(f"a window is empty or leaves the map of {height} x {width} cells")
    if out.dtype not in (np.float16, np.float32):
        raise ValueError(f"out must be float16 or float32, not {out.dtype}")
    numbers = sum(n * n for n in levels) * channels
    if out.ndim != 2 or out.shape[1] != numbers or not out.flags.c_contiguous:
        # A view of anything else would be filled in a copy, and ``out`` returned as it was.
        raise ValueError(f"out must be contiguous rows of {numbers} numbers")
    if len(rows) != len(cells) or (len(rows) and (rows.min() < 0 or rows.max() >= len(out))):
        raise ValueError("rows must name one row of out for each window")


def _plain_bits(conv_map: Floats) -> npt.NDArray[np.int16] | None:
    """Return the bits of a float16 map if they sort as its numbers do: all are finite, and none has a minus sign."""
    if conv_map.dtype != np.float16:
        return None
    bits = np.ascontiguousarray(conv_map).view(np.int16)
    return bits if not bits.size or (bits.min() >= 0 and bits.max() < 0x7C00) else None


def _finer(sizes: Int64, a: int) -> int:
    """Return the coarsest level before ``a`` that ``sizes[a]`` divides, which has the fewest bins to read; or -1."""
    candidates = [b for b in range(a) if sizes[b] % sizes[a] == 0]
    return min(candidates, key=lambda b: int(sizes[b]), default=-1)
