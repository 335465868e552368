"""Compiled kernels for what follows a conv layer: ReLU, local response normalisation and max-pooling in one pass.

A map of 96 channels at 1,200 pixels has 183 MB, and every operation of its own reads and writes it again. Here a strip
of columns goes down the map row by row; the few rows that a neighbourhood spans stay in the cache, and only the pooled
map is written. Maps are (H, W, C), channels last; arithmetic is float32 with beta = 0.75, whatever they are stored in.

Maps come as their bits: uint32 for float32 (``shift`` 0), uint16 for bfloat16 (``shift`` 16), which is the upper half
of a float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.runtime.compiled import njit
from sppcli.structures import FloatArray

Bits = npt.NDArray[Any]


# Loops over whole rows stand in functions of their own: over slices that start at 0 they become vector instructions.


@njit(error_model="numpy")
def _load(source: Bits, shift: int, target: Bits) -> None:
    if shift == 0:
        for i in range(len(target)):
            target[i] = source[i]
    else:
        for i in range(len(target)):
            target[i] = np.uint32(source[i]) << np.uint32(shift)


@njit(error_model="numpy")
def _store(source: FloatArray, shift: int, target: Bits) -> None:
    bits = source.view(np.uint32)
    if shift == 0:
        for i in range(len(target)):
            target[i] = bits[i]
    else:
        # To the nearest bfloat16, ties to even; NaN stays one.
        for i in range(len(target)):
            rounded = (bits[i] + np.uint32(0x7FFF) + ((bits[i] >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
            target[i] = rounded if source[i] == source[i] else np.uint32(0x7FC0)


@njit(error_model="numpy")
def _copy(values: FloatArray, target: FloatArray) -> None:
    # numba's own assignment to a slice takes six times as long.
    for i in range(len(target)):
        target[i] = values[i]


@njit(error_model="numpy")
def _relu(values: FloatArray) -> None:
    for i in range(len(values)):
        v = values[i]
        values[i] = np.float32(0) if v <= np.float32(0) else v


@njit(error_model="numpy")
def _squares(values: FloatArray, target: FloatArray) -> None:
    for i in range(len(target)):
        target[i] = values[i] * values[i]


@njit(error_model="numpy")
def _add_squares(values: FloatArray, target: FloatArray) -> None:
    for i in range(len(target)):
        target[i] += values[i] * values[i]


@njit(error_model="numpy")
def _add(values: FloatArray, target: FloatArray) -> None:
    for i in range(len(target)):
        target[i] += values[i]


@njit(error_model="numpy")
def _decay(values: FloatArray, near: FloatArray, factor: np.float32, target: FloatArray) -> None:
    """target = values * (1 + factor * near)^-3/4, by two square roots and a division: a fraction of a power's time."""
    for i in range(len(target)):
        base = near[i] * factor + np.float32(1)
        target[i] = values[i] / np.sqrt(base * np.sqrt(base))


@njit(error_model="numpy")
def _take_larger(values: FloatArray, target: FloatArray) -> None:
    for i in range(len(target)):
        # NaN and a number give NaN; `max` would depend on their order and takes three times as long.
        target[i] = np.maximum(target[i], values[i])


@njit(error_model="numpy")
def _across(values: FloatArray, squares: FloatArray, near: FloatArray, size: int) -> None:
    """Fill ``near`` (C,) with the sums of squares of ``values`` at one place; ``squares`` has ``size`` - 1 more
    zeros."""
    _squares(values, squares[size // 2 : size // 2 + len(near)])
    _copy(squares, near)
    for d in range(1, size):
        _add(squares[d:], near)


@njit(error_model="numpy")
def _along(row: FloatArray, channels: int, kernel: int, stride: int, start: int, target: FloatArray) -> None:
    """Take the maximum of ``kernel`` places of ``row`` at ``start`` and at each ``stride`` further; none outside
    counts.

    Indices are unsigned: numba tests whether signed ones count from the end, and then vectorises nothing.
    """
    width = len(row) // channels
    for j in range(len(target) // channels):
        low, high = max(start + j * stride, 0), min(start + j * stride + kernel, width)
        goal = np.uintp(j * channels)
        source = np.uintp(low * channels)
        for c in range(np.uintp(channels)):
            target[goal + c] = row[source + c]
        for x in range(low + 1, high):
            source = np.uintp(x * channels)
            for c in range(np.uintp(channels)):
                target[goal + c] = np.maximum(target[goal + c], row[source + c])


@njit(error_model="numpy")
def _normalise(
    kind: int,
    values: FloatArray,
    here: int,
    size: int,
    factor: np.float32,
    channels: int,
    sums: FloatArray,
    squares: FloatArray,
    means: FloatArray,
    normed: FloatArray,
) -> None:
    """Normalise one row of `pooled` into ``normed``: row ``here`` of the rows ``values``; the rest is working
    memory."""
    count = len(normed)
    if kind == 0:
        _copy(values[here], normed)
    elif kind == 1:
        around = size // 2 * channels
        wide = sums[: count + 2 * around]
        _squares(values[0], wide)
        for r in range(1, len(values)):
            _add_squares(values[r], wide)
        _copy(wide, means)
        for d in range(1, size):
            _add(wide[d * channels :], means)
        _decay(values[here][around:], means, factor, normed)
    else:
        for start in range(0, count, channels):
            _across(values[here][start:], squares, means[start : start + channels], size)
        _decay(values[here], means, factor, normed)


@njit(error_model="numpy")
def _tallest(lines: FloatArray, first: int, last: int, out: FloatArray) -> None:
    """Take the maximum over rows ``first`` to ``last``; ``lines`` holds as many rows as a pooling window is high."""
    _copy(lines[first % len(lines)], out)
    for row in range(first + 1, last + 1):
        _take_larger(lines[row % len(lines)], out)


@njit(error_model="numpy")
def pooled(
    maps: Bits,
    shift: int,
    relu: bool,
    kind: int,
    size: int,
    alpha: float,
    kernel: int,
    stride: int,
    padding: int,
    strip: int,
    height: int,
    top: int,
    first: int,
    last: int,
    out: Bits,
) -> None:
    """Fill rows ``first`` to ``last`` of ``out`` (Ho, Wo, C): maps through ReLU, normalisation and pooling.

    ``maps`` (rows, W, C): the rows from ``top`` on of a map of ``height`` rows, as many as the rows of ``out`` depend
    on. ``relu``: whether negative numbers become 0 first. ``kind``: 0 for no normalisation, 1 within a channel, 2
    across channels. ``kernel``, ``stride``, ``padding``: the max-pooling's; 1, 1, 0 for none. ``strip``: columns of
    ``out`` at a time. NaN stays NaN, as in torch.
    """
    width, channels = maps.shape[1], maps.shape[2]
    around = size // 2 if kind == 1 else 0
    held = size if kind == 1 else 1
    factor = np.float32(alpha / (size * size if kind == 1 else size))
    span = (strip - 1) * stride + kernel
    values = np.zeros((held, (span + 2 * around) * channels), np.float32)
    sums = np.zeros((span + 2 * around) * channels, np.float32)
    squares = np.zeros(channels + size, np.float32)
    means = np.zeros(span * channels, np.float32)
    lines = np.zeros((kernel, span * channels), np.float32)
    result = np.zeros(strip * channels, np.float32)
    for begin in range(0, out.shape[1], strip):
        columns = min(strip, out.shape[1] - begin)
        # Columns of the map that the pooling windows cover, and those with the neighbourhoods of the normalisation.
        left = max(begin * stride - padding, 0)
        right = min((begin + columns - 1) * stride - padding + kernel, width)
        near_left, near_right = max(left - around, 0), min(right + around, width)
        # Place of column ``near_left`` in the buffers; what is outside the map stays 0.
        offset = (near_left - (left - around)) * channels
        count = (right - left) * channels
        values[:] = 0
        row_from = max(first * stride - padding, 0)
        row_to = min((last - 1) * stride - padding + kernel, height)
        loaded, done = max(row_from - around, 0), first
        for y in range(row_from, row_to):
            while loaded < min(y + around + 1, height):
                row = values[loaded % held][offset : offset + (near_right - near_left) * channels]
                _load(maps[loaded - top, near_left:near_right].reshape(len(row)), shift, row.view(np.uint32))
                if relu:
                    _relu(row)
                loaded += 1
            if kind == 1 and y + around >= height:
                values[(y + around) % held][:] = 0
            normed = lines[y % kernel][:count]
            _normalise(kind, values, y % held, size, factor, channels, sums, squares, means[:count], normed)
            # Once the last row of a pooling window is there, its maximum is taken over the rows, then along them.
            while done < last and y == min(done * stride - padding + kernel, height) - 1:
                tallest = means[:count]
                _tallest(lines, max(done * stride - padding, 0), y, tallest)
                best = result[: columns * channels]
                _along(tallest, channels, kernel, stride, begin * stride - padding - left, best)
                _store(best, shift, out[done, begin : begin + columns].reshape(len(best)))
                done += 1


@njit(error_model="numpy")
def across_backward(maps: FloatArray, slopes: FloatArray, size: int, alpha: float, out: FloatArray) -> None:
    """Compute the gradient ``out`` of normalisation across channels from ``maps`` and the output's, ``slopes``: (P, C).

    With b = 1 + alpha mean x^2, y = x b^-3/4: dx_i = g_i b_i^-3/4 - 3/2 alpha/size x_i * sum of g_j x_j b_j^-7/4 over
    the j whose neighbourhood holds i.
    """
    channels = maps.shape[1]
    before, after = size // 2, size - size // 2 - 1
    factor, double = np.float32(alpha / size), np.float32(1.5 * alpha / size)
    squares = np.zeros(channels + size, np.float32)
    pulls = np.zeros(channels + size, np.float32)
    for p in range(maps.shape[0]):
        x, g, goal = maps[p], slopes[p], out[p]
        for c in range(channels):
            squares[before + c] = x[c] * x[c]
        for c in range(channels):
            near = squares[c]
            for d in range(1, size):
                near += squares[c + d]
            base = near * factor + np.float32(1)
            direct = g[c] / np.sqrt(base * np.sqrt(base))
            goal[c] = direct
            pulls[after + c] = direct * x[c] / base
        for c in range(channels):
            near = pulls[c]
            for d in range(1, size):
                near += pulls[c + d]
            goal[c] -= double * x[c] * near


@njit(error_model="numpy")
def within_backward(
    maps: FloatArray, slopes: FloatArray, size: int, alpha: float, first: int, last: int, out: FloatArray
) -> None:
    """As `across_backward` for rows ``first`` to ``last`` of normalisation within a channel; all (H, W, C)."""
    height, width, channels = maps.shape
    around = size // 2
    factor, double = np.float32(alpha / (size * size)), np.float32(1.5 * alpha / (size * size))
    margin = around * channels
    length = width * channels
    sums = np.zeros(length + 2 * margin, np.float32)
    # g b^-3/4 and g x b^-7/4 of the last ``size`` rows; rows outside the map contribute nothing.
    direct = np.zeros((size, length), np.float32)
    pulls = np.zeros((size, length + 2 * margin), np.float32)
    for y in range(first - around, last + around):
        slot = y % size
        if y < 0 or y >= height:
            pulls[slot, :] = 0
        else:
            sums[:] = 0
            for r in range(max(y - around, 0), min(y + around + 1, height)):
                row = maps[r].reshape(length)
                for i in range(length):
                    sums[margin + i] += row[i] * row[i]
            row, slope = maps[y].reshape(length), slopes[y].reshape(length)
            for i in range(length):
                near = sums[i]
                for d in range(1, size):
                    near += sums[i + d * channels]
                base = near * factor + np.float32(1)
                g = slope[i] / np.sqrt(base * np.sqrt(base))
                direct[slot, i] = g
                pulls[slot, margin + i] = g * row[i] / base
        target = y - around
        if target >= first:
            sums[:] = 0
            for r in range(size):
                for i in range(length + 2 * margin):
                    sums[i] += pulls[r, i]
            row, goal = maps[target].reshape(length), out[target].reshape(length)
            for i in range(length):
                near = sums[i]
                for d in range(1, size):
                    near += sums[i + d * channels]
                goal[i] = direct[target % size, i] - double * row[i] * near
