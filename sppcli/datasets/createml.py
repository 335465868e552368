"""Create ML's JSON: a list of images, each with ``annotations`` of a ``label`` and ``coordinates``.

``coordinates`` are x, y, width, height in pixels from the upper left corner, and x, y are the CENTRE of the box, which
is Create ML's default (``units: .pixel, origin: .topLeft, anchor: .center``). Apple's own example calls the fields
``imagefilename`` and ``annotation``; most tools (Roboflow, RectLabel, makesense) write ``image`` and ``annotations``:
both are read.

Source: Apple's documentation of MLObjectDetector.AnnotationType.boundingBox.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sppcli.datasets.annotated import Corners, LabelledBox
from sppcli.datasets.exported import Entry, Export, by_content, each, export_format
from sppcli.datasets.json_values import Json, load_json

_IMAGE = ("image", "imagefilename", "filename")
_ANNOTATIONS = ("annotations", "annotation")


def is_createml(content: Any) -> bool:
    """Whether parsed JSON is Create ML's: a list of images with annotations, and a label and coordinates in these."""
    if not isinstance(content, list) or not content:
        return False
    lists = [
        next((row[key] for key in _ANNOTATIONS if key in row), None)
        for row in content
        if isinstance(row, dict) and any(isinstance(row.get(key), str) for key in _IMAGE)
    ]
    inner = [thing for things in lists if isinstance(things, list) for thing in things]
    return len(lists) == len(content) and any(isinstance(thing, dict) and "coordinates" in thing for thing in inner)


def read_createml(path: Path) -> Export:
    """One JSON file.

    Raises:
        BadInput: not Create ML's, or an entry that is wrong; the text names it.
    """
    export = Export(path)
    for row in load_json(path, "a Create ML file").items():
        listed = row.get(*_ANNOTATIONS)
        things = tuple(_thing(thing) for thing in listed.items()) if listed else ()
        export.entries.append(Entry((row.field(*_IMAGE).name(),), things))
    return export


def _thing(row: Json) -> LabelledBox:
    place = row.field("coordinates")
    cx, cy, width, height = (place.field(name).number() for name in ("x", "y", "width", "height"))
    box: Corners = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
    return LabelledBox(row.field("label").name(), box)


FORMAT = export_format(
    "createml",
    "Create ML",
    "a JSON list of images with annotations that have a label and coordinates",
    lambda place: by_content(place, is_createml, lambda head: '"coordinates"' in head),
    each(read_createml),
)
