"""Selective Search by opencv-contrib: the reference that our own must equal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import numpy.typing as npt

from sppcli.structures import ByteImage

Int32 = npt.NDArray[np.int32]


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV computes with one thread meanwhile."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def opencv_regions(image: ByteImage, mode: str) -> Int32:
    """Boxes (N, 4) int32 as x, y, width, height of every region found.

    OpenCV orders them by C's ``rand()``, a process-wide generator that it never seeds: which boxes there are is a
    function of the image, their order is not.

    Args:
        image: (H, W, 3) uint8, BGR.
        mode: fast, quality or single.
    """
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(image)
    if mode == "fast":
        search.switchToSelectiveSearchFast()
    elif mode == "quality":
        search.switchToSelectiveSearchQuality()
    else:
        search.switchToSingleStrategy()
    return np.asarray(search.process(), dtype=np.int32).reshape(-1, 4)
