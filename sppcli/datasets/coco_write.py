"""COCO's JSON out of any annotated data set.

Source: cocodataset.org, "Data format".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sppcli.datasets.annotated import AnnotatedSet, LabelledBox
from sppcli.runtime.files import inside


def bbox_of(thing: LabelledBox) -> list[float]:
    """COCO's x y width height: as they were read, if the box is still the one that was read.

    Of others nine decimals: x + width - x is then the width that was meant, not one rounded twice.
    """
    x0, y0, x1, y1 = thing.box
    if thing.xywh is not None:
        x, y, width, height = thing.xywh
        if (x, y, x + width, y + height) == thing.box:
            return [_plain(value) for value in thing.xywh]
    return [_plain(x0), _plain(y0), _plain(round(x1 - x0, 9)), _plain(round(y1 - y0, 9))]


def _plain(value: float) -> float:
    """A whole number as int, so that 5.0 is written as 5."""
    return int(value) if float(value).is_integer() else value


def write_coco(folder: Path, data: AnnotatedSet, names: Mapping[str, str]) -> None:
    """``annotations/instances_SPLIT.json`` in ``folder``; ``names``: image id -> file name below ``images/``.

    A split without any annotation is an ``image_info_SPLIT.json``. Ids of images, annotations and categories count
    from 1, through all files alike; COCO's own image ids are kept where every image has a different one.
    """
    (folder / "annotations").mkdir(parents=True)
    given = [image.number for image in data.images]
    keep = None not in given and len(set(given)) == len(given)
    numbers = {image.id: image.number if keep else i for i, image in enumerate(data.images, start=1)}
    category = {name: i for i, name in enumerate(data.classes, start=1)}
    by_id = {image.id: image for image in data.images}
    first: dict[str, int] = {}
    count = 1
    for image in data.images:
        first[image.id] = count
        count += len(image.objects or ())
    for split, ids in data.lists().items():
        images = [by_id[image_id] for image_id in ids]
        rows = [{"id": numbers[image.id], "file_name": names[image.id], **_sides(image.size)} for image in images]
        content: dict[str, Any] = {"images": rows}
        annotated = any(image.objects is not None for image in images)
        if annotated:
            content["annotations"] = [
                _annotation(thing, first[image.id] + i, numbers[image.id], category[thing.label])
                for image in images
                for i, thing in enumerate(image.objects or ())
            ]
        content["categories"] = [{"id": number, "name": name} for name, number in category.items()]
        name = f"{'instances' if annotated or not images else 'image_info'}_{split}.json"
        inside(folder / "annotations", name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _sides(size: tuple[int, int] | None) -> dict[str, int]:
    return {} if size is None else {"width": size[0], "height": size[1]}


def _annotation(thing: LabelledBox, number: int, image: int | None, category: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": bbox_of(thing),
        "area": _plain(float(round(thing.own_area, 9))),
        "iscrowd": int(thing.crowd),
    }
    return row | {name: 1 for name in ("difficult", "truncated") if getattr(thing, name)}
