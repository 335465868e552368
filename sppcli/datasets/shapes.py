"""Shapes that annotation tools draw, as the upright boxes around them: x0 y0 x1 y1, 0-based half-open."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sppcli.datasets.annotated import Corners

Point = tuple[float, float]


def around(points: Iterable[Point]) -> Corners:
    """The box around at least one point."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def pairs(numbers: Sequence[float]) -> list[Point]:
    """``x y x y …`` as points; a last single number is dropped."""
    return list(zip(numbers[::2], numbers[1::2], strict=False))


def turned_box(box: Corners, degrees: float, about: Point | None = None) -> Corners:
    """The box around ``box`` turned clockwise, as seen with y downwards, about its centre or the point ``about``."""
    if degrees % 360 == 0:
        return box
    x0, y0, x1, y1 = box
    cx, cy = about or ((x0 + x1) / 2, (y0 + y1) / 2)
    # Exact for quarter turns, whose sines are not.
    cos, sin = _QUARTERS.get(degrees % 360) or (math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
    corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    return around((cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos) for x, y in corners)


_QUARTERS = {90.0: (0.0, 1.0), 180.0: (-1.0, 0.0), 270.0: (0.0, -1.0)}


def ellipse(cx: float, cy: float, rx: float, ry: float, degrees: float = 0.0) -> Corners:
    """The box around an ellipse whose axis ``rx`` is turned by ``degrees``."""
    if degrees % 180 == 0:
        half_width, half_height = abs(rx), abs(ry)
    else:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        half_width, half_height = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
    return cx - half_width, cy - half_height, cx + half_width, cy + half_height


def ordered(box: Sequence[float]) -> Corners:
    """Two opposite corners in any order as x0 y0 x1 y1."""
    xa, ya, xb, yb = box
    return min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb)
