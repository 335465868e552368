"""From a window in the image to the scale at which it is pooled and the cells of the conv map that it covers.

The rule is the release's (golden cases ``mapping`` and ``scale_choice``), which holds the paper's
Appendix A as the case of no slack: a window takes the cells whose receptive-field centre lies strictly
inside the scaled window, widened by ``slack`` pixels on every side. It needs two facts of a trunk, its
stride and the centre of its first unit, and both follow from the layers (``nets.backbones``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CellGrid:
    """Where the receptive fields of a conv map's units lie.

    stride: pixels between neighbouring units, in the scaled image.
    centre: 0-based pixel at the centre of the first unit's receptive field.
    slack: pixels by which a window is widened before it is asked which centres it holds.
        0 is the paper's Appendix A; the release has 1.5 for ZF-5 (its ``offset`` is stride/2 - slack).
    """

    stride: float
    centre: float
    slack: float = 0.0


def choose_scale(
    boxes: npt.NDArray[np.floating],
    height: int,
    width: int,
    scales: Sequence[float],
    input_size: float = 224.0,
    rule: str = "side",
) -> Int64:
    """Index into ``scales`` at which each box has its size closest to ``input_size`` pixels squared.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | boxes | (N, 4) | float | in pixels of the original image |
    | height, width | | int | size of the original image |
    | scales | (S,) | | lengths of the shorter side |
    | input_size | | float | side of the square a window should come closest to: 224 (paper), 208 (release) |
    | rule | | | "pixels" (paper) or "side" (release) |
    | returns | (N,) | int64 | the first of the nearest scales |

    "pixels" compares pixel counts: area * (s / min_side)^2 with input_size^2, both multiplied by min_side^2 so that
    of whole-numbered boxes ties are exact. "side" compares each scale with round(input_size * min_side / sqrt(area)),
    halves rounded up. A box without area takes the first scale.
    Source: paper 4.1; golden case ``scale_choice``.
    """
    b = np.asarray(boxes, dtype=np.float64)
    area = np.maximum(b[:, 2] - b[:, 0], 0) * np.maximum(b[:, 3] - b[:, 1], 0)
    if rule == "pixels":
        squares: Float64 = np.square(np.asarray(scales, dtype=np.float64))
        target = float(input_size * min(height, width)) ** 2
        return np.asarray(np.argmin(np.abs(area[:, None] * squares - target), axis=1), dtype=np.int64)
    if rule != "side":
        raise ValueError(f"unknown scale rule {rule!r}: pixels or side")
    side = np.sqrt(area)
    wanted = np.full(len(b), np.inf)
    np.divide(input_size * min(height, width), side, out=wanted, where=side > 0)
    wanted = np.floor(wanted + 0.5)
    distance = np.abs(np.asarray(scales, dtype=np.float64)[None, :] - wanted[:, None])
    return np.asarray(np.argmin(distance, axis=1), dtype=np.int64)


def scale_boxes(
    boxes: npt.NDArray[np.floating], height: int, width: int, scale: npt.NDArray[np.floating] | float
) -> Float64:
    """First and last pixel of each box in the image resized to shorter side ``scale``.

    Returns (N, 4) float64: 0-based *inclusive* ``x0 y0 x1 y1``, pixel p going to (p (s-1)) / (m-1), as the release
    maps pixels; m is the shorter side of the original image. ``scale`` is one number, or one for each box.

    The product of a float32 coordinate and a scale is exact in float64, so that only the division rounds: a pixel that
    goes to a whole one goes there exactly, and `response_windows` sees its ties as they are.
    """
    b = np.asarray(boxes, dtype=np.float64)
    pixels = b - np.array([0.0, 0.0, 1.0, 1.0])
    shorter = min(height, width)
    # An image one pixel across has no m - 1 to divide by; all of it is that pixel.
    lengths = np.reshape(np.asarray(scale, dtype=np.float64) - 1, (-1, 1))
    return np.asarray(pixels * lengths / max(shorter - 1, 1), dtype=np.float64)


def response_windows(scaled: Float64, grid: CellGrid) -> Int64:
    """Cells whose centres lie in the scaled boxes, before crossed ends are mended and anything is clamped.

    ``scaled`` (N, 4) as from `scale_boxes`. Returns (N, 4) int64, 0-based half-open ``x0 y0 x1 y1`` in cells; an end
    at or before its start means that no centre lies inside. To the release, windows with equal rows at the same scale
    are duplicates (golden case ``dd_*``).
    """
    step, half = grid.stride, grid.stride / 2 - grid.slack
    cells = np.empty(scaled.shape, dtype=np.int64)
    # Written as the release writes it, halves included, so that exact ties are decided the same way.
    cells[:, :2] = np.floor((scaled[:, :2] - grid.centre + half) / step + 0.5).astype(np.int64)
    cells[:, 2:] = np.ceil((scaled[:, 2:] - grid.centre - half) / step - 0.5).astype(np.int64) + 1
    return cells


def clamp_cells(response: Int64, map_height: npt.ArrayLike, map_width: npt.ArrayLike) -> Int64:
    """Make response windows poolable: a window without a centre becomes one cell, then all are clamped to the map.

    ``map_height`` and ``map_width`` are numbers or (N,) arrays. Returns (N, 4) int64, half-open, never empty.
    """
    cells = response.copy()
    for axis, size in ((0, np.asarray(map_width)), (1, np.asarray(map_height))):
        start, end = cells[:, axis].copy(), cells[:, axis + 2].copy()
        # 1-based, as the release counts: the middle of the two crossed ends, truncated.
        middle = np.trunc((start + 1 + end) / 2).astype(np.int64) - 1
        crossed = end <= start
        start = np.where(crossed, middle, start)
        last = np.where(crossed, middle, end - 1)
        cells[:, axis] = np.clip(start, 0, size - 1)
        cells[:, axis + 2] = np.clip(last, 0, size - 1) + 1
    return cells


def project(
    boxes: npt.NDArray[np.floating],
    height: int,
    width: int,
    scales: Sequence[float],
    map_sizes: Sequence[tuple[int, int]],
    grid: CellGrid,
    input_size: float = 224.0,
    rule: str = "side",
) -> tuple[Int64, Int64]:
    """The scale and the cells of each window: `choose_scale`, `scale_boxes`, `response_windows`, `clamp_cells`.

    ``map_sizes`` holds (height, width) of the conv map at each scale.
    Returns ``(scale_index (N,), cells (N, 4))``, both int64.
    """
    which = choose_scale(boxes, height, width, scales, input_size, rule)
    return which, cells_at(boxes, height, width, scales, map_sizes, grid, which)


def cells_at(
    boxes: npt.NDArray[np.floating],
    height: int,
    width: int,
    scales: Sequence[float],
    map_sizes: Sequence[tuple[int, ...]],
    grid: CellGrid,
    which: Int64,
) -> Int64:
    """As `project`, at the scales with the indices ``which`` (N,): cells (N, 4) int64."""
    chosen = np.asarray(scales, dtype=np.float64)[which]
    response = response_windows(scale_boxes(boxes, height, width, chosen), grid)
    sizes = np.asarray(map_sizes, dtype=np.int64).reshape(-1, 2)[which]
    return clamp_cells(response, sizes[:, 0], sizes[:, 1])
