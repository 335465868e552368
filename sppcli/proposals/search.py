"""The windows of one image file: what a worker process runs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sppcli.errors import SppError
from sppcli.images import decode, digest, read_bytes
from sppcli.paper import DEFAULT
from sppcli.proposals.selective_search import selective_search
from sppcli.structures import Boxes, ByteImage, FloatArray, ImageItem


def engine_name(engine: str) -> str:
    """What an artefact records: both engines compute with OpenCV's blur, colours and warps, whose last bits decide."""
    return f"opencv {cv2.__version__}" if engine == "opencv" else f"{engine} on opencv {cv2.__version__}"


@dataclass(frozen=True)
class ProposeConfig:
    """What decides the windows, from any engine. ``max_side``: larger images are searched at that size, in pixels."""

    mode: str = DEFAULT.mode
    max_proposals: int = DEFAULT.max_proposals
    max_side: int = DEFAULT.max_side
    seed: int = 0


@dataclass(frozen=True)
class Windows:
    """Windows of one image, its size, or why there are none."""

    boxes: Boxes
    scores: FloatArray
    size: tuple[int, int]
    problem: str = ""


def propose_image(image: ImageItem, config: ProposeConfig, engine: str = "spp") -> Windows:
    """Windows of one image file, by one of `ENGINES`; a file that cannot be read gives its ``problem``."""
    try:
        data = read_bytes(image.path)
        pixels = decode(data, str(image.path))
    except SppError as error:
        return Windows(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (0, 0), str(error))
    # One thread an image: processes are the parallelism, and OpenCV's own threads gain little here.
    cv2.setNumThreads(1)
    boxes, scores = search(pixels, digest(data), config, engine)
    return Windows(boxes, scores, (pixels.shape[0], pixels.shape[1]))


def search(image: ByteImage, content: str, config: ProposeConfig, engine: str = "spp") -> tuple[Boxes, FloatArray]:
    """Windows and scores of a decoded image whose file has the digest ``content``."""
    return selective_search(
        image,
        mode=config.mode,
        max_proposals=config.max_proposals,
        max_side=config.max_side,
        seed=(config.seed, int(content[:16], 16)),
        engine=engine,
    )
