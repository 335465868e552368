"""A VOC folder out of any annotated data set: XML, lists of the splits, lists of the classes."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from sppcli.datasets.annotated import AnnotatedImage, AnnotatedSet, Corners, LabelledBox
from sppcli.datasets.voc import to_voc
from sppcli.errors import BadInput
from sppcli.runtime.files import inside


def write_voc(folder: Path, data: AnnotatedSet, names: Mapping[str, str]) -> None:
    """Annotations and ImageSets/Main in ``folder``; ``names``: image id -> file name below JPEGImages/.

    Corners are whole numbers, 1-based inclusive (`whole`). Crowds are written as difficult. Where images are in no
    split, a list ``all`` names them. Class lists (`can_list_classes`) hold the classes, those without objects too.

    Raises:
        BadInput: a class name that cannot be part of a file name.
    """
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (folder / "Annotations").mkdir()
    by_id = {image.id: image for image in data.images}
    for image in data.images:
        if image.objects is not None:
            path = inside(folder / "Annotations", f"{image.id}.xml")
            path.parent.mkdir(parents=True, exist_ok=True)
            tree = _annotation(image, names[image.id])
            ET.indent(tree)
            ET.ElementTree(tree).write(path, encoding="utf-8")
    with_classes = can_list_classes(data)
    for split, ids in data.lists().items():
        inside(lists, f"{split}.txt").write_text("".join(f"{image_id}\n" for image_id in ids), encoding="utf-8")
        annotated = [by_id[image_id] for image_id in ids if by_id[image_id].objects is not None]
        for name in data.classes if with_classes else ():
            if "/" in name or name.startswith("."):
                raise BadInput(f"class {name!r} cannot be part of a file name, as VOC's class lists need; rename it")
            lines = (f"{image.id} {_shows(image.objects or (), name):2d}\n" for image in annotated)
            inside(lists, f"{name}_{split}.txt").write_text("".join(lines), encoding="utf-8")


def can_list_classes(data: AnnotatedSet) -> bool:
    """Whether lists of <id> <flag> can be read back: not with blanks in an id."""
    return not any(image.id.split() != [image.id] for image in data.images)


def whole(box: Corners) -> tuple[int, int, int, int]:
    """VOC's corners: rounded to the nearest pixel; outwards where nothing would be left of the box.

    What is within a millionth of a whole number (written by a format of shares) is that number.
    """
    x0, y0, x1, y1 = box
    sides = []
    for start, end in ((x0, x1), (y0, y1)):
        first, last = round(start), round(end)
        sides.append((first, last) if first < last else (math.floor(start), math.ceil(end)))
    corners = to_voc(np.array([[sides[0][0], sides[1][0], sides[0][1], sides[1][1]]]))[0]
    return int(corners[0]), int(corners[1]), int(corners[2]), int(corners[3])


def is_whole(box: Corners) -> bool:
    """Whether `whole` moves no corner by more than a millionth of a pixel."""
    return all(abs(value - round(value)) <= 1e-6 for value in box)


def _shows(objects: Iterable[LabelledBox], name: str) -> int:
    flags = [thing.difficult or thing.crowd for thing in objects if thing.label == name]
    return -1 if not flags else 0 if all(flags) else 1


def _annotation(image: AnnotatedImage, file_name: str) -> ET.Element:
    root = ET.Element("annotation")
    _add(root, "filename", file_name)
    assert image.size is not None
    size = ET.SubElement(root, "size")
    for field, value in zip(("width", "height", "depth"), (*image.size, 3), strict=True):
        _add(size, field, value)
    _add(root, "segmented", 0)
    for thing in image.objects or ():
        element = ET.SubElement(root, "object")
        _add(element, "name", thing.label)
        _add(element, "pose", "Unspecified")
        _add(element, "truncated", int(thing.truncated))
        _add(element, "difficult", int(thing.difficult or thing.crowd))
        box = ET.SubElement(element, "bndbox")
        for field, value in zip(("xmin", "ymin", "xmax", "ymax"), whole(thing.box), strict=True):
            _add(box, field, value)
    return root


def _add(parent: ET.Element, name: str, value: object) -> None:
    ET.SubElement(parent, name).text = str(value)
