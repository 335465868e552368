"""Tables with the box in one column: ``image_id,width,height,bbox`` with ``bbox`` as "[x, y, width, height]" in pixels.

This is how several Kaggle competitions (Global Wheat Detection first) give COCO's boxes. The image is in ``image_id``,
``image``, ``filename`` or ``image_name``, with or without extension, the class in ``class``, ``label``, ``category``,
``name`` or ``class_name``; without such a column every object is of one class, "object". An empty ``bbox`` says that an
image has no objects. ``split``, where there, is the split.

Source: the data pages of these competitions.
"""

from __future__ import annotations

import re
from pathlib import Path

from sppcli.datasets.annotated import LabelledBox, read_text
from sppcli.datasets.exported import UNNAMED, Entry, Export, by_head, each, export_format
from sppcli.datasets.roles import role_of
from sppcli.datasets.tables import header_of, number_of, rows_of
from sppcli.errors import BadInput

IMAGE = ("image_id", "imageid", "image", "filename", "file_name", "image_name", "path", "image_path", "id")
CLASS = ("class", "label", "category", "name", "class_name", "category_name")
_EMPTY = ("", "[]", "nan", "none", "null")
_LIST = re.compile(r"[\[(](.*)[\])]")


def is_kaggle(head: str) -> bool:
    """Whether a CSV file that begins with ``head`` has a column bbox and one of images."""
    header = header_of(head)
    return "bbox" in header and any(name in header for name in IMAGE)


def read_kaggle(path: Path) -> Export:
    """One table.

    Raises:
        BadInput: a row that is wrong; the text names its line.
    """
    export = Export(path)
    things: dict[str, list[LabelledBox]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    split = path.stem if role_of(path.stem) else ""
    splits: dict[str, tuple[str, ...]] = {}
    unnamed = 0
    for number, row in rows_of(read_text(path, "a CSV table"), path):
        where = f"{path}, line {number}"
        image = next((row[name] for name in IMAGE if name in row), "")
        if not image:
            raise BadInput(f"{where} names no image")
        here = things.setdefault(image, [])
        splits[image] = tuple(row.get("split", split).split())
        if row.get("width") and row.get("height"):
            sizes[image] = (int(number_of(row["width"], where)), int(number_of(row["height"], where)))
        if row["bbox"].lower() in _EMPTY:
            continue
        found = _LIST.fullmatch(row["bbox"])
        fields = found[1].replace(",", " ").split() if found else []
        if len(fields) != 4:
            raise BadInput(f"{where}: bbox is {row['bbox'][:60]!r}, not [x, y, width, height]")
        x, y, width, height = (number_of(field, where) for field in fields)
        label = next((row[name] for name in CLASS if name in row), None)
        if label == "":
            raise BadInput(f"{where} has a box but no class; fill in both or none")
        unnamed += label is None
        here.append(LabelledBox(label or UNNAMED, (x, y, x + width, y + height)))
    export.entries = [
        Entry((name,), tuple(boxes), size=sizes.get(name), splits=splits[name]) for name, boxes in things.items()
    ]
    if unnamed:
        export.notes.append(f"{path} has no column for the class: its {unnamed} objects are called {UNNAMED!r}")
    return export


FORMAT = export_format(
    "kaggle",
    "Kaggle CSV",
    "CSV with a column bbox and one of image_id, image, filename …",
    lambda place: by_head(place, ".csv", is_kaggle),
    each(read_kaggle),
)
