"""labelme (and AnyLabeling, X-AnyLabeling): one JSON file per image, ``shapes`` with ``label``, ``points``,
``shape_type``.

Rectangles (two opposite corners in any order, or four) are kept. Polygons, circles (centre and a point of the rim),
masks and turned rectangles become the boxes around them; points, lines and linestrips are left out. Polygons or masks
of one label and one ``group_id`` are parts of one object, as labelme's own conversion to COCO has it. ``difficult`` and
``truncated``, as X-AnyLabeling writes them, are read, among ``flags`` too. The image is ``imagePath``, relative to the
JSON file, or the image of the JSON file's own name; ``imageData``, a copy of the image, is passed over.

Source: labelme's README and ``labelme/_label_file.py``, ``examples/*/labelme2coco.py``.
"""

from __future__ import annotations

import math
from pathlib import Path

from sppcli.datasets.annotated import Corners, LabelledBox
from sppcli.datasets.exported import Entry, Export, by_head, each, export_format
from sppcli.datasets.json_values import Json, load_json
from sppcli.datasets.shapes import Point, around

_ENCLOSED = {"polygon": "polygons", "mask": "masks", "rotation": "turned rectangles", "circle": "circles"}
_NO_INSIDE = ("point", "points", "line", "linestrip")
_PARTS = ("polygon", "mask")


def is_labelme(head: str) -> bool:
    """Whether a JSON file that begins with ``head`` is labelme's."""
    text = head.lstrip()
    first_keys = '"shapes"' in text and ('"version"' in text or '"flags"' in text or '"imagePath"' in text)
    return text.startswith("{") and (first_keys or '"imageData"' in text)


def read_labelme(path: Path) -> Export:
    """The JSON file of one image.

    Raises:
        BadInput: not labelme's, or a shape that is wrong; the text names it.
    """
    top = load_json(path, "a labelme file")
    export = Export(path)
    things: list[LabelledBox] = []
    groups: dict[tuple[str, str], int] = {}
    for shape in top.field("shapes").items():
        named = shape.get("shape_type")
        kind = named.name() if named else "polygon"
        label = shape.field("label").name()
        points = [(x, y) for x, y in (point.numbers(2) for point in shape.field("points").items())]
        if kind in _NO_INSIDE or not points:
            export.left_out[f"{kind} shapes"] += 1
            continue
        if kind in _ENCLOSED:
            export.enclosed[_ENCLOSED[kind]] += 1
        thing = LabelledBox(label, _box(shape, kind, points), _flag(shape, "difficult"), _flag(shape, "truncated"))
        group = shape.get("group_id")
        key = (label, group.name()) if group and kind in _PARTS else None
        if key in groups:
            at = groups[key]
            (x0, y0, x1, y1), (x2, y2, x3, y3) = things[at].box, thing.box
            both = around([(x0, y0), (x1, y1), (x2, y2), (x3, y3)])
            things[at] = LabelledBox(label, both, things[at].difficult, things[at].truncated)
            continue
        if key:
            groups[key] = len(things)
        things.append(thing)
    image = top.get("imagePath")
    names = ([image.text()] if image and image.raw else []) + [path.stem]
    width, height = top.get("imageWidth"), top.get("imageHeight")
    size = (width.whole(), height.whole()) if width and height else None
    export.entries.append(Entry(tuple(names), tuple(things), size=size))
    return export


def _box(shape: Json, kind: str, points: list[Point]) -> Corners:
    if kind == "circle":
        if len(points) != 2:
            raise shape.refuse("a circle of a centre and a point of its rim")
        (cx, cy), (x, y) = points
        radius = math.hypot(x - cx, y - cy)
        return cx - radius, cy - radius, cx + radius, cy + radius
    x0, y0, x1, y1 = around(points)
    # labelme's mask fills the pixels of both its corners.
    return (x0, y0, x1 + 1, y1 + 1) if kind == "mask" else (x0, y0, x1, y1)


def _flag(shape: Json, name: str) -> bool:
    flags = shape.get("flags")
    value = shape.get(name) or (flags.get(name) if flags and isinstance(flags.raw, dict) else None)
    return value.flag() if value else False


FORMAT = export_format(
    "labelme",
    "labelme",
    "JSON files with shapes and flags or imagePath, one per image",
    lambda place: by_head(place, ".json", is_labelme),
    each(read_labelme),
)
