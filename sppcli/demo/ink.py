"""Painting on photographs: digits as ink with a soft edge, clutter of many kinds, the grain of a camera.

Coverage is a float32 array (h, w) from 0 (bare) to 1 (ink); images are float32 (H, W, 3), RGB, 0 to 255, until they are
finished. Everything random comes from the generator that is passed in.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from sppcli.structures import ByteImage, FloatArray

# Scanned pixels of margin around a digit while it is turned; pixels of work for each scanned one, up to which height.
_MARGIN = 3
_FINE, _COARSE, _COARSE_UP_TO = 16, 8, 64
# Grey value of full ink (below 255, to leave room for sharpening), and the share of it from which on there is ink.
_FULL, _INK = 128, 0.6


def digit_coverage(digit: FloatArray, height: int, tilt: float, slant: float, stretch: float) -> FloatArray:
    """One digit as ink, cropped to its ink.

    Args:
        digit: (8, 8) float32, 0 to 1.
        height: of the ink in pixels; the result has this many rows.
        tilt: rotation in degrees, anticlockwise.
        slant: horizontal shift of the top against the bottom, in heights.
        stretch: width factor.

    Returns:
        (height, w) float32 coverage whose outermost rows and columns hold ink.
    """
    cell = _COARSE if height <= _COARSE_UP_TO else _FINE
    side = (8 + 2 * _MARGIN) * cell
    padded = np.pad(digit, _MARGIN)
    smooth = Image.fromarray(np.rint(padded * _FULL).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    # Sharpened, so that the holes of an eight stay open and thin links stay closed.
    smooth = smooth.filter(ImageFilter.GaussianBlur(0.25 * cell)).filter(ImageFilter.UnsharpMask(cell, 200, 0))
    angle, middle = np.deg2rad(tilt), side / 2
    # From a pixel of the result back to one of the scan: rotation, then slant and stretch, about the middle.
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = np.array([[1 / stretch, slant / stretch], [0.0, 1.0]]) @ turn
    shift = middle - back @ np.array([middle, middle])
    matrix = (*back[0], shift[0], *back[1], shift[1])
    field = np.asarray(smooth.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))
    threshold = _INK * _FULL
    x0, y0, x1, y1 = ink_bounds(field >= threshold)
    width = max(3, round((x1 - x0) * height / (y1 - y0)))
    small = Image.fromarray(field[y0:y1, x0:x1]).resize((width, height), Image.Resampling.BOX)
    # The edge is about a pixel and a half wide at every size.
    steepness = (y1 - y0) / cell * 1.5 / height
    values = np.asarray(small, dtype=np.float32)
    coverage = np.clip((values - threshold) / (_FULL * steepness) + 0.7, 0, 1)
    return np.asarray(coverage, dtype=np.float32)


def ink_bounds(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Tight box x0 y0 x1 y1, half-open, of the true pixels of ``mask`` (H, W), of which there must be one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def paint(image: FloatArray, coverage: FloatArray, x: int, y: int, colour: FloatArray, strength: float) -> None:
    """Lay ink on ``image`` in place, its upper left corner at (x, y); what reaches outside is cut off.

    ``colour`` (3,) is mixed in with ``strength`` (0 to 1) times the coverage.
    """
    height, width = image.shape[:2]
    top, left = max(0, -y), max(0, -x)
    bottom, right = min(coverage.shape[0], height - y), min(coverage.shape[1], width - x)
    if bottom <= top or right <= left:
        return
    alpha = strength * coverage[top:bottom, left:right, None]
    under = image[y + top : y + bottom, x + left : x + right]
    under += alpha * (colour - under)


def contrasting_colour(under: FloatArray, least: float, rng: np.random.Generator) -> FloatArray:
    """A colour (3,) whose brightness differs from the mean of ``under`` (h, w, 3) by ``least`` to about 160 of 255."""
    mean = under.reshape(-1, 3).mean(axis=0)
    brightness = float(mean.mean())
    step = rng.uniform(least, max(least + 1, 160))
    darker, brighter = brightness - step >= 0, brightness + step <= 255
    sign = rng.choice([-1, 1]) if darker == brighter else (-1 if darker else 1)
    tint = rng.normal(0, 45, size=3)
    return np.asarray(np.clip(brightness + sign * step + tint - tint.mean(), 0, 255), dtype=np.float32)


def background(photograph: ByteImage, width: int, height: int, rng: np.random.Generator) -> FloatArray:
    """A random cut of a photograph (H, W, 3), mirrored at times, resized to (height, width, 3); brightness varies."""
    limit = min(photograph.shape[1] / width, photograph.shape[0] / height)
    share = float(rng.uniform(0.55, 1.0)) * limit
    cut_width, cut_height = int(width * share), int(height * share)
    x = int(rng.integers(0, photograph.shape[1] - cut_width + 1))
    y = int(rng.integers(0, photograph.shape[0] - cut_height + 1))
    cut = Image.fromarray(photograph[y : y + cut_height, x : x + cut_width])
    pixels = np.asarray(cut.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    gain, lift = rng.uniform(0.7, 1.05), rng.uniform(-15, 25)
    return np.asarray(np.clip(pixels * np.float32(gain) + np.float32(lift), 0, 255), dtype=np.float32)


def clutter_stroke(size: int, rng: np.random.Generator) -> FloatArray:
    """A bent pen stroke, coverage (size, size): a curve through three or four points."""
    factor = 4
    points = rng.uniform(0.08, 0.92, size=(int(rng.integers(3, 5)), 2)) * size * factor
    steps = np.linspace(0, 1, 40)[:, None]
    curve = np.zeros((40, 2))
    degree = len(points) - 1
    binomial = [1.0, float(degree), degree * (degree - 1) / 2, 1.0]
    for k, point in enumerate(points):
        curve += binomial[k] * steps**k * (1 - steps) ** (degree - k) * point
    canvas = Image.new("L", (size * factor, size * factor))
    pen = max(2, int(size * factor * rng.uniform(0.04, 0.1)))
    ImageDraw.Draw(canvas).line([(float(x), float(y)) for x, y in curve], fill=255, width=pen, joint="curve")
    return _reduced(canvas, size)


def clutter_shape(size: int, rng: np.random.Generator) -> FloatArray:
    """A disc, a frame, a cross or a wedge, turned at random, coverage (size, size)."""
    factor = 4
    side = size * factor
    canvas = Image.new("L", (side, side))
    draw = ImageDraw.Draw(canvas)
    middle, a = side / 2, side * float(rng.uniform(0.2, 0.42))
    b = a * float(rng.uniform(0.7, 1.0))
    kind = rng.integers(4)
    if kind == 0:
        draw.ellipse((middle - a, middle - b, middle + a, middle + b), fill=255)
    elif kind == 1:
        draw.rectangle((middle - a, middle - b, middle + a, middle + b), outline=255, width=max(2, int(0.25 * b)))
    elif kind == 2:
        pen = 0.15 * a
        draw.rectangle((middle - a, middle - pen, middle + a, middle + pen), fill=255)
        draw.rectangle((middle - pen, middle - b, middle + pen, middle + b), fill=255)
    else:
        draw.polygon([(middle - a, middle + b), (middle, middle - b), (middle + a, middle + b)], fill=255)
    return _reduced(canvas.rotate(float(rng.uniform(0, 180)), Image.Resampling.BILINEAR), size)


def clutter_glyph(digit: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    """A sign that is no digit, in the same ink: the four quarters of a digit (8, 8), each turned inside out."""
    quarters = [digit[r : r + 4, c : c + 4] for r in (0, 4) for c in (0, 4)]
    a, b, c, d = (quarter[::-1, ::-1] for quarter in quarters)
    scrambled = np.block([[a, b], [c, d]]).astype(np.float32)
    return digit_coverage(scrambled, size, float(rng.uniform(-12, 12)), 0.0, 1.0)


def grain(image: FloatArray, blur: float, noise: float, rng: np.random.Generator) -> ByteImage:
    """The finished image: blurred (radius in pixels), with normal noise (deviation of 255), uint8."""
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if blur > 0:
        pixels = np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(blur)))
    noisy = pixels.astype(np.float32) + rng.normal(0, noise, size=pixels.shape).astype(np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _reduced(canvas: Image.Image, size: int) -> FloatArray:
    small = canvas.resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / np.float32(255)
