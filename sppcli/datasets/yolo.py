"""YOLO's folders: one text file per image with a line ``class cx cy w h`` for each object, in shares of the sides.

| what | where |
|---|---|
| class names | ``names`` in a .yaml (``data.yaml`` first); else ``classes.txt``, ``labels/classes.txt`` or a ``.names`` file, one per line; else the ``classes.txt`` of the folders below, which must agree |
| splits | the .yaml's ``train``, ``val``, ``test`` and other keys: folders, or .txt lists of images; without .yaml the folders in ``images/``, those that hold an ``images/``, or those called train, valid … |
| labels | as the image, with ``labels`` for the last folder called ``images`` and .txt for the extension; without such a folder, beside the image |

An image without label file has no objects. A line of more numbers is a polygon, of which the bounding box is taken, or
with ``kpt_shape`` in the .yaml a box and key points, which are passed over. Coordinates are read to a millionth of a
pixel, so that whole pixels written with six or more digits come back whole. Where the .yaml lists images, others are
left out, and counted.

Sources: the Darknet and Ultralytics documentation of detection data sets.
"""  # noqa: E501 (table rows)

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sppcli.datasets.annotated import AnnotatedDataset, AnnotatedImage, ids_of, memoised_size
from sppcli.datasets.base import find_images
from sppcli.datasets.format import Format, Place, Recognised
from sppcli.datasets.remarks import Remark, counted
from sppcli.datasets.yolo_labels import LabelFiles, LabelFormat
from sppcli.datasets.yolo_names import (
    YAML,
    agreed_names,
    class_names,
    folder_splits,
    keypoint_numbers,
    listed_splits,
    names_file,
    read_yaml,
)
from sppcli.errors import BadInput, MissingInput
from sppcli.structures import ImageItem


class YoloDataset(AnnotatedDataset):
    """A YOLO folder. Labels are read when asked for; that opens each image for its size."""

    says_repeats = True

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
        content = read_yaml(names) if names.suffix.lower() in YAML else {}
        folder = _folder(source, names, content)
        classes = class_names(content, names) if content else agreed_names(source, names)
        self._format = LabelFormat(classes, names, keypoint_numbers(content, names))
        listed, warnings, missing = listed_splits(content, folder, names)
        paths, left_out = _images(folder, listed, names)
        if not paths:
            raise MissingInput(f"{folder} holds no image: a YOLO data set has them in images/")
        root = folder
        if not all(path.is_relative_to(folder) for path in paths):
            root = Path(os.path.commonpath([folder, *(path.parent for path in paths)]))
        self._labels = LabelFiles(paths, folder, missing)
        self._ids_by_path = ids_of(paths, root)
        # A .yaml says all there is about splits; folders below images/ may then be anything.
        splits = listed if content else folder_splits(folder, paths)
        items = [ImageItem(name, path) for path, name in self._ids_by_path.items()]
        members = {name: [self._ids_by_path[path] for path in found] for name, found in splits.items()}
        warnings = [*left_out, *warnings, *self._labels.remarks]
        super().__init__("yolo", source, root, items, members, tuple(self._format.names.values()), warnings)
        self._paths = {item.id: item.path for item in items}
        self._size = memoised_size()
        self._records: dict[str, AnnotatedImage] = {}

    @property
    def has_annotations(self) -> bool:
        return len(self._labels) > 0

    def is_annotated(self, image_id: str) -> bool:
        # Without a label file an image has no objects, unless it is said to be one that nobody has labelled.
        return self.unlabelled != "skip" or self._labels.get(self._paths[image_id]) is not None

    def record(self, image_id: str) -> AnnotatedImage:
        if image_id not in self._records:
            path = self._paths[image_id]
            size = self._size(path)
            label = self._labels.get(path)
            objects, remarks = self._format.read(label, size) if label else ([], [])
            self.warnings += remarks
            self._records[image_id] = AnnotatedImage(image_id, path, tuple(objects), size)
        return self._records[image_id]


def _folder(source: Path, names: Path, content: Mapping[str, Any]) -> Path:
    """The folder of the data set: where the names are, or what the .yaml says is its path, if that is there."""
    folder = source if source.is_dir() else names.parent
    given = content.get("path")
    if isinstance(given, str) and given:
        for place in (given, given.replace("\\", "/")):
            if (folder / place).is_dir():
                return Path(os.path.normpath(folder / place))
    return folder


def _images(folder: Path, listed: Mapping[str, Iterable[Path]], names: Path) -> tuple[list[Path], list[str]]:
    """The images of the data set, and what is left out: those that are listed, or else all below ``folder``."""
    paths, warnings = find_images(folder)
    held = [path for path in paths if "images" in map(str.lower, path.relative_to(folder).parts[:-1])] or paths
    named = list(dict.fromkeys(path for members in listed.values() for path in members))
    if not named:
        return held, warnings
    others = [path.relative_to(folder).as_posix() for path in sorted(set(held) - set(named))]
    if others:
        text = counted(f"{{n}} images are not listed in {names.name} and were left out", others)
        warnings = [*warnings, Remark("unlisted", text)]
    return named, warnings


def _recognise(place: Place) -> Recognised | None:
    if place.is_folder and (place.path / "annotations.csv").is_file():
        return None
    names = names_file(place.path) if place.is_folder else place.path if place.path.suffix.lower() in YAML else None
    if names is None:
        return None
    return Recognised(names.name, lambda: YoloDataset(place.path, place.images_needed))


FORMAT = Format("yolo", "YOLO", "data.yaml with names, or classes.txt, and labels/", _recognise)
