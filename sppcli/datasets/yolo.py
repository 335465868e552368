"""YOLO's folders: a text file an image with a line ``class cx cy w h`` an object, in shares of the image's sides.

| what | where |
|---|---|
| class names | ``names`` in a .yaml (``data.yaml`` first); else ``classes.txt``, ``labels/classes.txt`` or a ``.names`` file, one a line |
| splits | the .yaml's ``train``, ``val``, ``test`` and other keys: folders, or .txt lists of images; without .yaml the folders in ``images/``, or those that hold an ``images/`` |
| labels | as the image, with ``labels`` for the last folder called ``images`` and .txt for the extension; without such a folder, beside the image |

An image without label file has no objects. A line of more numbers is a polygon; its bounding box is taken. Coordinates
are read to a millionth of a pixel, so that whole pixels written with six or more digits come back whole.

Sources: the Darknet and Ultralytics documentation of detection data sets.
"""  # noqa: E501 (table rows)

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sppcli.datasets.annotated import (
    AnnotatedDataset,
    AnnotatedImage,
    AnnotatedSet,
    Corners,
    LabelledBox,
    clipped,
    ids_of,
    memoised_size,
    read_text,
)
from sppcli.datasets.base import Problem, find_images, is_image_name
from sppcli.datasets.format import Format, Place, Recognised
from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.structures import ImageItem

_NO_SPLITS = ("path", "names", "nc", "download", "channels", "kpt_shape", "flip_idx", "yaml_file")
_YAML = (".yaml", ".yml")


def names_file(folder: Path) -> Path | None:
    """The file with the class names of ``folder``, if it is a YOLO data set: names, and labels where they belong."""
    if not folder.is_dir():
        return None
    plain = [folder / "classes.txt", folder / "labels" / "classes.txt", *sorted(folder.glob("*.names"))]
    found = [path for path in plain if path.is_file()]
    if (folder / "labels").is_dir() or any(path.is_dir() for path in folder.glob("*/labels")):
        described = [path for path in folder.iterdir() if path.suffix in _YAML and path.is_file() and _has_names(path)]
        found = [*sorted(described, key=lambda path: (path.stem != "data", path.name)), *found]
    elif found and not any(path.with_suffix(".txt").is_file() for path in folder.iterdir() if is_image_name(path.name)):
        return None
    return found[0] if found else None


def _has_names(path: Path) -> bool:
    # Not parsed: this is asked of folders that may be anything.
    try:
        return any(line.startswith("names") for line in path.read_text(encoding="utf-8").split("\n"))
    except (OSError, UnicodeDecodeError):
        return False


class YoloDataset(AnnotatedDataset):
    """A YOLO folder. Labels are read when asked for; that opens each image for its size."""

    def __init__(self, source: Path, images_needed: bool = True) -> None:
        """Read ``source``: a folder that `names_file` knows, or its .yaml. The images must be there in any case.

        Raises:
            MissingInput: no image.
            BadInput: names or a list that cannot be read.
        """
        names = source if source.is_file() else names_file(source)
        if names is None:
            raise BadInput(
                f"{source} is no YOLO data set: it needs class names in data.yaml or classes.txt, and labels/"
            )
        folder = names.parent.parent if names.parent.name == "labels" else names.parent
        content = _read_yaml(names) if names.suffix in _YAML else {}
        given = content.get("path")
        if isinstance(given, str) and (folder / given).is_dir():
            folder = Path(os.path.normpath(folder / given))
        self._names_file = names
        self._names = _class_names(content, names)
        listed, warnings = _listed_splits(content, folder, names)
        paths, unreadable = find_images(folder)
        held = [path for path in paths if "images" in path.relative_to(folder).parts[:-1]]
        paths = list(dict.fromkeys([*(held or paths), *(path for members in listed.values() for path in members)]))
        if not paths:
            raise MissingInput(f"{folder} holds no image: a YOLO data set has them in images/")
        root = folder
        if not all(path.is_relative_to(folder) for path in paths):
            root = Path(os.path.commonpath([folder, *(path.parent for path in paths)]))
        self._ids_by_path = ids_of(paths, root)
        # A .yaml says all there is about splits; folders below images/ may then be anything.
        splits = listed if content else _folder_splits(folder, paths)
        items = [ImageItem(name, path) for path, name in self._ids_by_path.items()]
        members = {name: [self._ids_by_path[path] for path in found] for name, found in splits.items()}
        super().__init__("yolo", source, root, items, members, tuple(self._names.values()), [*unreadable, *warnings])
        self._paths = {item.id: item.path for item in items}
        self._size = memoised_size()
        self._records: dict[str, AnnotatedImage] = {}

    @property
    def has_annotations(self) -> bool:
        return any(label_path(path).is_file() for path in self._paths.values())

    def is_annotated(self, image_id: str) -> bool:
        # Without a label file an image has no objects, unless it is said to be one that nobody has labelled.
        return self.unlabelled != "skip" or label_path(self._paths[image_id]).is_file()

    def record(self, image_id: str) -> AnnotatedImage:
        if image_id not in self._records:
            path = self._paths[image_id]
            label = label_path(path)
            size = self._size(path)
            objects = self._objects(label, size) if label.is_file() else ()
            self._records[image_id] = AnnotatedImage(image_id, path, tuple(objects), size)
        return self._records[image_id]

    def _objects(self, path: Path, size: tuple[int, int]) -> Iterable[LabelledBox]:
        for number, line in enumerate(read_text(path, "YOLO labels").split("\n"), start=1):
            fields = line.split()
            if not fields:
                continue
            where = f"{path}, line {number}"
            values = [_number(field) for field in fields]
            index, shares = values[0], values[1:]
            polygon = len(shares) >= 6 and len(shares) % 2 == 0
            if any(value is None for value in values) or not (len(shares) == 4 or polygon):
                raise BadInput(f"{where}: {line.strip()!r} is not a class number and cx cy w h")
            if index not in self._names:
                raise BadInput(
                    f"{where}: there is no class {fields[0]} in {self._names_file}; it has {len(self._names)}"
                )
            known = [value for value in shares if value is not None]
            if max(map(abs, known)) > 1.5:
                raise BadInput(
                    f"{where}: {line.strip()!r} is not in shares of the image's width and height, from 0 to 1"
                )
            box = _bounds(known, size) if polygon else _corners(known, size)
            yield LabelledBox(self._names[int(index)], box)


def label_path(image: Path) -> Path:
    """Where the labels of an image are looked for."""
    parts = image.parts
    at = max((i for i, part in enumerate(parts[:-1]) if part == "images"), default=None)
    label = image if at is None else Path(*parts[:at], "labels", *parts[at + 1 :])
    return label.with_suffix(".txt")


def _corners(shares: Sequence[float], size: tuple[int, int]) -> Corners:
    cx, cy, w, h = shares
    return _pixels((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), size)


def _bounds(shares: Sequence[float], size: tuple[int, int]) -> Corners:
    xs, ys = shares[::2], shares[1::2]
    return _pixels((min(xs), min(ys), max(xs), max(ys)), size)


def _pixels(shares: Corners, size: tuple[int, int]) -> Corners:
    width, height = size
    # + 0.0: no negative zero
    x0, y0, x1, y1 = (round(share * side, 6) + 0.0 for share, side in zip(shares, (width, height) * 2, strict=True))
    return x0, y0, x1, y1


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(read_text(path, "YAML"))
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or "names" not in content:
        raise BadInput(f"{path} has no names: list the classes there, as names: [cat, dog]")
    return content


def _class_names(content: Mapping[str, Any], path: Path) -> dict[int, str]:
    """Class number -> name."""
    if not content:
        lines = [line.strip() for line in read_text(path, "class names").split("\n")]
        while lines and not lines[-1]:
            lines.pop()
        names: dict[int, str] = dict(enumerate(lines))
    elif isinstance(content["names"], list):
        names = {i: str(name) for i, name in enumerate(content["names"])}
    elif isinstance(content["names"], dict) and all(isinstance(key, int) for key in content["names"]):
        names = {key: str(name) for key, name in sorted(content["names"].items())}
    else:
        raise BadInput(f"{path}: names is neither a list of names nor numbers with names")
    if not names or not all(names.values()) or len(set(names.values())) < len(names):
        raise BadInput(f"{path}: the class names are not {len(names)} different ones; number each class once")
    return names


def _listed_splits(content: Mapping[str, Any], folder: Path, names: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Split -> its images, of the .yaml's keys, and what is not there."""
    splits: dict[str, list[Path]] = {}
    warnings: list[str] = []
    for key, value in content.items():
        entries = value if isinstance(value, list) else [value]
        if key in _NO_SPLITS or not all(isinstance(entry, str) for entry in entries):
            continue
        found: list[Path] = []
        for entry in entries:
            # An export that many use says ../train/images of a folder beside the .yaml.
            tried = [folder / entry, names.parent / entry, folder / entry.removeprefix("../")]
            place = next((Path(os.path.normpath(path)) for path in tried if entry and path.exists()), None)
            if place is None:
                if key in ("train", "val", "test"):
                    warnings.append(Problem("missing-image", f"{names}: {key} is {entry!r}, which is not there"))
            elif place.is_dir():
                found += find_images(place)[0]
            elif place.suffix == ".txt":
                listed, gone = _read_list(place, folder)
                found += listed
                if gone:
                    text = f"{place} lists {len(gone)} images that are not there, the first: {gone[0]}"
                    warnings.append(Problem("missing-image", text))
            else:
                continue
            if place is not None:
                splits[str(key)] = found
    return splits, warnings


def _read_list(path: Path, folder: Path) -> tuple[list[Path], list[str]]:
    found, gone = [], []
    for line in read_text(path, "a list of images").split("\n"):
        if name := line.strip():
            places = (path.parent / name, folder / name)
            place = next((Path(os.path.normpath(place)) for place in places if place.is_file()), None)
            if place is None:
                gone.append(name)
            else:
                found.append(place)
    return found, gone


def _folder_splits(folder: Path, paths: Iterable[Path]) -> dict[str, list[Path]]:
    """``images/NAME/…`` or ``NAME/images/…``: NAME is the split."""
    splits: dict[str, list[Path]] = {}
    for path in paths:
        parts = path.relative_to(folder).parts if path.is_relative_to(folder) else ()
        if len(parts) > 2 and "images" in parts[:2]:
            splits.setdefault(parts[1] if parts[0] == "images" else parts[0], []).append(path)
    return splits


def write_yolo(folder: Path, data: AnnotatedSet, names: Mapping[str, str]) -> None:
    """``data.yaml``, ``labels/`` and a list SPLIT.txt a split in ``folder``; ``names``: image id -> file below images/.

    Boxes are cut to the image; crowds and boxes outside it are left out. Images must have a size.

    Raises:
        UsageProblem: a split whose name means something else in a .yaml.
    """
    number = {name: i for i, name in enumerate(data.classes)}
    for image in data.images:
        assert image.size is not None
        path = label_path(folder / "images" / names[image.id])
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            f"{number[thing.label]} {' '.join(shares)}\n"
            for thing in image.objects or ()
            if not thing.crowd and (shares := _shares(thing.box, image.size))
        ]
        path.write_text("".join(lines), encoding="utf-8")
    content: dict[str, Any] = {}
    for split, ids in data.splits.items():
        if split in _NO_SPLITS:
            raise UsageProblem(
                f"a split called {split!r} cannot be written to data.yaml, where {split} means another thing"
            )
        content[split] = f"{split}.txt"
        text = "".join(f"./images/{names[image_id]}\n" for image_id in ids)
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")
    content["names"] = dict(enumerate(data.classes))
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _shares(box: Corners, size: tuple[int, int]) -> list[str]:
    """cx cy w h with twelve decimals; [] for a box outside the image."""
    x0, y0, x1, y1 = clipped(box, size)
    if x1 <= x0 or y1 <= y0:
        return []
    width, height = size
    shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    return [f"{share:.12f}".rstrip("0").rstrip(".") for share in shares]


def _recognise(place: Place) -> Recognised | None:
    if place.is_folder and (place.path / "annotations.csv").is_file():
        return None
    names = names_file(place.path) if place.is_folder else place.path if place.path.suffix.lower() in _YAML else None
    if names is None:
        return None
    return Recognised(names.name, lambda: YoloDataset(place.path, place.images_needed))


FORMAT = Format("yolo", "YOLO", "data.yaml with names, or classes.txt, and labels/", _recognise)
