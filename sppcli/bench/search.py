"""Selective Search beside OpenCV's, which finds the same windows."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sppcli.bench.measure import Machine, Row, alternated
from sppcli.proposals.opencv_search import opencv_regions
from sppcli.proposals.selective_search import spp_regions
from sppcli.structures import ByteImage

Int32 = npt.NDArray[np.int32]


def rows(
    machine: Machine, size: tuple[int, int] = (375, 500), images: int = 2, modes: tuple[str, ...] = ("fast", "single")
) -> list[Row]:
    """Seconds of all ``images`` of ``size`` (height, width), on one thread each, once compiled.

    There is no floor: how much is to be done depends on what is found. ``machine`` is not needed.

    Raises:
        AssertionError: the sets of windows differ.
    """
    pictures = [photograph(size, seed) for seed in range(images)]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return [_row(pictures, mode) for mode in modes]
    finally:
        cv2.setNumThreads(threads)


def _row(pictures: list[ByteImage], mode: str) -> Row:
    found: dict[str, list[Int32]] = {}

    def ours() -> None:
        found["ours"] = [spp_regions(picture, mode) for picture in pictures]

    def peer() -> None:
        found["peer"] = [opencv_regions(picture, mode) for picture in pictures]

    ours()
    seconds = alternated({"ours": ours, "peer": peer}, 2, warm=False)
    count = 0
    for mine, other in zip(found["ours"], found["peer"], strict=True):
        windows = set(map(tuple, mine.tolist()))
        count += len(windows)
        if windows != set(map(tuple, other.tolist())):
            raise AssertionError(f"mode {mode}: the windows are not those of OpenCV")
    height, width = pictures[0].shape[:2]
    what = f"mode {mode}: {len(pictures)} images of {width} x {height}, {count:,} windows"
    return Row("search", what, seconds["ours"], peer="OpenCV, one thread", peer_seconds=seconds["peer"])


def photograph(size: tuple[int, int], seed: int) -> ByteImage:
    """A picture (H, W, 3) uint8 that segments like a photograph: several textures, things, light and noise."""
    height, width = size
    random = np.random.default_rng(seed)
    image = np.full((height, width, 3), 128.0)
    for grain in (3, 6, 12, 40, 150):
        coarse = random.normal(0, 1, (height // grain + 2, width // grain + 2, 3)).astype(np.float32)
        # Mostly light and dark, some colour.
        coarse = 0.7 * coarse[:, :, :1] + 0.3 * coarse
        image += (3 + 2.5 * np.sqrt(grain)) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(25):
        centre = (int(random.integers(0, width)), int(random.integers(0, height)))
        axes = tuple(int(side) for side in random.integers(8, min(size) // 5 + 9, 2))
        inside = np.zeros(size, np.uint8)
        cv2.ellipse(inside, centre, (axes[0], axes[1]), float(random.integers(0, 180)), 0, 360, 1, -1)
        image[inside > 0] = 0.35 * image[inside > 0] + 0.65 * random.integers(20, 236, 3)
    image += random.normal(0, 3, image.shape)
    return np.asarray(np.clip(image, 0, 255), dtype=np.uint8)
