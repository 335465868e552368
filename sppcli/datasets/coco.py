"""COCO's JSON: images, annotations with ``bbox`` x y width height in 0-based pixels, categories.

| what | where |
|---|---|
| annotations | ``annotations/instances_SPLIT.json``, or any other .json there that holds boxes; ``image_info_SPLIT.json`` lists images without annotations; ``SPLIT/_annotations.coco.json`` beside the images; or one file named by the user |
| images | ``SPLIT/``, ``images/SPLIT/``, ``images/``, or beside the file |
| id of an image | its path below the folder (or below ``images/``) without extension |

Crowds (``iscrowd``) are no positives and, as in COCO's and VOC's evaluation, neither hits nor misses. ``difficult`` and
``truncated``, which COCO does not have, are read and written under these names. Segmentations are passed over; their
``area`` is kept, since small, medium and large go by it.

Source: cocodataset.org, "Data format".
"""  # noqa: E501 (a table row)

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sppcli.datasets.annotated import (
    AnnotatedDataset,
    AnnotatedImage,
    LabelledBox,
    ids_of,
    locate,
    read_text,
    refuse_shares,
    unfound,
)
from sppcli.datasets.base import Problem, find_images
from sppcli.datasets.coco_numbers import CocoNumbers, joined
from sppcli.datasets.finding import ImageFinder
from sppcli.datasets.format import Format, Place, Recognised
from sppcli.datasets.labelme import is_labelme
from sppcli.datasets.remarks import Remark, counted
from sppcli.datasets.roles import role_of
from sppcli.datasets.via import is_via_json
from sppcli.errors import BadInput, MissingInput
from sppcli.structures import ImageItem

_LISTED = ("instances_", "image_info_")
_OTHER_TASKS = ("captions_", "person_keypoints_", "keypoints_", "panoptic_", "stuff_", "lvis_")
_BESIDE = "_annotations.coco.json"
_HUGE = 1e15


def annotation_files(folder: Path) -> dict[str, Path]:
    """Split name -> COCO file of ``folder``; empty where it holds none."""
    here = sorted((folder / "annotations").glob("*.json"))
    if named := [path for path in here if path.name.startswith(_LISTED)]:
        # instances_ sorts behind image_info_ and wins.
        return {path.stem.removeprefix("image_info_").removeprefix("instances_"): path for path in named}
    if other := [path for path in here if not path.name.startswith((".", *_OTHER_TASKS))]:
        return {path.stem: path for path in other}
    beside = {path.parent.name: path for path in sorted(folder.glob(f"*/{_BESIDE}"))}
    if beside or not (folder / _BESIDE).is_file():
        return beside
    return {folder.name if role_of(folder.name) else "": folder / _BESIDE}


def _any_name(place: Place) -> dict[str, Path]:
    """Split name -> COCO files of any name: ``train.json``, ``train/a.json``, ``result.json``.

    A single file whose name and folder say no split is of no split.
    """
    files = [path for path in place.ending(".json") if _is_coco(place, path)]
    splits: dict[str, Path] = {}
    for path in files:
        inside = path.parent if path.parent != place.path else Path()
        name = path.stem if role_of(path.stem) else inside.name if role_of(inside.name) else path.stem
        if len(files) == 1 and not role_of(name):
            name = ""
        while name in splits:
            name = f"{path.parent.name}-{path.stem}" if name == path.stem else f"{name}-{path.stem}"
        splits[name] = path
    return splits


@dataclass
class _File:
    """One JSON file, checked: image rows by COCO id, their objects, and the file's class names in its order."""

    path: Path
    split: str
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    objects: dict[int, list[LabelledBox]] | None = None
    categories: dict[int, str] = field(default_factory=dict)


class CocoDataset(AnnotatedDataset):
    """COCO files and their images."""

    def __init__(self, source: Path, images_needed: bool = True, files: Mapping[str, Path] | None = None) -> None:
        """Read ``source``: a folder that `annotation_files` knows, or with ``files``, or one .json file.

        Raises:
            MissingInput: no image of a file is there (unless ``images_needed`` is False).
            BadInput: a file that is no COCO file; the text names it and the entry.
        """
        root = source if source.is_dir() else source.parent
        if source.is_file() and root.name == "annotations":
            root = root.parent
        files = files or (annotation_files(source) if source.is_dir() else {_split_of(source): source})
        warnings: list[str] = []
        records: dict[Path, AnnotatedImage] = {}
        members: dict[str, list[Path]] = {}
        listed: dict[str, dict[int, Path]] = {}
        categories: dict[str, dict[int, str]] = {}
        for split, path in files.items():
            file = _read(path, split)
            listed[split], categories[split] = {}, file.categories
            found = _images(file, root, images_needed)
            names = [row["file_name"] for row in file.rows.values()]
            warnings += unfound([name for name in names if name not in found], path)
            members[split] = []
            here: dict[Path, int] = {}
            for number, row in file.rows.items():
                place = found.get(row["file_name"])
                if place is None:
                    continue
                objects = None if file.objects is None else tuple(file.objects.get(number, ()))
                record = AnnotatedImage("", place, objects, _size(row, path), number)
                members[split].append(place)
                listed[split][number] = place
                if (twice := here.setdefault(place, number)) != number:
                    warnings.append(_twice(path, row["file_name"], twice, number))
                    records[place] = _both(records[place], record)
                    continue
                earlier = records.setdefault(place, record)
                if earlier.objects is None:
                    records[place] = record
                elif record.objects not in (None, earlier.objects):
                    shown = f"image {row['file_name']!r}"
                    warnings.append(f"{path} and an earlier file differ in {shown}: the earlier is used")
        ids = ids_of(records, root)
        self._records = {
            ids[place]: AnnotatedImage(ids[place], place, record.objects, record.size, record.number)
            for place, record in records.items()
        }
        self._numbers = {
            split: CocoNumbers(
                (path,), {number: ids[place] for number, place in listed[split].items()}, categories[split]
            )
            for split, path in files.items()
        }
        classes = dict.fromkeys(name for named in categories.values() for name in named.values())
        splits = {split: [ids[place] for place in places] for split, places in members.items() if split}
        items = [ImageItem(name, record.path) for name, record in self._records.items()]
        warnings += _unnamed(source, {item.path for item in items}) if images_needed and source.is_dir() else []
        warnings += _other_files(source, set(files.values()))
        super().__init__("coco", source, root, items, splits, tuple(classes), warnings)
        if not items:
            raise MissingInput(f"{source} lists no image: nothing to work on")

    def record(self, image_id: str) -> AnnotatedImage:
        return self._records[image_id]

    def numbers(self, split: str) -> CocoNumbers:
        """The ids of images and categories in the file of ``split``, or in all files that list an image of it.

        Raises:
            MissingInput: no such split.
            BadInput: files that give one id to different images or classes.
        """
        if split in self._numbers:
            return self._numbers[split]
        wanted = set(self.split(split))
        return joined([one for one in self._numbers.values() if wanted.intersection(one.images.values())])

    def every_number(self) -> list[CocoNumbers]:
        """The ids in each file."""
        return list(self._numbers.values())


def _unnamed(folder: Path, named: set[Path]) -> list[str]:
    """What is said of images in ``folder`` that no annotation file names, and of those that are not read."""
    images, warnings = find_images(folder)
    others = [path.relative_to(folder).as_posix() for path in images if path not in named]
    if others:
        text = counted("{n} images are named by no annotation file and were left out", others)
        warnings = [*warnings, Problem("unlisted", text)]
    return warnings


def _other_files(folder: Path, read: set[Path]) -> list[Problem]:
    """What is said of JSON files in ``annotations/`` besides those that are read and COCO's own of other tasks."""
    others = [path for path in sorted((folder / "annotations").glob("*.json")) if path not in read]
    names = [path.name for path in others if not path.name.startswith((".", *_LISTED, *_OTHER_TASKS))]
    what = "JSON file in annotations was" if len(names) == 1 else "JSON files in annotations were"
    return [Problem("unread-file", counted(f"{{n}} {what} not read", names))] if names else []


def _split_of(path: Path) -> str:
    if path.name == _BESIDE:
        return path.parent.name
    for prefix in _LISTED:
        if path.stem.startswith(prefix):
            return path.stem.removeprefix(prefix)
    return path.stem


def _read(path: Path, split: str) -> _File:
    try:
        data = json.loads(read_text(path, "COCO annotations"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        raise BadInput(f"{path} is not a COCO file: lists of images, annotations and categories make one")
    file = _File(path, split)
    for number, name in _entries(data, "categories", path, "name"):
        if not name.strip():
            raise BadInput(f"{path}: category {number} has an empty name")
        if file.categories.get(number, name) != name:
            both = f"{file.categories[number]!r} and {name!r}"
            raise BadInput(f"{path}: two categories have the id {number}, {both}; make ids unique")
        file.categories[number] = name
    for row, (number, name) in zip(data["images"], _entries(data, "images", path, "file_name"), strict=True):
        if number in file.rows:
            raise BadInput(f"{path}: two images have the id {number}; make ids unique")
        if not name:
            raise BadInput(f"{path}: image {number} has an empty file_name")
        file.rows[number] = row
    if "annotations" in data:
        file.objects = _objects(data, file)
        refuse_shares(path, [thing.box for things in file.objects.values() for thing in things])
    return file


def _entries(data: Mapping[str, Any], key: str, path: Path, what: str) -> Iterator[tuple[int, str]]:
    rows = data.get(key, [])
    for position, row in enumerate(rows if isinstance(rows, list) else [None]):
        if not isinstance(row, dict) or not _whole(row.get("id")) or not isinstance(row.get(what), str):
            raise BadInput(f"{path}: entry {position} of {key} needs an id (a whole number) and a {what}")
        if not is_unicode(row[what]):
            raise BadInput(f"{path}: entry {position} of {key} has a {what} that is no Unicode text: {row[what]!r}")
        yield row["id"], row[what]


def _objects(data: Mapping[str, Any], file: _File) -> dict[int, list[LabelledBox]]:
    if not isinstance(data["annotations"], list):
        raise BadInput(f"{file.path}: annotations is not a list")
    objects: dict[int, list[LabelledBox]] = {}
    for position, row in enumerate(data["annotations"]):
        where = f"{file.path}: annotation {row.get('id', position) if isinstance(row, dict) else position}"
        if not isinstance(row, dict) or "bbox" not in row:
            raise BadInput(f"{where} has no bbox: this is not a file of boxes (instances_*.json)")
        if not _whole(row.get("image_id")) or row["image_id"] not in file.rows:
            raise BadInput(f"{where} is of image {row.get('image_id')!r}, which the file does not list")
        label = file.categories.get(row["category_id"]) if _whole(row.get("category_id")) else None
        if label is None:
            raise BadInput(f"{where} has category_id {row.get('category_id')!r}, which the file does not list")
        values = row["bbox"]
        if not (isinstance(values, list) and len(values) == 4 and all(map(is_number, values))) or min(values[2:]) < 0:
            raise BadInput(f"{where}: bbox is {values!r}, not x, y, width, height")
        area = row.get("area")
        if area is not None and not is_number(area):
            raise BadInput(f"{where}: area is {area!r}, not a number")
        x, y, width, height = map(float, values)
        thing = LabelledBox(
            label,
            (x, y, x + width, y + height),
            difficult=bool(row.get("difficult", 0)),
            truncated=bool(row.get("truncated", 0)),
            crowd=bool(row.get("iscrowd", 0)),
            area=None if area is None else float(area),
            xywh=(x, y, width, height),
        )
        objects.setdefault(row["image_id"], []).append(thing)
    return objects


def _images(file: _File, root: Path, needed: bool) -> dict[str, Path]:
    beside = file.path.parent
    folders = [
        *([beside] if file.path.name == _BESIDE else []),
        root / file.split,
        root / "images" / file.split,
        root / "images",
        root,
        beside,
        beside / file.split,
        beside / "images",
        root / "JPEGImages",
    ]
    names = [row["file_name"] for row in file.rows.values()]
    found = locate(names, folders, str(file.path), required=False)
    if needed and len(found) < len(set(names)):
        # Wherever they lie below, if only one can be meant.
        finder = ImageFinder(path for path in find_images(root)[0] if path not in found.values())
        for name in dict.fromkeys(names):
            if name not in found and len(places := finder.find(name, file.path, [file.split])) == 1:
                found[name] = places[0]
    if found or not names:
        return found
    if needed:
        return locate(names, folders, str(file.path))
    # Evaluation does without the images; their ids are as if they lay in the usual place.
    folder = root / file.split if not (root / "images").is_dir() else root / "images"
    return {name: folder / name for name in names}


def _size(row: Mapping[str, Any], path: Path) -> tuple[int, int] | None:
    width: Any = row.get("width")
    height: Any = row.get("height")
    if width is None or height is None:
        return None  # the image at hand decides
    if not all(is_number(side) and side > 0 and float(side).is_integer() for side in (width, height)):
        raise BadInput(
            f"{path}: image {row['id']} has width {width!r} and height {height!r}, not whole numbers above 0"
        )
    return int(width), int(height)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    # Not isfinite: an integer of 400 digits has no float to be asked.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE


def is_unicode(text: str) -> bool:
    """Whether ``text`` can be written as UTF-8: JSON may hold halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _twice(path: Path, name: str, first: int, second: int) -> Remark:
    text = f"{path}: image {name!r} stands twice there, with ids {first} and {second}; the objects of both are taken"
    many = "{n} images stand twice in their file; the objects of both entries are taken"
    return Remark("image-twice", text, many, name)


def _both(one: AnnotatedImage, other: AnnotatedImage) -> AnnotatedImage:
    """One image of two entries of a file: the objects of both, those that both have once."""
    if one.objects is None or other.objects is None:
        return replace(one, objects=one.objects if other.objects is None else other.objects)
    return replace(one, objects=tuple(dict.fromkeys((*one.objects, *other.objects))))


def _is_coco(place: Place, path: Path) -> bool:
    """Whether a file whose name says nothing is COCO's: an object with a list of images."""
    head = place.head(path)
    # labelme and VIA hold images as text, and labelme a file for each: they are not parsed to find out what they are.
    if not head.lstrip().startswith("{") or is_labelme(head) or is_via_json(head):
        return False
    content = place.json(path)
    return isinstance(content, dict) and isinstance(content.get("images"), list)


def _recognise(place: Place) -> Recognised | None:
    if not place.is_folder:
        fits = place.path.suffix.lower() == ".json" and _is_coco(place, place.path)
        return Recognised(place.path.name, lambda: CocoDataset(place.path, place.images_needed)) if fits else None
    files = annotation_files(place.path)
    if not any(path.name.startswith(_LISTED) or path.name == _BESIDE for path in files.values()):
        files = {split: path for split, path in files.items() if _is_coco(place, path)} or _any_name(place)
    if not files:
        return None
    shown = ", ".join(path.relative_to(place.path).as_posix() for path in files.values())
    return Recognised(shown, lambda: CocoDataset(place.path, place.images_needed, files))


FORMAT = Format(
    "coco",
    "COCO",
    "annotations/instances_SPLIT.json, SPLIT/_annotations.coco.json, or any JSON object with images and annotations",
    _recognise,
)
