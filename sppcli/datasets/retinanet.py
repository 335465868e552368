"""keras-retinanet's CSV: ``path/to/image.jpg,x1,y1,x2,y2,class`` a row, without a header.

Pixels, 0-based half-open. ``path/to/image.jpg,,,,,`` says that an image has no objects. A table of classes beside it,
``classes.csv`` or the like with ``class,number`` a row, gives their order. The split is the file's name where it is
that of a split (``train.csv``), else its folder.

Source: the README of keras-retinanet, "CSV datasets".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sppcli.datasets.annotated import LabelledBox, read_text
from sppcli.datasets.base import is_image_name
from sppcli.datasets.exported import Entry, Export, by_head, export_format
from sppcli.datasets.format import Place
from sppcli.datasets.roles import role_of
from sppcli.datasets.shapes import ordered
from sppcli.datasets.tables import header_of, lines_of, number_of
from sppcli.errors import BadInput

_NUMBER = re.compile(r"-?\d+(\.\d*)?")
_CLASS_ROW = re.compile(r"[^,\n]+,\s*\d+\s*")


def is_retinanet(head: str) -> bool:
    """Whether a CSV file that begins with ``head`` is of this kind, by its first row."""
    first = header_of(head)
    if len(first) != 6 or not is_image_name(first[0]):
        return False
    return not any(first[1:]) or bool(first[5] and all(map(_NUMBER.fullmatch, first[1:5])))


def is_class_table(head: str) -> bool:
    """Whether each whole line that ``head`` begins with is a class and its number, from 0 on."""
    lines = [line for line in head.splitlines() if line.strip()]
    return bool(lines) and all(map(_CLASS_ROW.fullmatch, lines[:-1] or lines)) and lines[0].rstrip().endswith(",0")


def read_retinanet(path: Path, classes: list[str]) -> Export:
    """One table. ``classes``: of `read_classes`.

    Raises:
        BadInput: a row that is wrong; the text names its line.
    """
    export = Export(path, classes=list(classes))
    things: dict[str, list[LabelledBox]] = {}
    for number, fields in lines_of(read_text(path, "a CSV table"), path):
        where = f"{path}, line {number}"
        if len(fields) != 6 or not fields[0]:
            raise BadInput(f"{where} is not image,x1,y1,x2,y2,class")
        image, corners, label = fields[0], fields[1:5], fields[5]
        here = things.setdefault(image, [])
        if not label and not any(corners):
            continue
        if not label or not all(corners):
            raise BadInput(f"{where} has a {'class but no box' if label else 'box but no class'}; fill in both or none")
        x0, y0, x1, y1 = (number_of(corner, where) for corner in corners)
        here.append(LabelledBox(label, ordered((x0, y0, x1, y1))))
    split = path.stem if role_of(path.stem) else ""
    export.entries = [Entry((name,), tuple(boxes), splits=(split,) if split else ()) for name, boxes in things.items()]
    return export


def read_classes(path: Path) -> list[str]:
    """The names in a table of classes, by number."""
    rows = [fields for _, fields in lines_of(read_text(path, "a table of classes"), path)]
    if not all(len(fields) == 2 and fields[1].isdecimal() and len(fields[1]) < 19 for fields in rows):
        raise BadInput(f"{path} is not a table of class,number")
    return [name for name, _ in sorted(rows, key=lambda fields: int(fields[1]))]


def _read(place: Place, files: Sequence[Path]) -> list[Export]:
    beside = place if place.is_folder else Place(place.path.parent)
    tables = by_head(beside, ".csv", is_class_table)
    classes = list(dict.fromkeys(name for path in tables for name in read_classes(path)))
    return [read_retinanet(path, classes) for path in files]


FORMAT = export_format(
    "retinanet",
    "RetinaNet CSV",
    "CSV without a header whose first row is image,x1,y1,x2,y2,class or image,,,,,",
    lambda place: by_head(place, ".csv", is_retinanet),
    _read,
)
