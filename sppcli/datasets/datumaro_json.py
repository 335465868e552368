"""Datumaro's JSON, as Datumaro and CVAT write it: ``annotations/SUBSET.json`` with ``categories`` and ``items``.

A box is x, y, width, height in pixels; one with an attribute ``rotation`` (CVAT's, degrees clockwise about the centre),
rotated boxes, polygons and ellipses become the boxes around them. Masks, points, polylines, captions and labels of
whole images are left out. ``is_crowd``, ``difficult`` and ``truncated`` are read from the attributes. The file's name
is the split, save ``default``, which is Datumaro's name for none. Images are in ``images/``, ``images/SUBSET/`` or
anywhere.

The library itself is no dependency for one JSON file: see `exported`.

Source: Datumaro's documentation, "Datumaro Format", and CVAT's, "Datumaro".
"""

from __future__ import annotations

import re
from pathlib import Path

from sppcli.datasets.annotated import Corners, LabelledBox
from sppcli.datasets.exported import Entry, Export, by_head, each, export_format
from sppcli.datasets.json_values import Json, load_json
from sppcli.datasets.shapes import around, ellipse, ordered, pairs, turned_box
from sppcli.errors import BadInput

_CATEGORIES = re.compile(r'"categories"\s*:\s*\{')


def is_datumaro(head: str) -> bool:
    """Whether a JSON file that begins with ``head`` is Datumaro's. (COCO's categories are a list.)"""
    text = head.lstrip()
    return text.startswith("{") and ('"dm_format_version"' in text or bool(_CATEGORIES.search(text)))


def read_datumaro(path: Path) -> Export:
    """The JSON file of one subset.

    Raises:
        BadInput: not Datumaro's, or an item that is wrong; the text names it.
    """
    top = load_json(path, "a Datumaro file")
    export = Export(path)
    named = top.field("categories").get("label")
    if named:
        export.classes = [label.field("name").name() for label in named.field("labels").items()]
    split = "" if path.stem == "default" else path.stem
    for item in top.field("items").items():
        things = tuple(thing for row in item.field("annotations").items() for thing in _things(row, export))
        image = item.get("image", "media")
        file = image.get("path") if image else None
        name = item.field("id").name()
        names = (file.text(), name) if file and file.raw else (name,)
        export.entries.append(Entry(names, things, size=_size(image), splits=(split,) if split else ()))
    return export


def _size(image: Json | None) -> tuple[int, int] | None:
    size = image.get("size") if image else None
    if size is None:
        return None
    height, width = size.numbers(2)
    return int(width), int(height)


def _things(row: Json, export: Export) -> list[LabelledBox]:
    kind = row.field("type").name()
    box = _box(row, kind, export)
    if box is None:
        export.left_out[f"{kind} annotations"] += 1
        return []
    given = row.get("label_id")
    if given is None:
        export.left_out["unlabelled annotations"] += 1
        return []
    number = given.whole()
    if not 0 <= number < len(export.classes):
        raise BadInput(f"{given.where} is {number}, and the file lists {len(export.classes)} labels")
    return [
        LabelledBox(export.classes[number], box, _is(row, "difficult"), _is(row, "truncated"), _is(row, "is_crowd"))
    ]


def _is(row: Json, name: str) -> bool:
    attributes = row.get("attributes")
    value = attributes.get(name) if attributes else None
    return value.flag() if value else False


def _box(row: Json, kind: str, export: Export) -> Corners | None:
    if kind == "bbox":
        x, y, width, height = row.field("bbox").numbers(4)
        attributes = row.get("attributes")
        turn = attributes.get("rotation") if attributes else None
        degrees = turn.number() if turn else 0.0
        export.enclosed["turned rectangles"] += degrees % 360 != 0
        return turned_box((x, y, x + width, y + height), degrees)
    if kind == "rotated_bbox":
        export.enclosed["turned rectangles"] += 1
        cx, cy, width, height, degrees = row.field("points", "bbox").numbers(5)
        return turned_box((cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2), degrees)
    if kind == "ellipse":
        export.enclosed["ellipses"] += 1
        x0, y0, x1, y1 = ordered(row.field("points").numbers(4))
        return ellipse((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2)
    if kind == "polygon":
        export.enclosed["polygons"] += 1
        points = pairs(row.field("points").numbers())
        if not points:
            raise row.field("points").refuse("the points of a polygon")
        return around(points)
    return None


FORMAT = export_format(
    "datumaro",
    "Datumaro",
    "JSON with dm_format_version, or with categories that are no list and items",
    lambda place: by_head(place, ".json", is_datumaro),
    each(read_datumaro),
)
