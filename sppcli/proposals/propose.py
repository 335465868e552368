"""The proposals of one image file: what a worker process runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from sppcli.errors import SppError
from sppcli.images import decode, digest, read_bytes
from sppcli.paper import DEFAULT
from sppcli.proposals.registry import METHODS
from sppcli.proposals.union import unite
from sppcli.structures import Boxes, ByteImage, FloatArray, ImageItem

SELECTIVE_SEARCH = "selective-search"


def engine_name(engine: str) -> str:
    """What an artefact records: both engines compute with OpenCV's blur, colours and warps, whose last bits decide."""
    return f"opencv {cv2.__version__}" if engine == "opencv" else f"{engine} on opencv {cv2.__version__}"


@dataclass(frozen=True, kw_only=True)
class ProposeConfig:
    """What decides the proposals. ``max_side``: larger images are searched at that size, in pixels.

    ``engine``: Selective Search's, one of `selective_search.ENGINES`; both find the same proposals.
    ``methods``: each finds at most ``max_proposals``, `union.unite` joins them; none for imported proposals alone.
    ``edge_model``: file of the structured forest that edge-boxes takes its edges from, "" for gradient edges, and its
    SHA-256. ``imports``: digests of the files whose proposals were added.
    """

    mode: str = DEFAULT.mode
    max_proposals: int = DEFAULT.max_proposals
    max_side: int = DEFAULT.max_side
    seed: int = 0
    engine: str = "spp"
    methods: tuple[str, ...] = (SELECTIVE_SEARCH,)
    edge_model: str = ""
    edge_model_digest: str = ""
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # JSON has lists.
        object.__setattr__(self, "methods", tuple(self.methods))
        object.__setattr__(self, "imports", tuple(self.imports))

    def settings(self) -> dict[str, Any]:
        """What a proposals file records: all that decides the proposals, so not where a model lies."""
        found = asdict(self)
        del found["edge_model"]
        for name in ("methods", "edge_model_digest", "imports"):
            # As in files that were made before there was a choice.
            if found[name] == getattr(ProposeConfig(), name):
                del found[name]
            elif isinstance(found[name], tuple):
                found[name] = list(found[name])
        method = " + ".join((*self.methods, *(["imported"] if self.imports else [])))
        return {**found, "method": method, "engine": engine_name(self.engine)}


Search = Callable[[ByteImage, str, ProposeConfig], tuple[Boxes, FloatArray]]
"""The function that a line of `registry.METHODS` names. It takes an RGB image, the digest of its file (the seed of
random draws) and the settings, and returns at most ``max_proposals`` boxes (N, 4) float32 in pixels of the image, best
first, and their scores (N,) float32.
"""


@dataclass(frozen=True)
class Windows:
    """Proposals of one image, its size, or why there are none."""

    boxes: Boxes
    scores: FloatArray
    size: tuple[int, int]
    problem: str = ""


def propose_image(image: ImageItem, config: ProposeConfig) -> Windows:
    """Proposals of one image file; a file that cannot be read gives its ``problem``."""
    try:
        data = read_bytes(image.path)
        pixels = decode(data, str(image.path))
    except SppError as error:
        return Windows(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (0, 0), str(error))
    # One thread per image: processes work in parallel, and OpenCV's own threads gain little here.
    cv2.setNumThreads(1)
    boxes, scores = search(pixels, digest(data), config)
    return Windows(boxes, scores, (pixels.shape[0], pixels.shape[1]))


def search(image: ByteImage, content: str, config: ProposeConfig) -> tuple[Boxes, FloatArray]:
    """Proposals and scores of a decoded image whose file has the digest ``content``, by all methods of ``config``."""
    return unite([_search(method)(image, content, config) for method in config.methods])


def _search(method: str) -> Search:
    # Selective Search imports numba, for which a search that is up to date need not wait.
    found: Search = METHODS[method].load()
    return found
