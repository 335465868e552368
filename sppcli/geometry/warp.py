"""Where R-CNN cuts a region out of the image, and where that part lands in the network's square input.

Girshick et al. 2014, supplementary A ("warp" with context padding), with the rounding of their release
(``rcnn_im_crop``): the region is enlarged so that, warped to the square, its own pixels are ``context`` pixels from the
border; what lies outside the image stays empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Warp:
    """``source`` x0 y0 x1 y1 in pixels of the image and ``target`` in pixels of the square: half-open, not empty."""

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]


def warp_of(box: Sequence[float], height: int, width: int, side: int, context: int = 16) -> Warp:
    """The warp of ``box`` (x0 y0 x1 y1 in pixels, half-open) in an image of ``height`` x ``width`` pixels.

    Args:
        side: of the square, in pixels.
        context: pixels of the square on each side of the region that show its surroundings; 0 for the region alone.

    Raises:
        ValueError: the context leaves nothing of the square.
    """
    if context < 0 or 2 * context >= side:
        raise ValueError(f"a context of {context} pixels leaves nothing of a square of {side}")
    x0, x1, left, right = _axis(float(box[0]), float(box[2]), width, side, context)
    y0, y1, top, bottom = _axis(float(box[1]), float(box[3]), height, side, context)
    return Warp((x0, y0, x1, y1), (left, top, right, bottom))


def _axis(start: float, end: float, length: int, side: int, context: int) -> tuple[int, int, int, int]:
    """First and last-but-one pixel of the image, and of the square, along one axis."""
    if not context:
        first = min(_round(start), length - 1)
        return first, min(max(_round(end), first + 1), length), 0, side
    half = (end - start) / 2
    reach = half * side / (side - 2 * context)
    # The release counts pixels from 1 and includes the last one. Its centre is half a pixel further than the region's,
    # which makes the enlarged region a pixel longer than it need be.
    centre = start + 1 + half
    first, last = _round(centre - reach), _round(centre + reach)
    scale = side / (last - first + 1)
    empty = _round(max(0, 1 - first) * scale)
    first = min(max(first, 1), length)
    last = max(min(last, length), first)
    filled = min(max(_round((last - first + 1) * scale), 1), side - empty)
    return first - 1, last, empty, empty + filled


def _round(value: float) -> int:
    """To the nearest whole number, halves away from zero, as MATLAB rounds."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))
