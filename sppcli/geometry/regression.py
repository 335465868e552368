"""Boxes to regression targets and back (R-CNN, appendix C; the paper, section 4.1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def encode(windows: npt.NDArray[np.floating], truth: npt.NDArray[np.floating]) -> Float64:
    """Regression targets that lead from each region to its ground-truth box:
    ``decode(windows, encode(windows, t)) = t``.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | windows | (N, 4) | float | x0 y0 x1 y1, of positive width and height |
    | truth | (N, 4) | float | one box for each of them, of positive width and height |
    | returns | (N, 4) | float64 | dx/w, dy/h (of centres), log dw, log dh |
    """
    wx, wy, ww, wh = _centre_size(windows)
    tx, ty, tw, th = _centre_size(truth)
    return np.stack([(tx - wx) / ww, (ty - wy) / wh, np.log(tw / ww), np.log(th / wh)], axis=1)


def decode(windows: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> Float64:
    """Apply the regression ``targets`` (N, 4) to ``windows`` (N, 4): boxes (N, 4) float64, not clipped."""
    wx, wy, ww, wh = _centre_size(windows)
    t = np.asarray(targets, dtype=np.float64)
    cx, cy = wx + t[:, 0] * ww, wy + t[:, 1] * wh
    w, h = ww * np.exp(t[:, 2]), wh * np.exp(t[:, 3])
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)


def widened(boxes: npt.NDArray[np.floating], convention: str) -> Float64:
    """Boxes (N, 4) float64 by a convention of what a width is.

    "half-open" leaves them as they are. "inclusive" takes the last pixel instead of the end, so that pixels 3 to 5 are
    2 wide; this is how the release computes its regression targets (golden README, 16).
    """
    if convention not in ("half-open", "inclusive"):
        raise ValueError(f"unknown convention {convention!r}: half-open or inclusive")
    inclusive = float(convention == "inclusive")
    seen: Float64 = np.asarray(boxes, dtype=np.float64) - np.array([0.0, 0.0, inclusive, inclusive])
    return seen


def narrowed(boxes: npt.NDArray[np.floating], convention: str) -> Float64:
    """The inverse of `widened`."""
    plain = np.asarray(boxes, dtype=np.float64)
    return np.asarray(2 * plain - widened(plain, convention), dtype=np.float64)


def _centre_size(boxes: npt.NDArray[np.floating]) -> tuple[Float64, Float64, Float64, Float64]:
    b = np.asarray(boxes, dtype=np.float64)
    width, height = b[:, 2] - b[:, 0], b[:, 3] - b[:, 1]
    return b[:, 0] + width / 2, b[:, 1] + height / 2, width, height
