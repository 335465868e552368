"""Which histogram bins each pixel adds to: colour, and the texture of four derivatives (Uijlings et al. 2013, 3.2).

This does not depend on how the image is segmented, so it is computed once per image, as one byte for each histogram.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sppcli.runtime.compiled import njit
from sppcli.structures import ByteImage, FloatArray

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

COLOUR_BINS = 25
TEXTURE_BINS = 10
PARTS = 2 * TEXTURE_BINS  # a derivative's bins: its positive part's, then its negative part's
DERIVATIVES = 4  # along x, y and both diagonals
# Adding and taking away 1.5 * 2^23 rounds a small float32 to the nearest integer, halves to even.
ROUNDER = np.float32(12582912)


@dataclass(frozen=True)
class PixelCodes:
    """Which bin of each histogram a pixel adds to.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | colour | (H, W, C) | uint8 | index into a region's C * 25 colour bins |
    | texture | 4 of (H, W, C) | uint8 | for each derivative, index into a region's C * 80 texture bins |
    | zeros | (C * 4, 2) | uint8 | the bins that a derivative of 0 has in its positive and in its negative part |
    """

    colour: ByteImage
    texture: tuple[ByteImage, ByteImage, ByteImage, ByteImage]
    zeros: ByteImage


def pixel_codes(image: ByteImage) -> PixelCodes:
    """Bins of every pixel of ``image`` (H, W, C) uint8, C at most 3."""
    height, width, channels = image.shape
    bins = (COLOUR_BINS * np.arange(256)) >> 8
    table = (bins[:, None] + COLOUR_BINS * np.arange(channels)).astype(np.uint8).reshape(1, 256, channels)
    zeros = np.empty((channels * DERIVATIVES, 2), np.uint8)
    texture = []
    for d, gradient in enumerate(gradients(image)):
        factors, shifts = _stretches(gradient)
        firsts = PARTS * (DERIVATIVES * np.arange(channels)[:, None] + d) + np.array([0, TEXTURE_BINS])
        nothing = np.zeros((1, channels), np.float32)
        zeros[d::DERIVATIVES, 0] = _encode(nothing, factors, shifts, firsts)[0]
        # Of a negative number too small to count: the bin of 0 in the negative part.
        zeros[d::DERIVATIVES, 1] = _encode(nothing - np.float32(1e-30), factors, shifts, firsts)[0]
        codes = _encode(gradient.reshape(height, width * channels), factors, shifts, firsts)
        texture.append(codes.reshape(image.shape))
    colour = cv2.LUT(image, table).reshape(image.shape)
    return PixelCodes(np.asarray(colour, dtype=np.uint8), (texture[0], texture[1], texture[2], texture[3]), zeros)


def gradients(image: ByteImage) -> list[FloatArray]:
    """Scharr derivatives along x, y and both diagonals: four arrays (H, W, C) float32.

    The diagonal ones are taken in the image turned by 45 degrees and turned back, as in OpenCV about a rounded centre.
    """
    height, width, _ = image.shape
    centre = (width / 2, height / 2)
    box = cv2.RotatedRect(centre, (width, height), 45).boundingRect()
    turn = cv2.getRotationMatrix2D(centre, 45, 1)
    turn[0, 2] += box[2] / 2 - centre[0]
    turn[1, 2] += box[3] / 2 - centre[1]
    turned = cv2.warpAffine(image, turn, (box[2], box[3]))
    back = cv2.getRotationMatrix2D((box[2] // 2, box[3] // 2), -45, 1)
    left, top = max(0, int((box[2] - width) / 2)), max(0, int((box[3] - height) / 2))
    # Rows below the part that is kept are not turned back. Whole rows are: their ends are computed by other
    # instructions, with other last bits, and they should be the same ends.
    size = (max(box[2], left + width), top + height)
    found = [cv2.Scharr(image, cv2.CV_32F, 1, 0), cv2.Scharr(image, cv2.CV_32F, 0, 1)]
    for x, y in ((1, 0), (0, 1)):
        whole = cv2.warpAffine(cv2.Scharr(turned, cv2.CV_32F, x, y), back, size).reshape(size[1], size[0], -1)
        found.append(whole[top:, left : left + width])
    return [np.ascontiguousarray(one, dtype=np.float32).reshape(image.shape) for one in found]


def _stretches(gradient: FloatArray) -> tuple[Float64, Float64]:
    """(C, 2) factors and (C, 2) shifts that stretch the positive and the negative part of each channel to 0..255.

    Both 0 where a part is the same everywhere.
    """
    channels = gradient.shape[2]
    low = cv2.reduce(gradient, 0, cv2.REDUCE_MIN).reshape(-1, channels).min(axis=0).astype(np.float64)
    high = cv2.reduce(gradient, 0, cv2.REDUCE_MAX).reshape(-1, channels).max(axis=0).astype(np.float64)
    lows = np.stack([np.maximum(low, 0), np.minimum(low, 0)], axis=1)
    highs = np.stack([np.maximum(high, 0), np.minimum(high, 0)], axis=1)
    varies = highs > lows
    span = np.where(varies, highs - lows, 1)
    # OpenCV rounds both to float32 before it applies them.
    factors = np.where(varies, 255 / span, 0).astype(np.float32)
    shifts = np.where(varies, -255 * lows / span, 0).astype(np.float32)
    return factors.astype(np.float64), shifts.astype(np.float64)


def _encode(rows: FloatArray, factors: Float64, shifts: Float64, firsts: Int64) -> ByteImage:
    """Codes (H, W * C) of derivatives (H, W * C): ``firsts`` (C, 2) plus the bin that factor and shift (C, 2) give."""
    # One number for each column, so that the loop is the same for every channel.
    times = rows.shape[1] // len(firsts)
    plus, minus = np.ascontiguousarray(np.tile(factors.T, times))
    plus_shift, minus_shift = np.ascontiguousarray(np.tile(shifts.T, times))
    plus_first, minus_first = np.ascontiguousarray(np.tile(firsts.T.astype(np.int32), times))
    codes = np.empty(rows.shape, np.uint8)
    _encode_rows(rows, plus, plus_shift, plus_first, minus, minus_shift, minus_first, codes)
    return codes


@njit()
def _encode_rows(
    rows: FloatArray,
    plus: Float64,
    plus_shift: Float64,
    plus_first: Int32,
    minus: Float64,
    minus_shift: Float64,
    minus_first: Int32,
    codes: ByteImage,
) -> None:
    for y in range(rows.shape[0]):
        row, out = rows[y], codes[y]
        for i in range(rows.shape[1]):
            value = row[i]
            # Both are loaded before one is chosen: the compiler makes vector instructions of that.
            f, g = plus[i], minus[i]
            s, t = plus_shift[i], minus_shift[i]
            m, n = plus_first[i], minus_first[i]
            positive = value >= 0
            factor = f if positive else g
            shift = s if positive else t
            first = m if positive else n
            # One rounding to float32, as of a fused multiply-add: the product of two float32 is exact in float64.
            stretched = np.float32(np.float64(value) * factor + shift)
            stretched = max(np.float32(0), min(np.float32(255), stretched))
            level = np.int32((stretched + ROUNDER) - ROUNDER)
            out[i] = first + ((np.int32(TEXTURE_BINS) * level) >> np.int32(8))
