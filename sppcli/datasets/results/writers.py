"""Detections as text for other tools: JSON lines, and COCO's list of results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.structures import Boxes, FloatArray


def jsonl_lines(
    image: str,
    path: str,
    boxes: Boxes,
    scores: FloatArray,
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
) -> Iterator[str]:
    """One JSON object a detection, best first: image, path, class, score, box (x0 y0 x1 y1, 0-based half-open)."""
    for i in np.argsort(-scores, kind="stable"):
        yield json.dumps(
            {
                "image": image,
                "path": path,
                "class": classes[labels[i]],
                "score": round(float(scores[i]), 6),
                "box": [round(float(value), 2) for value in boxes[i]],
            },
            ensure_ascii=False,
        )


def coco_results(
    image_id: int | str,
    path: str,
    boxes: Boxes,
    scores: FloatArray,
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
) -> Iterator[dict[str, Any]]:
    """COCO's result records of one image: ``bbox`` is x, y, width, height; ``category_id`` counts classes from 1.

    ``file_name`` and ``category`` are added for readers; COCO's own tools pass over them.
    """
    for i in np.argsort(-scores, kind="stable"):
        x0, y0, x1, y1 = (float(value) for value in boxes[i])
        yield {
            "image_id": image_id,
            "category_id": int(labels[i]) + 1,
            "bbox": [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)],
            "score": round(float(scores[i]), 6),
            "file_name": path,
            "category": classes[labels[i]],
        }
