"""Area, IoU, clipping and flipping of boxes.

Boxes are 0-based and half-open, so widths are ``x1 - x0`` with no "+1" and the IoU equals that of the
PASCAL devkit on its 1-based inclusive boxes (golden case ``overlap``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sppcli.structures import Boxes

Float64 = npt.NDArray[np.float64]


def area(boxes: npt.NDArray[np.floating]) -> Float64:
    """Area of each box, (N,) float64, in square pixels."""
    b = np.asarray(boxes, dtype=np.float64)
    return (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])


def iou(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Float64:
    """Intersection over union of every pair.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | a | (N, 4) | float | boxes, x0 y0 x1 y1 half-open |
    | b | (M, 4) | float | boxes |
    | returns | (N, M) | float64 | 0 where they do not overlap |

    Source: PASCAL VOC devkit; golden case ``overlap``.
    """
    a64 = np.asarray(a, dtype=np.float64)
    b64 = np.asarray(b, dtype=np.float64)
    inter = _intersection(a64, b64)
    union = area(a64)[:, None] + area(b64)[None, :] - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=inter > 0)


def covered(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Float64:
    """Share (N, M) float64 of each box of ``a`` (N, 4) that lies in each of ``b`` (M, 4): COCO's overlap with
    crowds."""
    a64 = np.asarray(a, dtype=np.float64)
    inter = _intersection(a64, np.asarray(b, dtype=np.float64))
    return np.divide(inter, area(a64)[:, None], out=np.zeros_like(inter), where=inter > 0)


def _intersection(a: Float64, b: Float64) -> Float64:
    width = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
    height = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    return np.where((width > 0) & (height > 0), width * height, 0.0)


def clip(boxes: Boxes, height: int, width: int) -> Boxes:
    """Boxes (N, 4) cut to an image of ``height`` x ``width`` pixels; float32."""
    limits = np.array([width, height, width, height], dtype=np.float32)
    return np.clip(boxes, np.float32(0), limits).astype(np.float32)


def jittered(
    boxes: Boxes, count: int, height: int, width: int, rng: np.random.Generator, least_iou: float = 0.7
) -> Boxes:
    """``count`` boxes near each of ``boxes`` (N, 4): (N * count, 4), those of the first box first.

    Each is the box shifted by up to 15 % of its width and height, scaled by up to 15 %, and clipped to an image of
    ``height`` x ``width``. It is drawn again, at most ten times, until its IoU with the box is at least ``least_iou``;
    if it never is, the box itself is taken.
    """
    own = np.repeat(boxes, count, axis=0)
    out = own.copy()
    waiting = np.arange(len(own))
    for _ in range(10):
        if not len(waiting):
            break
        mine = own[waiting].astype(np.float64)
        centre, side = (mine[:, :2] + mine[:, 2:]) / 2, mine[:, 2:] - mine[:, :2]
        centre += rng.uniform(-0.15, 0.15, centre.shape) * side
        side *= np.exp(rng.uniform(-np.log(1.15), np.log(1.15), side.shape))
        drawn = clip(np.concatenate([centre - side / 2, centre + side / 2], axis=1).astype(np.float32), height, width)
        near = np.array([iou(a[None], b[None])[0, 0] for a, b in zip(drawn, own[waiting], strict=True)]) >= least_iou
        out[waiting[near]] = drawn[near]
        waiting = waiting[~near]
    return out


def flip(boxes: Boxes, width: int) -> Boxes:
    """Boxes (N, 4) in the horizontally mirrored image of ``width`` pixels; its own inverse."""
    flipped = boxes.copy()
    flipped[:, 0] = width - boxes[:, 2]
    flipped[:, 2] = width - boxes[:, 0]
    return flipped
