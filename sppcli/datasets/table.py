"""CSV: a row a box, with a header that names the columns, and the images beside it.

Three conventions for boxes, told apart by the header (letter case does not matter):

| columns | meaning |
|---|---|
| x0 y0 x1 y1, or x1 y1 x2 y2 | pixels, 0-based half-open: ours, and keras-retinanet's |
| xmin ymin xmax ymax | VOC's: 1-based inclusive pixels, as TensorFlow's xml_to_csv copies them; with ImageID and LabelName (Open Images) shares of the sides |
| x y width height, or x y w h | pixels, 0-based: the first corner and the sides |

The image is in ``image``, ``filename``, ``file``, ``path``, ``image_path`` or ``ImageID`` (without extension), the class in
``class``, ``label``, ``name``, ``category`` or ``LabelName``. Where there, ``difficult``, ``truncated`` (``IsTruncated``), ``crowd``
(``iscrowd``, ``IsGroupOf``), ``split`` (names with blanks between), and ``width height`` beside xmin … or x0 … are read. A row
with an image and an empty box and class says that the image has no such object.

``annotations.csv`` is the data set, else every .csv is a split of its name (``train_labels.csv`` is train). ``classes.txt``
beside it, if there, holds the classes, one a line.
"""  # noqa: E501 (a table row)

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sppcli.datasets.annotated import (
    AnnotatedDataset,
    AnnotatedImage,
    AnnotatedSet,
    Corners,
    LabelledBox,
    ids_of,
    locate,
    memoised_size,
    read_text,
    unfound,
)
from sppcli.datasets.base import IMAGE_EXTENSIONS, is_image_name
from sppcli.datasets.format import Format, Place, Recognised
from sppcli.datasets.kaggle import is_kaggle
from sppcli.datasets.open_images import is_open_images
from sppcli.datasets.retinanet import is_retinanet
from sppcli.datasets.via import is_via_csv
from sppcli.errors import BadInput, MissingInput
from sppcli.structures import ImageItem

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


def table_files(folder: Path) -> dict[str, Path]:
    """Split name ("" for all) -> the CSV files of ``folder`` whose header names an image, a class and a box."""
    files = [path for path in sorted(folder.glob("*.csv")) if path.name[0] != "."]
    if (folder / "annotations.csv") in files:
        return {"": folder / "annotations.csv"}
    found = {
        path.stem.lower().removesuffix("_labels").removesuffix("_annotations"): path for path in files if _fits(path)
    }
    return {"": next(iter(found.values()))} if set(found) == {"labels"} else found


def _fits(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            _layout(next(csv.reader(stream), []), path)
    except (BadInput, OSError, UnicodeDecodeError, csv.Error):
        return False
    return True


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


@dataclass(frozen=True)
class _Row:
    """A line: the box as written, in the convention of its file; None for an image without object."""

    image: str
    thing: LabelledBox | None
    convention: str
    size: tuple[int, int] | None
    splits: tuple[str, ...]


class CsvDataset(AnnotatedDataset):
    """CSV files and their images."""

    def __init__(self, source: Path, images_needed: bool = True) -> None:
        """Read ``source``: a folder that `table_files` knows, or one .csv. The images must be there in any case.

        Raises:
            MissingInput: no image of a file is there.
            BadInput: a file that cannot be read so; the text names it and the line.
        """
        root = source if source.is_dir() else source.parent
        files = table_files(source) if source.is_dir() else {"": source}
        size = memoised_size()
        objects: dict[Path, list[LabelledBox]] = {}
        sizes: dict[Path, tuple[int, int]] = {}
        splits: dict[str, dict[Path, None]] = {}
        warnings: list[str] = []
        for split, path in files.items():
            rows = list(_rows(path))
            names = list(dict.fromkeys(row.image for row in rows))
            places = _places(names, [root / (split or "images"), root / "images" / split, root / "images", root], path)
            warnings += unfound([name for name in names if name not in places], path)
            if split:
                splits.setdefault(split, {})
            here: dict[Path, list[LabelledBox]] = {}
            for row in rows:
                if row.image not in places:
                    continue
                place = places[row.image]
                here.setdefault(place, [])
                for name in (*row.splits, *([split] if split else ())):
                    splits.setdefault(name, {})[place] = None
                if row.size:
                    sizes[place] = row.size
                if row.thing is not None:
                    shared = size(place) if row.convention == "shares" else None
                    here[place].append(replace(row.thing, box=_half_open(row.thing.box, row.convention, shared)))
            for place, things in here.items():
                earlier = objects.setdefault(place, things)
                if earlier != things:
                    warnings.append(f"{path} and an earlier file differ in image {place.name}: the earlier is used")
        ids = ids_of(objects, root)
        self._records = {
            ids[place]: AnnotatedImage(ids[place], place, tuple(things), sizes.get(place))
            for place, things in objects.items()
        }
        seen = sorted({thing.label for things in objects.values() for thing in things})
        named = root / "classes.txt"
        listed = [line.strip() for line in read_text(named, "class names").split("\n")] if named.is_file() else []
        declared = tuple(dict.fromkeys([*(name for name in listed if name), *seen]))
        items = [ImageItem(name, record.path) for name, record in self._records.items()]
        members = {name: [ids[place] for place in places] for name, places in splits.items()}
        super().__init__("csv", source, root, items, members, declared, warnings)
        if not items:
            raise MissingInput(f"{source} lists no image: nothing to work on")

    def record(self, image_id: str) -> AnnotatedImage:
        record = self._records[image_id]
        if record.size is None:
            # Boxes are clipped to the image, so its size is needed once they are used.
            from sppcli.images import upright_size

            record = self._records[image_id] = replace(record, size=upright_size(record.path))
        return record


def _rows(path: Path) -> Iterator[_Row]:
    text = read_text(path, "a CSV table")
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise BadInput(f"{path} is not CSV: {error}") from error
    if not lines:
        raise BadInput(f"{path} is empty: its first line names the columns")
    layout = _layout(lines[0], path)
    for number, line in enumerate(lines[1:], start=2):
        if not any(line):
            continue
        where = f"{path}, line {number}"
        if len(line) != len(lines[0]):
            raise BadInput(f"{where} has {len(line)} fields, the first line {len(lines[0])}")
        image, label = line[layout.image].strip(), line[layout.label].strip()
        corners = [line[column].strip() for column in layout.box]
        if not image:
            raise BadInput(f"{where} names no image")
        if bool(label) != any(corners):
            raise BadInput(f"{where} has a {'class but no box' if label else 'box but no class'}; fill in both or none")
        thing = None
        if label:
            x0, y0, x1, y1 = (_number(text, where) for text in corners)
            flags = {name: _flag(line[column], name, where) for name, column in layout.flags.items()}
            thing = LabelledBox(label, (x0, y0, x1, y1), **flags)
        sides = [line[column].strip() for column in layout.size or ()]
        size = None
        if any(sides):
            width, height = (_number(text, where) for text in sides)
            size = (int(width), int(height)) if width > 0 and height > 0 else None
        splits = () if layout.split is None else tuple(line[layout.split].split())
        yield _Row(image, thing, layout.convention, size, splits)


def _places(names: list[str], folders: list[Path], path: Path) -> dict[str, Path]:
    """Image name -> file; a name without extension (Open Images' ids) is tried with each."""
    if any(is_image_name(name) for name in names):
        return locate(names, folders, str(path))
    tried = {name + ending: name for ending in reversed(IMAGE_EXTENSIONS) for name in names}
    return {tried[full]: place for full, place in locate(list(tried), folders, str(path)).items()}


def _half_open(box: Corners, convention: str, size: tuple[int, int] | None) -> Corners:
    x0, y0, x1, y1 = box
    if convention == "inclusive":
        return x0 - 1, y0 - 1, x1, y1
    if convention == "sides":
        return x0, y0, x0 + x1, y0 + y1
    if size:
        return x0 * size[0], y0 * size[1], x1 * size[0], y1 * size[1]
    return box


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadInput(f"{where}: {text!r} is not a number")
    return value


def _flag(text: str, name: str, where: str) -> bool:
    value = text.strip().lower()
    if value not in (*_YES, *_NO):
        raise BadInput(f"{where}: {name} is {text!r}, not 0 or 1")
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


def _is_anothers(path: Path, head: str) -> bool:
    """Whether another format knows a table by marks of its own; Open Images' may be called annotations.csv here."""
    if is_open_images(head):
        return path.name != "annotations.csv"
    return is_via_csv(head) or is_retinanet(head) or is_kaggle(head)


def _recognise(place: Place) -> Recognised | None:
    tables = list(table_files(place.path).values()) if place.is_folder else [place.path]
    files = [path for path in tables if not _is_anothers(path, place.head(path))]
    if not files or (not place.is_folder and place.path.suffix.lower() != ".csv"):
        return None
    own = not place.is_folder or files[0].name == "annotations.csv"
    return Recognised(
        ", ".join(path.name for path in files), lambda: CsvDataset(place.path, place.images_needed), sure=own
    )


FORMAT = Format("csv", "CSV", "annotations.csv, or tables whose header names an image, a class and a box", _recognise)
