"""Selective Search beside OpenCV's, which finds the same regions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sppcli.bench.measure import Machine, Row, alternated
from sppcli.proposals.selective_search.opencv_search import one_thread, opencv_regions
from sppcli.proposals.selective_search.search import spp_regions
from sppcli.structures import ByteImage, FloatArray

Int32 = npt.NDArray[np.int32]


def rows(
    machine: Machine, size: tuple[int, int] = (375, 500), images: int = 2, modes: tuple[str, ...] = ("fast", "single")
) -> list[Row]:
    """Seconds of all ``images`` of ``size`` (height, width), on one thread each, once compiled.

    There is no floor: how much is to be done depends on what is found. ``machine`` is not needed.

    Raises:
        AssertionError: the sets of regions differ.
    """
    pictures = [photograph(size, seed) for seed in range(images)]
    with one_thread():
        return [_row(pictures, mode) for mode in modes]


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
            raise AssertionError(f"mode {mode}: the boxes are not those of OpenCV")
    height, width = pictures[0].shape[:2]
    what = f"mode {mode}: {len(pictures)} images of {width} x {height}, {count:,} proposals"
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
        image += (3 + 2.5 * np.sqrt(grain)) * _enlarged(_enlarged(coarse, height, 0), width, 1)
    y, x = np.mgrid[:height, :width]
    for _ in range(25):
        across, down = x - random.integers(0, width), y - random.integers(0, height)
        turn, axes = random.uniform(0, np.pi), random.integers(8, min(size) // 5 + 9, 2)
        along, beside = across * np.cos(turn) + down * np.sin(turn), down * np.cos(turn) - across * np.sin(turn)
        inside = (along / axes[0]) ** 2 + (beside / axes[1]) ** 2 < 1
        image[inside] = 0.35 * image[inside] + 0.65 * random.integers(20, 236, 3)
    image += random.normal(0, 3, image.shape)
    return np.asarray(np.clip(image, 0, 255), dtype=np.uint8)


def _enlarged(image: FloatArray, length: int, axis: int) -> FloatArray:
    """``image`` stretched linearly along ``axis`` to ``length``."""
    places = np.linspace(0, image.shape[axis] - 1, length)
    low = np.minimum(places.astype(np.int64), image.shape[axis] - 2)
    share = np.expand_dims((places - low).astype(np.float32), tuple(k for k in range(image.ndim) if k != axis))
    return np.asarray(np.take(image, low, axis) * (1 - share) + np.take(image, low + 1, axis) * share)
