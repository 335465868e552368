"""Edge maps for EdgeBoxes: the strength and the orientation of the edge at each pixel.

Two sources: gradients, which need nothing, and opencv-contrib's structured forests (Dollár and Zitnick 2013), whose
trained model is a file of the user's.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from sppcli.errors import BadInput, MissingInput, StaleArtefact
from sppcli.images import digest, read_bytes
from sppcli.structures import ByteImage, FloatArray

MODEL_SOURCE = "the repository opencv/opencv_extra, testdata/cv/ximgproc/model.yml.gz"

# Smoothing before the gradient, in pixels: finer structure is texture and noise rather than an outline.
SMOOTHING = 3.0
# Gradients of this percentile of the image and above count as certain edges, as a probability of 1 does in a forest's.
CERTAIN = 95.0
# Even a flat image has rounding noise; nothing below this gradient (intensities from 0 to 1, per pixel) is an edge.
FLAT = 2e-3
# How far along the normal a stronger edge suppresses a weaker one, in pixels.
THINNING = 2


def gradient_edges(image: ByteImage) -> tuple[FloatArray, FloatArray]:
    """Thinned edges of ``image`` (H, W, 3) uint8 by its gradient.

    The image is smoothed; each pixel takes the gradient (Scharr) of the channel in which it is steepest. Strengths
    are relative to the image's own.

    Returns:
        strength (H, W) float32 in 0..1, 0 off the ridges (`thin`); orientation (H, W) float32 in [0, pi), of the edge's
        normal, from x towards y (down).
    """
    smooth = cv2.GaussianBlur(image.astype(np.float32) / 255, (0, 0), SMOOTHING)
    # Scharr's kernel sums to 32 over a step of two pixels: a gradient is an intensity per pixel.
    dx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0, scale=1 / 32).reshape(image.shape)
    dy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1, scale=1 / 32).reshape(image.shape)
    squares = dx * dx + dy * dy
    steepest = squares.argmax(axis=2)[:, :, None]
    x, y, square = (np.take_along_axis(plane, steepest, axis=2)[:, :, 0] for plane in (dx, dy, squares))
    magnitude = np.sqrt(square)
    certain = max(float(np.percentile(magnitude, CERTAIN)), FLAT)
    magnitude[magnitude < FLAT] = 0
    orientation = _half_turn(np.arctan2(y, x))
    # Thinned before it is cut off at 1: a plateau has no ridge.
    return np.minimum(thin(magnitude, orientation) / np.float32(certain), np.float32(1)), orientation


def thin(strength: FloatArray, orientation: FloatArray, radius: int = THINNING) -> FloatArray:
    """Non-maximum suppression along the normal: edges one or two pixels wide.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | strength | (H, W) | float32 | of the edge at each pixel |
    | orientation | (H, W) | float32 | angle of the edge's normal, radians, from x towards y |
    | radius | | pixels | a pixel stays where none at 1 .. radius on either side along the normal is stronger |
    | returns | (H, W) | float32 | strength, 0 where suppressed |

    Strengths between pixels are interpolated bilinearly; beyond the border that of the border counts.
    """
    height, width = strength.shape
    rows, columns = np.nonzero(strength)
    here = strength[rows, columns]
    angle = orientation[rows, columns]
    keep = np.ones(len(rows), dtype=np.bool_)
    for distance in (step for far in range(1, radius + 1) for step in (-far, far)):
        x = np.clip(columns + distance * np.cos(angle), 0, width - 1)
        y = np.clip(rows + distance * np.sin(angle), 0, height - 1)
        keep &= here >= _between(strength, y, x)
    thinned = np.zeros_like(strength)
    thinned[rows[keep], columns[keep]] = here[keep]
    return thinned


def _between(values: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
    """``values`` (H, W) at positions between pixels, bilinear."""
    top, left = y.astype(np.int64), x.astype(np.int64)
    bottom, right = np.minimum(top + 1, values.shape[0] - 1), np.minimum(left + 1, values.shape[1] - 1)
    down, across = y - top, x - left
    upper = values[top, left] * (1 - across) + values[top, right] * across
    lower = values[bottom, left] * (1 - across) + values[bottom, right] * across
    return np.asarray(upper * (1 - down) + lower * down, dtype=np.float32)


def _half_turn(angle: FloatArray) -> FloatArray:
    """``angle`` modulo pi; the sum that rounds up to pi itself becomes 0."""
    half = np.mod(angle, np.float32(np.pi)).astype(np.float32)
    return np.asarray(np.where(half >= np.float32(np.pi), np.float32(0), half), dtype=np.float32)


def forest_edges(image: ByteImage, model: str, model_digest: str = "") -> tuple[FloatArray, FloatArray]:
    """Edges of ``image`` (H, W, 3) uint8 RGB by the structured forest in the file ``model``; as `gradient_edges`.

    Raises:
        MissingInput, BadInput, StaleArtefact: as `open_forest`.
    """
    forest = open_forest(model, model_digest)
    edges = np.clip(forest.detectEdges(image.astype(np.float32) / 255), 0, 1)
    orientation = forest.computeOrientation(edges)
    thinned = forest.edgesNms(edges, orientation, r=THINNING, s=0, m=1, isParallel=False)
    return np.asarray(thinned, dtype=np.float32), np.asarray(orientation, dtype=np.float32)


@lru_cache(maxsize=1)
def open_forest(model: str, model_digest: str = "") -> cv2.ximgproc.StructuredEdgeDetection:
    """Open the structured forest in a file of OpenCV's format (.yml, .yml.gz); each process reads it once.

    Raises:
        MissingInput: there is no such file; the text says where to get one.
        BadInput: it is not such a model.
        StaleArtefact: its SHA-256 is not ``model_digest``.
    """
    if not Path(model).is_file():
        raise MissingInput(f"{model}: there is no such edge model; get it from {MODEL_SOURCE}, or use --edges gradient")
    if model_digest and digest(read_bytes(Path(model))) != model_digest:
        raise StaleArtefact(f"{model} is not the edge model that the proposals were found with; put that one back")
    problem = BadInput(
        f"{model}: not a structured-forest edge model; get it from {MODEL_SOURCE}, or use --edges gradient"
    )
    try:
        # OpenCV reads past the end of a model that lacks parts, so they are looked for first.
        file = cv2.FileStorage(model, cv2.FILE_STORAGE_READ)
        if not file.isOpened():
            raise problem
        parts = ("childs", "featureIds", "thresholds", "edgeBoundaries", "edgeBins")
        trees = file.getNode("options").getNode("numberOfTrees")
        if trees.empty() or trees.real() < 1 or any(file.getNode(part).size() < 1 for part in parts):
            raise problem
        file.release()
        return cv2.ximgproc.createStructuredEdgeDetection(model)
    except (cv2.error, SystemError):
        raise problem from None
