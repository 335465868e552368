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
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sppcli.datasets.annotated import (
    AnnotatedDataset,
    AnnotatedImage,
    AnnotatedSet,
    LabelledBox,
    ids_of,
    locate,
    read_text,
    unfound,
)
from sppcli.datasets.coco_numbers import CocoNumbers, joined
from sppcli.datasets.format import Format, Place, Recognised
from sppcli.errors import BadInput, MissingInput
from sppcli.structures import ImageItem

_LISTED = ("instances_", "image_info_")
_OTHER_TASKS = ("captions_", "person_keypoints_", "keypoints_", "panoptic_", "stuff_", "lvis_")
_BESIDE = "_annotations.coco.json"


def annotation_files(folder: Path) -> dict[str, Path]:
    """Split name -> COCO file of ``folder``; empty where it holds none."""
    here = sorted((folder / "annotations").glob("*.json"))
    if named := [path for path in here if path.name.startswith(_LISTED)]:
        # instances_ sorts behind image_info_ and wins.
        return {path.stem.removeprefix("image_info_").removeprefix("instances_"): path for path in named}
    if other := [path for path in here if not path.name.startswith((".", *_OTHER_TASKS))]:
        return {path.stem: path for path in other}
    return {path.parent.name: path for path in sorted(folder.glob(f"*/{_BESIDE}"))}


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

    def __init__(self, source: Path, images_needed: bool = True) -> None:
        """Read ``source``: a folder that `annotation_files` knows, or one .json file.

        Raises:
            MissingInput: no image of a file is there (unless ``images_needed`` is False).
            BadInput: a file that is no COCO file; the text names it and the entry.
        """
        root = source if source.is_dir() else source.parent
        if source.is_file() and root.name == "annotations":
            root = root.parent
        files = annotation_files(source) if source.is_dir() else {_split_of(source): source}
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
            for number, row in file.rows.items():
                place = found.get(row["file_name"])
                if place is None:
                    continue
                objects = None if file.objects is None else tuple(file.objects.get(number, ()))
                record = AnnotatedImage("", place, objects, _size(row, path), number)
                members[split].append(place)
                listed[split][number] = place
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
        splits = {split: [ids[place] for place in places] for split, places in members.items()}
        items = [ImageItem(name, record.path) for name, record in self._records.items()]
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
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        raise BadInput(f"{path} is not a COCO file: lists of images, annotations and categories make one")
    file = _File(path, split)
    for number, name in _entries(data, "categories", path, "name"):
        if not name.strip():
            raise BadInput(f"{path}: category {number} has an empty name")
        file.categories[number] = name
    for row, (number, name) in zip(data["images"], _entries(data, "images", path, "file_name"), strict=True):
        if number in file.rows:
            raise BadInput(f"{path}: two images have the id {number}; make ids unique")
        if not name:
            raise BadInput(f"{path}: image {number} has an empty file_name")
        file.rows[number] = row
    if "annotations" in data:
        file.objects = _objects(data, file)
    return file


def _entries(data: Mapping[str, Any], key: str, path: Path, what: str) -> Iterator[tuple[int, str]]:
    rows = data.get(key, [])
    for position, row in enumerate(rows if isinstance(rows, list) else [None]):
        if not isinstance(row, dict) or not _whole(row.get("id")) or not isinstance(row.get(what), str):
            raise BadInput(f"{path}: entry {position} of {key} needs an id (a whole number) and a {what}")
        yield row["id"], row[what]


def _objects(data: Mapping[str, Any], file: _File) -> dict[int, list[LabelledBox]]:
    if not isinstance(data["annotations"], list):
        raise BadInput(f"{file.path}: annotations is not a list")
    objects: dict[int, list[LabelledBox]] = {}
    for position, row in enumerate(data["annotations"]):
        where = f"{file.path}: annotation {row.get('id', position) if isinstance(row, dict) else position}"
        if not isinstance(row, dict) or "bbox" not in row:
            raise BadInput(f"{where} has no bbox: this is not a file of boxes (instances_*.json)")
        if row.get("image_id") not in file.rows:
            raise BadInput(f"{where} is of image {row.get('image_id')!r}, which the file does not list")
        label = file.categories.get(row.get("category_id", -1))
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
        )
        objects.setdefault(row["image_id"], []).append(thing)
    return objects


def _images(file: _File, root: Path, needed: bool) -> dict[str, Path]:
    beside = file.path.parent
    folders = [
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
    try:
        return locate(names, folders, str(file.path))
    except MissingInput:
        if needed:
            raise
    # Evaluation does without the images; their ids are as if they lay in the usual place.
    folder = root / file.split if not (root / "images").is_dir() else root / "images"
    return {name: folder / name for name in names}


def _size(row: Mapping[str, Any], path: Path) -> tuple[int, int] | None:
    width, height = row.get("width"), row.get("height")
    if width is None and height is None:
        return None
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        raise BadInput(
            f"{path}: image {row['id']} has width {width!r} and height {height!r}, not whole numbers above 0"
        )
    return width, height


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def bbox_of(thing: LabelledBox) -> list[float]:
    """COCO's x y width height. Nine decimals: x + width - x is then the width that was read, not one rounded twice."""
    x0, y0, x1, y1 = thing.box
    return [_plain(x0), _plain(y0), _plain(round(x1 - x0, 9)), _plain(round(y1 - y0, 9))]


def _plain(value: float) -> float:
    """A whole number as int, so that 5.0 is written as 5."""
    return int(value) if float(value).is_integer() else value


def write_coco(folder: Path, data: AnnotatedSet, names: Mapping[str, str]) -> None:
    """``annotations/instances_SPLIT.json`` in ``folder``; ``names``: image id -> file name below ``images/``.

    A split without any annotation is an ``image_info_SPLIT.json``. Ids of images, annotations and categories count
    from 1, through all files alike; COCO's own image ids are kept where every image has a different one.
    """
    (folder / "annotations").mkdir(parents=True)
    given = [image.number for image in data.images]
    keep = None not in given and len(set(given)) == len(given)
    numbers = {image.id: image.number if keep else i for i, image in enumerate(data.images, start=1)}
    category = {name: i for i, name in enumerate(data.classes, start=1)}
    by_id = {image.id: image for image in data.images}
    first: dict[str, int] = {}
    count = 1
    for image in data.images:
        first[image.id] = count
        count += len(image.objects or ())
    for split, ids in data.lists().items():
        images = [by_id[image_id] for image_id in ids]
        rows = [{"id": numbers[image.id], "file_name": names[image.id], **_sides(image.size)} for image in images]
        content: dict[str, Any] = {"images": rows}
        annotated = any(image.objects is not None for image in images)
        if annotated:
            content["annotations"] = [
                _annotation(thing, first[image.id] + i, numbers[image.id], category[thing.label])
                for image in images
                for i, thing in enumerate(image.objects or ())
            ]
        content["categories"] = [{"id": number, "name": name} for name, number in category.items()]
        name = f"{'instances' if annotated or not images else 'image_info'}_{split}.json"
        (folder / "annotations" / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _sides(size: tuple[int, int] | None) -> dict[str, int]:
    return {} if size is None else {"width": size[0], "height": size[1]}


def _annotation(thing: LabelledBox, number: int, image: int | None, category: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": bbox_of(thing),
        "area": _plain(float(round(thing.own_area, 9))),
        "iscrowd": int(thing.crowd),
    }
    return row | {name: 1 for name in ("difficult", "truncated") if getattr(thing, name)}


def _is_coco(place: Place, path: Path) -> bool:
    """Whether a file whose name says nothing is COCO's: an object with a list of images."""
    if not place.head(path).lstrip().startswith("{"):
        return False
    content = place.json(path)
    return isinstance(content, dict) and isinstance(content.get("images"), list)


def _recognise(place: Place) -> Recognised | None:
    if not place.is_folder:
        fits = place.path.suffix.lower() == ".json" and _is_coco(place, place.path)
        return Recognised(place.path.name, lambda: CocoDataset(place.path, place.images_needed)) if fits else None
    files = annotation_files(place.path)
    if not any(path.name.startswith(_LISTED) or path.name == _BESIDE for path in files.values()):
        files = {split: path for split, path in files.items() if _is_coco(place, path)}
    if not files:
        return None
    shown = ", ".join(path.relative_to(place.path).as_posix() for path in files.values())
    return Recognised(shown, lambda: CocoDataset(place.path, place.images_needed))


FORMAT = Format("coco", "COCO", "annotations/instances_SPLIT.json or SPLIT/_annotations.coco.json", _recognise)
