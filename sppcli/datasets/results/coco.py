"""COCO result files: a list of {image_id, category_id, bbox, score}, as its evaluation server takes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sppcli.datasets.annotated import read_text
from sppcli.datasets.base import did_you_mean, siblings
from sppcli.datasets.coco import CocoDataset, is_number
from sppcli.errors import BadInput, MissingInput
from sppcli.structures import Detections, as_boxes


def read_coco_results(path: Path, dataset: CocoDataset, image_ids: Sequence[str]) -> Detections:
    """Detections in the images ``image_ids`` of ``dataset``; those in its other images are passed over.

    Boxes become float32 corners, so that a width may change by some hundred-thousandths of a pixel.

    Raises:
        MissingInput: no such file.
        BadInput: no such list, or an image or category that ``dataset`` does not have; the text names the entry.
    """
    if not path.is_file():
        raise MissingInput(f"there is no file {path}{did_you_mean(path.name, siblings(path))}")
    try:
        entries = json.loads(read_text(path, "COCO results"))
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from error
    if not isinstance(entries, list):
        raise BadInput(f"{path} is not a list of COCO results: image_id, category_id, bbox, score")
    # Custom sets may count from 1 in every split: the images asked for win.
    everything = [*(item.id for item in dataset.images), *image_ids]
    numbers = {dataset.record(image_id).number: image_id for image_id in everything}
    position = {image_id: i for i, image_id in enumerate(image_ids)}
    names = {number: name for name, number in dataset.numbers.items()}
    label_of = {name: i for i, name in enumerate(dataset.numbers)}
    image, label, boxes, scores = [], [], [], []
    for i, entry in enumerate(entries):
        where = f"{path}: entry {i}"
        row = entry if isinstance(entry, dict) else {}
        bbox, score = row.get("bbox"), row.get("score")
        if not (isinstance(bbox, list) and len(bbox) == 4 and all(map(is_number, [*bbox, score]))):
            raise BadInput(f"{where} needs image_id, category_id, a bbox x y width height and a score")
        if row.get("image_id") not in numbers:
            raise BadInput(f"{where}: {dataset.sources[0]} has no image of id {row.get('image_id')!r}")
        if row.get("category_id") not in names:
            raise BadInput(f"{where}: {dataset.sources[0]} has no category of id {row.get('category_id')!r}")
        where_in = position.get(numbers[row["image_id"]])
        if where_in is None:
            continue
        x, y, width, height = map(float, bbox)
        image.append(where_in)
        label.append(label_of[names[row["category_id"]]])
        boxes.append((x, y, x + width, y + height))
        scores.append(score)
    return Detections(
        tuple(image_ids),
        tuple(dataset.numbers),
        np.array(image, dtype=np.int64),
        np.array(label, dtype=np.int64),
        as_boxes(boxes, str(path)),
        np.array(scores, dtype=np.float32),
    )
