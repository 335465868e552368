"""Selective Search (Uijlings et al. 2013) by opencv-contrib, made independent of what ran before.

OpenCV orders the boxes by C's ``rand()``, a process-wide generator that it never seeds: the set of boxes is a function
of the image, their order is not, and nor is what a limit on their number would leave. So the set is put into
a fixed order and shuffled by a generator of our own, seeded by the image's content.
"""

from __future__ import annotations

import cv2
import numpy as np

from sppcli.images import shrink
from sppcli.structures import Boxes, ByteImage, FloatArray

MODES = ("fast", "quality", "single")


def selective_search(
    image: ByteImage, *, mode: str, max_proposals: int, max_side: int, seed: tuple[int, ...]
) -> tuple[Boxes, FloatArray]:
    """Windows of one image.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | image | (H, W, 3) | uint8 | RGB |
    | mode | | | fast (the paper's), quality (more windows, about three times slower), single (one segmentation) |
    | max_proposals | | | keep at most this many, drawn evenly from all |
    | max_side | | pixels | larger images are searched at this size, their boxes mapped back |
    | seed | | | decides the order, and so what max_proposals keeps |
    | returns | (N, 4), (N,) | float32 | boxes in pixels of ``image``; scores falling from 1 with the position |
    """
    height, width = image.shape[:2]
    small, x_factor, y_factor = shrink(image, max_side)
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(small[:, :, ::-1]))
    if mode == "fast":
        search.switchToSelectiveSearchFast()
    elif mode == "quality":
        search.switchToSelectiveSearchQuality()
    elif mode == "single":
        search.switchToSingleStrategy()
    else:
        raise ValueError(f"unknown mode {mode!r}; the modes are {', '.join(MODES)}")
    rects = np.unique(np.asarray(search.process(), dtype=np.int64).reshape(-1, 4), axis=0)
    rects = rects[np.random.default_rng(seed).permutation(len(rects))][:max_proposals]
    corners = np.concatenate([rects[:, :2], rects[:, :2] + rects[:, 2:]], axis=1)
    boxes = (corners * [x_factor, y_factor, x_factor, y_factor]).astype(np.float32)
    boxes = np.minimum(boxes, np.array([width, height, width, height], dtype=np.float32))
    scores = np.linspace(1, 0, len(boxes), endpoint=False, dtype=np.float32)
    return boxes, scores
