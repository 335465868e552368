"""CSV: one row per box, with a header that names the columns, and the images beside it.

Three conventions for boxes, told apart by the header (letter case does not matter):

| columns | meaning |
|---|---|
| x0 y0 x1 y1, or x1 y1 x2 y2 | pixels, 0-based half-open: ours, and keras-retinanet's |
| xmin ymin xmax ymax | VOC's: 1-based inclusive pixels, as TensorFlow's xml_to_csv copies them; with ImageID and LabelName (Open Images) shares of the sides |
| x y width height, or x y w h | pixels, 0-based: the first corner and the sides |

The image is in ``image``, ``filename``, ``file``, ``path``, ``image_path`` or ``ImageID`` (without extension), the
class in ``class``, ``label``, ``name``, ``category`` or ``LabelName``. Where there, ``difficult``, ``truncated``
(``IsTruncated``), ``crowd`` (``iscrowd``, ``IsGroupOf``), ``split`` (names with blanks between), and ``width height``
beside xmin … or x0 … are read. A row with an image and an empty box and class says that the image has no such object.

``annotations.csv`` is the data set, else every .csv is a split of its name (``train_labels.csv`` is train). Without
any, tables in the folders below are read, and folders called train, valid … are the splits, as in Roboflow's
``train/_annotations.csv``. ``classes.txt`` beside it, if there, holds the classes, one per line. Fields may be parted
by semicolons, as Excel writes them where a comma is the decimal sign.
"""  # noqa: E501 (a table row)

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sppcli.datasets.annotated import AnnotatedSet, Corners, LabelledBox, read_text
from sppcli.datasets.exported import Entry, Export, ExportDataset
from sppcli.datasets.format import Format, Place, Recognised
from sppcli.datasets.kaggle import is_kaggle
from sppcli.datasets.open_images import is_open_images
from sppcli.datasets.remarks import Problem, counted
from sppcli.datasets.retinanet import is_retinanet
from sppcli.datasets.tables import header_of, lines_of, number_of
from sppcli.datasets.via import is_via_csv
from sppcli.errors import BadInput

COLUMNS = ("image", "x0", "y0", "x1", "y1", "class", "difficult", "truncated", "crowd", "width", "height", "split")
"""What is written."""

_IMAGE = ("image", "filename", "file", "path", "image_path", "file_name", "imageid", "image_id")
_CLASS = ("class", "label", "name", "category", "class_name", "labelname")
_BOXES = {
    "half-open": (("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2")),
    "inclusive": (("xmin", "ymin", "xmax", "ymax"),),
    "sides": (("x", "y", "width", "height"), ("x", "y", "w", "h")),
}
_FLAGS = {
    "difficult": ("difficult",),
    "truncated": ("truncated", "istruncated"),
    "crowd": ("crowd", "iscrowd", "isgroupof"),
}
_YES, _NO = ("1", "1.0", "true", "yes"), ("", "0", "0.0", "-1", "false", "no")


@dataclass(frozen=True)
class _Layout:
    """Column numbers, by what they hold; None where there is no such column."""

    image: int
    label: int
    box: tuple[int, ...]
    convention: str
    flags: Mapping[str, int]
    split: int | None
    size: tuple[int, int] | None


def _layout(header: list[str], path: Path) -> _Layout:
    at = {name.strip().lower(): i for i, name in reversed(list(enumerate(header)))}

    def first(names: tuple[str, ...]) -> int | None:
        return next((at[name] for name in names if name in at), None)

    image, label = first(_IMAGE), first(_CLASS)
    fitting = [
        (convention, columns)
        for convention, choices in _BOXES.items()
        for columns in choices
        if all(column in at for column in columns)
    ]
    if image is None or label is None or not fitting:
        raise BadInput(
            f"{path}: the first line, {','.join(header)[:80]!r}, names no image, class and box; put there "
            "image,x0,y0,x1,y1,class (0-based half-open) or filename,width,height,class,xmin,ymin,xmax,ymax (VOC's)"
        )
    convention, columns = fitting[0]
    if convention == "inclusive" and "imageid" in at and "labelname" in at:
        convention = "shares"
    flags = {flag: column for flag, names in _FLAGS.items() if (column := first(names)) is not None}
    sides = (at["width"], at["height"]) if {"width", "height"} <= at.keys() - set(columns) else None
    split = first(("split", "subset"))
    return _Layout(image, label, tuple(at[column] for column in columns), convention, flags, split, sides)


def read_table(path: Path, split: str, classes: Sequence[str]) -> Export:
    """One table. ``split``: of all its images, "" for none; ``classes``: that are listed elsewhere.

    Raises:
        BadInput: the columns are not there, or a row that is wrong; the text names its line.
    """
    lines = lines_of(read_text(path, "a CSV table"), path)
    _, header = next(lines, (0, []))
    if not header:
        raise BadInput(f"{path} is empty: its first line names the columns")
    layout = _layout(header, path)
    things: dict[str, list[LabelledBox]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    splits: dict[str, dict[str, None]] = {}
    for number, line in lines:
        where = f"{path}, line {number}"
        if len(line) != len(header):
            raise BadInput(f"{where} has {len(line)} fields, the first line {len(header)}")
        image = line[layout.image]
        if not image:
            raise BadInput(f"{where} names no image")
        things.setdefault(image, []).extend(_things(line, layout, where))
        sides = [line[column] for column in layout.size or ()]
        if any(sides):
            width, height = (number_of(text, where) for text in sides)
            if width > 0 and height > 0:
                sizes[image] = (int(width), int(height))
        named = () if layout.split is None else line[layout.split].split()
        splits.setdefault(image, {}).update(dict.fromkeys([*named, *([split] if split else ())]))
    shares = layout.convention == "shares"
    entries = [
        Entry((name,), tuple(boxes), shares, sizes.get(name), tuple(splits[name])) for name, boxes in things.items()
    ]
    return Export(path, entries, list(classes))


def _things(line: Sequence[str], layout: _Layout, where: str) -> Iterator[LabelledBox]:
    """The object of a row; none where box and class are empty."""
    label, corners = line[layout.label], [line[column] for column in layout.box]
    if bool(label) != any(corners):
        raise BadInput(f"{where} has a {'class but no box' if label else 'box but no class'}; fill in both or none")
    if label:
        x0, y0, x1, y1 = (number_of(text, where) for text in corners)
        flags: dict[str, Any] = {name: _flag(line[column], name, where) for name, column in layout.flags.items()}
        yield LabelledBox(label, _half_open((x0, y0, x1, y1), layout.convention), **flags)


def _half_open(box: Corners, convention: str) -> Corners:
    x0, y0, x1, y1 = box
    if convention == "inclusive":
        # Where the corners are exchanged, the second is the first one: `annotated.fitted` puts them in order.
        (x0, x1), (y0, y1) = ((a - 1, b) if a <= b else (a, b - 1) for a, b in ((x0, x1), (y0, y1)))
        return x0, y0, x1, y1
    if convention == "sides":
        return x0, y0, x0 + x1, y0 + y1
    return box


def _flag(text: str, name: str, where: str) -> bool:
    value = text.lower()
    if value not in (*_YES, *_NO):
        raise BadInput(f"{where}: {name} is {text[:60]!r}, not 0 or 1")
    return value in _YES


def write_csv(folder: Path, data: AnnotatedSet, names: Mapping[str, str]) -> None:
    """``annotations.csv`` and ``classes.txt`` in ``folder``; ``names``: image id -> file name below ``images/``.

    Raises:
        BadInput: a split with a blank in its name, which the column split cannot hold.
    """
    member: dict[str, list[str]] = {}
    for split, ids in data.splits.items():
        if split.split() != [split]:
            raise BadInput(f"the split {split!r} has a blank in its name, which CSV puts between splits; rename it")
        for image_id in ids:
            member.setdefault(image_id, []).append(split)
    with (folder / "annotations.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for image in data.images:
            tail = [*(image.size or ("", "")), " ".join(member.get(image.id, ()))]
            for thing in image.objects or ():
                box = [repr(int(value) if float(value).is_integer() else value) for value in thing.box]
                flags = [int(thing.difficult), int(thing.truncated), int(thing.crowd)]
                writer.writerow([names[image.id], *box, thing.label, *flags, *tail])
            if not image.objects:
                writer.writerow([names[image.id], *[""] * 8, *tail])
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in data.classes), encoding="utf-8")


def _fits(place: Place, path: Path) -> bool:
    """Whether the header names an image, a class and a box, and no other format knows the table by marks of its own.

    Open Images' columns in annotations.csv are read here.
    """
    head = place.head(path)
    if is_via_csv(head) or is_retinanet(head) or is_kaggle(head):
        return False
    if is_open_images(head):
        return path.name == "annotations.csv"
    try:
        _layout(header_of(head), path)
    except BadInput:
        # Its reader says what is wrong with it.
        return path.name == "annotations.csv"
    return True


def _tables(place: Place) -> dict[Path, str]:
    """Tables -> the split of their name, "" where folders tell: see the top of this file."""
    if not place.is_folder:
        return {place.path: ""} if place.path.suffix.lower() == ".csv" and _is_plain(place) else {}
    files = [path for path in place.ending(".csv") if _fits(place, path)]
    here = [path for path in files if path.parent == place.path]
    if own := [path for path in here if path.name == "annotations.csv"]:
        return {own[0]: ""}
    if not here:
        return dict.fromkeys(files, "")
    named = {path: path.stem.lower().removesuffix("_labels").removesuffix("_annotations") for path in here}
    return {path: "" if name in ("labels", "") else name for path, name in named.items()}


def _is_plain(place: Place) -> bool:
    """Whether a table that was given is no other format's; what else is wrong with it, its reader says."""
    head = place.head(place.path)
    others = (is_via_csv, is_retinanet, is_kaggle)
    return not any(fits(head) for fits in others) and (not is_open_images(head) or place.path.name == "annotations.csv")


def _open(place: Place, tables: Mapping[Path, str]) -> ExportDataset:
    root = place.path if place.is_folder else place.path.parent
    named = root / "classes.txt"
    listed = [line.strip() for line in read_text(named, "class names").split("\n")] if named.is_file() else []
    classes = [name for name in listed if name]
    exports = [read_table(path, split, classes) for path, split in tables.items()]
    if place.is_folder and (
        others := [path for path in place.ending(".csv") if path not in tables and _fits(place, path)]
    ):
        what = "table of boxes was" if len(others) == 1 else "tables of boxes were"
        names = [path.relative_to(root).as_posix() for path in others]
        exports[0].notes.append(
            Problem("unread-file", counted(f"{{n}} {what} not read beside {exports[0].path.name}", names))
        )
    return ExportDataset("csv", place.path, exports)


def _recognise(place: Place) -> Recognised | None:
    tables = _tables(place)
    if not tables:
        return None
    names = [path.name for path in tables]
    own = not place.is_folder or names[0] in ("annotations.csv", "_annotations.csv")
    return Recognised(", ".join(names), lambda: _open(place, tables), sure=own)


FORMAT = Format(
    "csv",
    "CSV",
    "annotations.csv, SPLIT/_annotations.csv, or tables whose header names an image, a class and a box",
    _recognise,
)
