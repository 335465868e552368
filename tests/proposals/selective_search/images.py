"""Images to search: random ones of the kinds that are awkward for a search, and photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images

from sppcli.structures import ByteImage

BCCD = Path(__file__).parents[3] / "shared" / "data" / "BCCD"

KINDS = (
    "noise",
    "smooth",
    "posterised",
    "flat",
    "checkerboard",
    "blocks",
    "two-level noise",
    "grey",
    "discs",
)
# Height and width in pixels: thin ones have regions without neighbours, as OpenCV sees them.
SIZES = ((1, 1), (2, 2), (1, 200), (150, 1), (7, 9), (2, 90), (60, 20), (48, 64), (61, 83))


def draw(kind: str, height: int, width: int, seed: int) -> ByteImage:
    """An image (H, W, 3) uint8 of one of `KINDS`."""
    rng = np.random.default_rng(seed)
    shape = (height, width, 3)
    rows, columns = np.indices((height, width))
    if kind == "noise":
        image = rng.integers(0, 256, shape)
    elif kind in ("smooth", "posterised", "grey"):
        small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(shape).astype(np.int64)
        if kind == "posterised":
            image = image // 64 * 64
        elif kind == "grey":
            image = np.repeat(image[:, :, :1], 3, axis=2)
    elif kind == "flat":
        image = np.broadcast_to(rng.integers(0, 256, 3), shape)
    elif kind == "checkerboard":
        side = int(rng.integers(1, 16))
        dark, light = rng.integers(0, 256, (2, 3))
        image = np.where(((rows // side + columns // side) % 2)[:, :, None], dark, light)
    elif kind == "blocks":
        side = int(rng.integers(3, 16))
        colours = rng.integers(0, 4, (height // side + 1, width // side + 1, 3)) * 80
        image = colours[rows // side, columns // side]
    elif kind == "two-level noise":
        image = rng.integers(0, 2, shape) * int(rng.integers(1, 256))
    else:
        image = np.zeros(shape, np.int64)
        for _ in range(8):
            y, x, radius = rng.integers(0, height), rng.integers(0, width), rng.integers(2, 20)
            image[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = rng.integers(0, 256, 3)
        image = image + rng.integers(0, 6, shape)
    return np.ascontiguousarray(image.clip(0, 255), dtype=np.uint8)


small_images = st.builds(
    lambda kind, size, seed: draw(kind, *size, seed),
    st.sampled_from(KINDS),
    st.sampled_from(SIZES),
    st.integers(0, 2**32 - 1),
)


def photographs() -> list[ByteImage]:
    """scikit-learn's two at half size, (213, 320, 3)."""
    return [cv2.resize(image, (320, 213), interpolation=cv2.INTER_AREA) for image in load_sample_images().images]
