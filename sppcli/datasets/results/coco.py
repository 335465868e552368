"""COCO result files: a list of {image_id, category_id, bbox, score}, as its evaluation server takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sppcli.datasets.annotated import read_text
from sppcli.datasets.base import did_you_mean, siblings
from sppcli.datasets.coco import CocoDataset, is_number
from sppcli.datasets.coco_numbers import CocoNumbers
from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.structures import WrittenDetections

_NO_ID = -(2**63)


def read_coco_results(path: Path, dataset: CocoDataset, split: str) -> WrittenDetections:
    """Detections in the images of ``split``, by the ids of that split's file; those in other images are passed over.

    Raises:
        MissingInput: no such file.
        BadInput: no such list, or an image or category that ``dataset`` does not have; the text names the entry.
    """
    if path.is_dir():
        raise UsageProblem(
            f"{path} is a folder: --coco scores one file of COCO's results, and --voc2007 or --voc2010 a folder of VOC "
            "result files"
        )
    if not path.is_file():
        raise MissingInput(f"there is no file {path}{did_you_mean(path.name, siblings(path))}")
    try:
        entries = json.loads(read_text(path, "COCO results"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON: {error}") from error
    if not isinstance(entries, list):
        raise BadInput(f"{path} is not a list of COCO results: image_id, category_id, bbox, score")
    numbers = dataset.numbers(split)
    image_ids = dataset.split(split)
    position = {image_id: i for i, image_id in enumerate(image_ids)}
    # Files of other splits may count from 1 too: this split's own images come first.
    elsewhere = {number for other in dataset.every_number() for number in other.images} - numbers.images.keys()
    label_of = {name: i for i, name in enumerate(numbers.of_classes)}
    image, label, boxes, scores = [], [], [], []
    for i, entry in enumerate(entries):
        where = f"{path}: entry {i}"
        row = entry if isinstance(entry, dict) else {}
        bbox: Any = row.get("bbox")
        score: Any = row.get("score")
        if not (isinstance(bbox, list) and len(bbox) == 4 and all(map(is_number, [*bbox, score]))):
            raise BadInput(f"{where} needs image_id, category_id, a bbox x y width height and a score")
        number, category = _id(row.get("image_id")), _id(row.get("category_id"))
        if number not in numbers.images and number not in elsewhere:
            raise BadInput(f"{where}: {dataset.sources[0]} has no image of id {row.get('image_id')!r}")
        image_id = numbers.images.get(number)
        if image_id not in position:
            continue
        if category not in numbers.categories:
            raise BadInput(f"{where}: {_shown(numbers)} has no category of id {row.get('category_id')!r}")
        x, y, width, height = map(float, bbox)
        image.append(position[image_id])
        label.append(label_of[numbers.categories[category]])
        if width < 0 or height < 0:
            raise BadInput(f"{where} has a bbox of negative width or height: {bbox!r}")
        boxes.append((x, y, width, height))
        scores.append(score)
    return WrittenDetections(
        image_ids,
        tuple(label_of),
        np.array(image, dtype=np.int64),
        np.array(label, dtype=np.int64),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array(scores, dtype=np.float64),
    )


def _id(value: object) -> int:
    """A file's value as an id, or one that no file has: JSON's true passes for 1, and a list cannot be looked up."""
    return value if isinstance(value, int) and not isinstance(value, bool) else _NO_ID


def _shown(numbers: CocoNumbers) -> str:
    return " and ".join(map(str, numbers.paths))
