"""Open Images: ``train-annotations-bbox.csv`` and the like, one row per box in shares of the image's sides.

| column | meaning |
|---|---|
| ImageID | the image's name without extension |
| LabelName | the class, as a machine's name (``/m/01yrx``); ``class-descriptions*.csv``, or FiftyOne's ``metadata/classes.csv``, has people's (Cat) |
| XMin XMax YMin YMax | corners, from 0 to 1 |
| IsTruncated | reaches outside the image |
| IsGroupOf | more than five objects in one box: a crowd, as COCO has it |
| IsDepiction, IsInside | a drawing; seen from within: objects like others, and counted |

-1 in a flag means unknown and counts as no. The split is the beginning of the file's name, or its folder.

Source: storage.googleapis.com/openimages, "Data Formats".
"""  # noqa: E501 (a table row)

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sppcli.datasets.annotated import LabelledBox, read_text
from sppcli.datasets.exported import Entry, Export, amount, by_head, export_format
from sppcli.datasets.format import Place
from sppcli.datasets.tables import header_of, lines_of, number_of, rows_of
from sppcli.errors import BadInput

COLUMNS = ("imageid", "labelname", "xmin", "xmax", "ymin", "ymax")
_SPLIT = re.compile(r"(?:oidv\d+-|challenge-\d+-)?(train|validation|test)-")
_YES, _NO = ("1", "1.0", "true"), ("", "0", "0.0", "-1", "-1.0", "false")
_COUNTED = {"isdepiction": "depiction", "isinside": "inside view"}


def is_open_images(head: str) -> bool:
    """Whether a CSV file that begins with ``head`` is Open Images'."""
    return set(COLUMNS) <= set(header_of(head))


def is_class_descriptions(head: str) -> bool:
    """Whether a CSV file that begins with ``head`` says what ``/m/…`` names mean."""
    return head.startswith(("/m/", "/g/", "/t/", "LabelName,DisplayName"))


def read_open_images(path: Path, names: Mapping[str, str]) -> Export:
    """One table. ``names``: LabelName -> class, of `read_descriptions`.

    Raises:
        BadInput: a row that is wrong; the text names its line.
    """
    export = Export(path)
    found = _SPLIT.match(path.name.lower())
    split = found[1] if found else ""
    things: dict[str, list[LabelledBox]] = {}
    marked = dict.fromkeys(_COUNTED, 0)
    for line, row in rows_of(read_text(path, "an Open Images table"), path):
        where = f"{path}, line {line}"
        image, label, *corners = (row[name] for name in COLUMNS)
        if not image or not label:
            raise BadInput(f"{where} names no {'LabelName' if image else 'ImageID'}")
        x0, x1, y0, y1 = (number_of(corner, where) for corner in corners)
        if max(map(abs, (x0, x1, y0, y1))) > 1.5:
            raise BadInput(f"{where}: {' '.join(corners)[:60]!r} are not shares of the image's sides, from 0 to 1")
        for name in _COUNTED:
            marked[name] += _flag(row, name, where)
        thing = LabelledBox(
            names.get(label, label),
            (x0, y0, x1, y1),
            truncated=_flag(row, "istruncated", where),
            crowd=_flag(row, "isgroupof", where),
        )
        things.setdefault(image, []).append(thing)
    export.entries = [
        Entry((name,), tuple(boxes), shares=True, splits=(split,) if split else ()) for name, boxes in things.items()
    ]
    export.notes += [
        f"{path}: {amount(count, _COUNTED[name])}, used as others" for name, count in marked.items() if count
    ]
    bare = {label for label in (thing.label for boxes in things.values() for thing in boxes) if label[:1] == "/"}
    if bare:
        export.notes.append(
            f"{path}: names like {min(bare)} are kept, {len(bare)} in all: no class-descriptions.csv beside it has them"
        )
    return export


def _flag(row: Mapping[str, str], name: str, where: str) -> bool:
    value = row.get(name, "").lower()
    if value not in (*_YES, *_NO):
        raise BadInput(f"{where}: {name} is {value[:60]!r}, not 0, 1 or -1")
    return value in _YES


def read_descriptions(paths: Sequence[Path]) -> dict[str, str]:
    """LabelName -> class, of all tables together; where two names would become one class, they stay as they are."""
    names: dict[str, str] = {}
    for path in paths:
        for _, fields in lines_of(read_text(path, "class descriptions"), path):
            if len(fields) >= 2 and fields[0].startswith("/") and fields[1]:
                names.setdefault(fields[0], fields[1])
    shared = {name for name in names.values() if sum(other == name for other in names.values()) > 1}
    return {key: name for key, name in names.items() if name not in shared}


def _pick(place: Place) -> list[Path]:
    # annotations.csv is the CSV data set's, whatever its columns.
    return [path for path in by_head(place, ".csv", is_open_images) if path.name != "annotations.csv"]


def _read(place: Place, files: Sequence[Path]) -> list[Export]:
    beside = place if place.is_folder else Place(place.path.parent)
    names = read_descriptions(by_head(beside, ".csv", is_class_descriptions))
    return [read_open_images(path, names) for path in files]


FORMAT = export_format(
    "openimages",
    "Open Images",
    "CSV with the columns ImageID, LabelName, XMin, XMax, YMin and YMax, not called annotations.csv",
    _pick,
    _read,
)
