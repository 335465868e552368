"""Selective Search (Uijlings et al. 2013): segment an image in several ways, group each one's regions, keep them all.

The boxes are those of opencv-contrib's implementation, all of them and no others, in less than a tenth of its time
(mode single: a fifth). The rooms: `graph_segmentation` (initial regions), `pixel_codes` and `region_features` (what is
compared), `grouping` (what is merged), `introsort` (whose turn it is among equals) and here the colour spaces and
strategies of each mode. `opencv_search` is the reference.

The paper and OpenCV rank a region by a random number times its level in the hierarchy. OpenCV never seeds the
generator: what a limit on the number of boxes would leave is not a function of the image. So the set is put into a
fixed order and shuffled by a generator of our own, seeded by the image's content: the same proposals from either
engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from sppcli.images import shrink
from sppcli.proposals.selective_search.graph_segmentation import segment
from sppcli.proposals.selective_search.grouping import ALL_FOUR, FILL_ALONE, SIZE_ALONE, WITHOUT_COLOUR, Strategy, group
from sppcli.proposals.selective_search.opencv_search import opencv_regions
from sppcli.proposals.selective_search.pixel_codes import pixel_codes
from sppcli.proposals.selective_search.region_features import measure
from sppcli.structures import Boxes, ByteImage, FloatArray

if TYPE_CHECKING:
    from sppcli.proposals.propose import ProposeConfig

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Mode:
    """One grouping is run for each colour version, each k and each strategy."""

    colours: tuple[str, ...]
    ks: tuple[int, ...]
    strategies: tuple[Strategy, ...]


MODES = {
    "fast": Mode(("hsv", "lab"), (150, 300, 450), (ALL_FOUR, WITHOUT_COLOUR)),
    "quality": Mode(
        ("hsv", "lab", "grey", "blue", "red-green-grey"),
        (150, 300, 450, 600, 750),
        (ALL_FOUR, WITHOUT_COLOUR, FILL_ALONE, SIZE_ALONE),
    ),
    "single": Mode(("hsv",), (200,), (ALL_FOUR,)),
}


def _recolour(image: ByteImage, colour: str) -> ByteImage:
    """``image`` (H, W, 3) BGR in another colour space, (H, W, C).

    OpenCV means its fourth version of "quality" to be the hue, but writes the blue channel over it.
    """
    if colour == "hsv":
        found = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    elif colour == "lab":
        found = cv2.cvtColor(image, cv2.COLOR_BGR2Lab)
    elif colour == "blue":
        found = image[:, :, 0]
    else:
        found = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if colour == "red-green-grey":
            found = np.stack([image[:, :, 2], image[:, :, 1], found], axis=2)
    return np.ascontiguousarray(found, dtype=np.uint8).reshape(*image.shape[:2], -1)


def spp_regions(image: ByteImage, mode: str) -> Int32:
    """Boxes (N, 4) int32 as x, y, width, height of every region found, in order of creation; many occur more than once.

    Args:
        image: (H, W, 3) uint8, BGR.
        mode: fast, quality or single.
    """
    plan = MODES[mode]
    pixels = image.shape[0] * image.shape[1]
    found: list[Int32] = []
    for colour in plan.colours:
        version = _recolour(image, colour)
        for regions in measure(segment(version, plan.ks), pixel_codes(version)):
            found.extend(group(regions, strategy, pixels) for strategy in plan.strategies)
    boxes = np.concatenate(found)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


ENGINES: dict[str, Callable[[ByteImage, str], Int32]] = {"spp": spp_regions, "opencv": opencv_regions}


def selective_search(
    image: ByteImage, *, mode: str, max_proposals: int, max_side: int, seed: tuple[int, ...], engine: str = "spp"
) -> tuple[Boxes, FloatArray]:
    """Proposals of one image.

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | image | (H, W, 3) | uint8 | RGB |
    | mode | | | fast (the paper's), quality (more proposals, about three times slower), single (one segmentation) |
    | max_proposals | | | keep at most this many, drawn evenly from all |
    | max_side | | pixels | larger images are searched at this size, their boxes mapped back |
    | seed | | | decides the order, and so what max_proposals keeps |
    | engine | | | spp, or opencv for the reference; the proposals are the same |
    | returns | (N, 4), (N,) | float32 | boxes in pixels of ``image``; scores falling from 1 with the position |
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; the modes are {', '.join(MODES)}")
    height, width = image.shape[:2]
    small, x_factor, y_factor = shrink(image, max_side)
    rects = _distinct(ENGINES[engine](np.ascontiguousarray(small[:, :, ::-1]), mode))
    rects = rects[np.random.default_rng(seed).permutation(len(rects))][:max_proposals]
    corners = np.concatenate([rects[:, :2], rects[:, :2] + rects[:, 2:]], axis=1)
    boxes = (corners * [x_factor, y_factor, x_factor, y_factor]).astype(np.float32)
    boxes = np.minimum(boxes, np.array([width, height, width, height], dtype=np.float32))
    scores = np.linspace(1, 0, len(boxes), endpoint=False, dtype=np.float32)
    return boxes, scores


def _distinct(rects: Int32) -> npt.NDArray[np.int64]:
    """Each of ``rects`` (N, 4) once, sorted by x, then y, width and height."""
    wide = rects.astype(np.int64)
    if len(wide) == 0 or wide.max() >= 1 << 15:
        return np.asarray(np.unique(wide, axis=0))
    shifts = np.array([48, 32, 16, 0])
    keys = np.unique((wide << shifts).sum(axis=1))
    return np.asarray((keys[:, None] >> shifts) & 0xFFFF)


def propose(image: ByteImage, content: str, config: ProposeConfig) -> tuple[Boxes, FloatArray]:
    """`selective_search` as a `propose.Search`."""
    return selective_search(
        image,
        mode=config.mode,
        max_proposals=config.max_proposals,
        max_side=config.max_side,
        seed=(config.seed, int(content[:16], 16)),
        engine=config.engine,
    )
