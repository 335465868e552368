"""Darknet's YOLO: CVAT's "YOLO 1.1" and Yolo_mark, known by their ``obj.data``.

| what | where |
|---|---|
| lists | the .data file's ``train``, ``valid`` and others: text files with one image per line, each a split |
| class names | the file that its ``names`` says, one per line |
| labels | the image's name with .txt, beside it: ``class cx cy w h`` in shares of the sides |

Paths are as Darknet's working folder sees them (``data/obj_train_data/a.jpg``), so each file is looked for by the end
of its path. A listed image without label file has no objects.

Sources: docs.cvat.ai, "YOLO"; the READMEs of Darknet (AlexeyAB) and Yolo_mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from sppcli.datasets.annotated import LabelledBox, read_text
from sppcli.datasets.exported import Entry, Export, amount, by_head, export_format
from sppcli.datasets.finding import ImageFinder
from sppcli.datasets.format import Place
from sppcli.datasets.json_values import is_plain_text
from sppcli.datasets.tables import number_of
from sppcli.errors import BadInput, MissingInput

_NO_LISTS = ("classes", "names", "backup", "results", "eval", "labels", "top", "hierarchy")


def is_darknet(head: str) -> bool:
    """Whether a .data file that begins with ``head`` is Darknet's."""
    return {"names", "train"} <= _settings(head).keys() or {"names", "valid"} <= _settings(head).keys()


def _settings(text: str) -> dict[str, str]:
    """``key = value`` lines."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, sign, value in pairs if sign and value.strip()}


def read_darknet(path: Path, texts: list[Path]) -> list[Export]:
    """The lists of one .data file. ``texts``: every .txt and .names file of the data set.

    Raises:
        MissingInput: the names or a list is not there.
        BadInput: a line of a label file that is wrong; the text names it.
    """
    settings = _settings(read_text(path, "Darknet's settings"))
    finder = ImageFinder(texts)
    names = _names(_file(finder, settings.get("names", ""), path, "names"))
    exports = []
    for key, value in settings.items():
        if key in _NO_LISTS or not value.endswith(".txt"):
            continue
        listed = Export(_file(finder, value, path, key), classes=list(names.values()))
        without = 0
        for line in read_text(listed.path, "a list of images").splitlines():
            name = line.strip()
            if not name:
                continue
            if not is_plain_text(name):
                raise BadInput(f"{listed.path} holds a NUL: the file is damaged")
            # A label has its image's name, so the end of the image's path finds it.
            wanted = PurePosixPath(name.replace("\\", "/"))
            if not wanted.name:
                raise BadInput(f"{listed.path}: {name[:60]!r} is not the name of an image")
            wanted = wanted.with_suffix(".txt")
            labels = [place for place in finder.find(str(wanted), listed.path) if place.name != listed.path.name]
            if len(labels) > 1:
                raise BadInput(f"{listed.path}: {labels[0]} and {labels[1]} may both be the labels of {name!r}")
            without += not labels
            things = tuple(_objects(labels[0], names)) if labels else ()
            listed.entries.append(Entry((name,), things, shares=True, splits=(key,), labelled=bool(labels)))
        if without:
            shown = amount(without, "image")
            listed.notes.append(f"{listed.path}: {shown} without a label file, taken as without objects")
        exports.append(listed)
    if not exports:
        raise BadInput(f"{path} names no list of images: train = train.txt is one")
    return exports


def _file(finder: ImageFinder, name: str, data: Path, key: str) -> Path:
    found = finder.find(name, data) if is_plain_text(name) else []
    if len(found) != 1:
        raise MissingInput(f"{data}: {key} is {name!r}, which is {'there more than once' if found else 'not there'}")
    return found[0]


def _names(path: Path) -> dict[int, str]:
    lines = [line.strip() for line in read_text(path, "class names").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines or not all(lines) or len(set(lines)) < len(lines):
        raise BadInput(f"{path} does not hold class names that differ, one per line")
    return dict(enumerate(lines))


def _objects(path: Path, names: Mapping[int, str]) -> Iterator[LabelledBox]:
    for number, line in enumerate(read_text(path, "YOLO labels").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        where = f"{path}, line {number}"
        if len(fields) != 5:
            raise BadInput(f"{where}: {line.strip()[:60]!r} is not a class number and cx cy w h")
        index, cx, cy, w, h = (number_of(field, where) for field in fields)
        if index not in names:
            raise BadInput(f"{where}: there is no class {fields[0]}; {len(names)} are named, from 0")
        if max(abs(cx), abs(cy), abs(w), abs(h)) > 1.5:
            raise BadInput(
                f"{where}: {line.strip()[:60]!r} is not in shares of the image's width and height, from 0 to 1"
            )
        yield LabelledBox(names[int(index)], (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))


def _read(place: Place, files: Sequence[Path]) -> list[Export]:
    texts = place if place.is_folder else Place(place.path.parent)
    return [export for path in files for export in read_darknet(path, list(texts.ending(".txt", ".names")))]


FORMAT = export_format(
    "darknet",
    "Darknet YOLO",
    "obj.data, or another .data file, with names and train or valid",
    lambda place: by_head(place, ".data", is_darknet),
    _read,
)
