"""EdgeBoxes (Zitnick and Dollár 2014) by opencv-contrib: boxes that enclose many whole contours score high."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from sppcli.images import shrink
from sppcli.proposals.edges import forest_edges, gradient_edges
from sppcli.structures import Boxes, ByteImage, FloatArray

if TYPE_CHECKING:
    from sppcli.proposals.propose import ProposeConfig


def edge_boxes(
    image: ByteImage, *, max_proposals: int, max_side: int, model: str = "", model_digest: str = ""
) -> tuple[Boxes, FloatArray]:
    """Proposals of one image, best first, with the paper's parameters (its section 4: alpha 0.65, beta 0.75).

    | name | shape | dtype | meaning |
    |---|---|---|---|
    | image | (H, W, 3) | uint8 | RGB |
    | max_proposals | | | the search stops at so many |
    | max_side | | pixels | larger images are searched at this size, their boxes mapped back |
    | model | | | file of a structured forest; "" for gradient edges |
    | model_digest | | | its SHA-256; "" for any |
    | returns | (N, 4), (N,) | float32 | boxes in pixels of ``image``, distinct; EdgeBoxes' scores, falling |

    Raises:
        MissingInput, BadInput, StaleArtefact: as `edges.open_forest`.
    """
    small, x_factor, y_factor = shrink(image, max_side)
    edges, orientation = forest_edges(small, model, model_digest) if model else gradient_edges(small)
    boxer = cv2.ximgproc.createEdgeBoxes(maxBoxes=max_proposals)
    found = boxer.getBoundingBoxes(edges, orientation)
    # Nothing found: an empty tuple and None. Their corners are MATLAB's, counted from 1, as in the authors' own code.
    rects = np.asarray(found[0], dtype=np.int64).reshape(-1, 4) - [1, 1, 0, 0]
    scores = np.asarray(found[1] if len(rects) else [], dtype=np.float32).reshape(-1)
    # Sorted by score already, as far as it was looked at; the rectangle decides between equal ones.
    order = np.lexsort((*rects.T[::-1], -scores))
    rects, scores = rects[order], scores[order]
    corners = np.concatenate([rects[:, :2], rects[:, :2] + rects[:, 2:]], axis=1)
    corners = np.clip(corners, 0, [small.shape[1], small.shape[0]] * 2)
    _, first = np.unique(corners, axis=0, return_index=True)
    first = np.sort(first[(corners[first, 2:] > corners[first, :2]).all(axis=1)])
    boxes = (corners[first] * [x_factor, y_factor, x_factor, y_factor]).astype(np.float32)
    limit = np.array([image.shape[1], image.shape[0]] * 2, dtype=np.float32)
    return np.minimum(boxes, limit), scores[first]


def propose(image: ByteImage, content: str, config: ProposeConfig) -> tuple[Boxes, FloatArray]:
    """`edge_boxes` as a `propose.Search`."""
    return edge_boxes(
        image,
        max_proposals=config.max_proposals,
        max_side=config.max_side,
        model=config.edge_model,
        model_digest=config.edge_model_digest,
    )
