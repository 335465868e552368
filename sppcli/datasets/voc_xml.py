"""One annotation file of VOC's: XML with a <size> and <object>s, as the devkit, LabelImg, Roboflow and CVAT write it.

Corners are 1-based and inclusive. ``from_voc`` and ``to_voc`` are the only places that convert them.

Source: Everingham et al., the VOC2007 development kit, section on annotation.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sppcli.datasets.annotated import AnnotatedImage, LabelledBox
from sppcli.datasets.at_hand import Fit, fit
from sppcli.datasets.json_values import LARGEST
from sppcli.datasets.remarks import Remark, again, repeated
from sppcli.datasets.xml_files import parse_xml, read_xml
from sppcli.errors import BadInput
from sppcli.structures import Annotations, Boxes, as_boxes

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SHIFT = np.array([1.0, 1.0, 0.0, 0.0])
_NOT_UTF8 = re.compile(rb"""^(\s*<\?xml[^>]*encoding=["'])utf8(["'])""", re.IGNORECASE)
ANNOTATION = re.compile(r"<[Aa]nnotation[\s>/]")
"""The root element, at the beginning of a file."""

_FILENAME = re.compile(r"<filename>\s*([^<]*?)\s*</filename>")
_ORDERED = "{n} boxes have their corners exchanged (xmin is above xmax, or ymin above ymax); they were put in order"


def from_voc(corners: npt.ArrayLike) -> Boxes:
    """Boxes (N, 4) float32, 0-based half-open, from VOC's xmin ymin xmax ymax (N, 4), 1-based inclusive.

    Law: ``from_voc(to_voc(b)) = b``. The IoU of the results needs no "+1" and equals the devkit's.

    Raises:
        BadInput: as ``as_boxes``.
    """
    values = np.asarray(corners, dtype=np.float64).reshape(-1, 4)
    return as_boxes(values - _SHIFT)


def to_voc(boxes: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """VOC's xmin ymin xmax ymax (N, 4) float64, 1-based inclusive, of boxes (N, 4) 0-based half-open."""
    corners: npt.NDArray[np.float64] = np.asarray(boxes, dtype=np.float64).reshape(-1, 4) + _SHIFT
    return corners


def named_file(text: str) -> str:
    """The last part of the <filename> in (the beginning of) an annotation file; "" where it has none."""
    found = _FILENAME.search(text)
    return found.group(1).replace("\\", "/").rpartition("/")[2] if found else ""


def read_annotation(path: Path, image: Path | None = None) -> tuple[Annotations, list[str]]:
    """Objects of one annotation file, and warnings about boxes that were skipped or clipped.

    Boxes without extent (xmax = xmin or ymax = ymin as written) are skipped; those that reach outside the image are
    clipped to it. Parts of objects (VOC2007's person layout) are not objects.

    Args:
        image: its image, whose size decides (`at_hand`); without it, or where it is not there, the size in the file.

    Raises:
        BadInput: not XML, or a field that is missing or no number; the text names file, object and field.
    """
    root = _root(path)
    how = _fit(root, path, image)
    extent = np.array((*how.size, *how.size) if how.size else np.full(4, np.inf), dtype=np.float32)
    things, ordered = _in_order(_objects(root, path))
    written = [thing for thing in things if not thing.empty]
    boxes = from_voc([thing.corners for thing in written])
    if how.orientation != 1:
        boxes = as_boxes([how.box(box) for box in boxes.tolist()])
    inside = np.clip(boxes, np.float32(0), extent)
    seen = np.asarray((inside[:, 2:] > inside[:, :2]).all(axis=1))
    whole = np.asarray((inside == boxes).all(axis=1))
    warnings: list[str] = [how.remark] if how.remark else []
    warnings += [_remark(thing, "has no extent and was skipped") for thing in things if thing.empty]
    warnings += ordered
    warnings += [again(thing.shown, thing.file) for thing in repeated(things, lambda one: (one.label, one.corners))]
    for row, thing in enumerate(written):
        if not seen[row]:
            warnings.append(_remark(thing, "lies outside the image and was skipped"))
        elif not whole[row]:
            zero = 0 in thing.corners[:2] and min(thing.corners) >= 0
            why = "; corners of 0 are left of VOC's first pixel, 1: the files may be 0-based" if zero else ""
            warnings.append(_remark(thing, "reaches outside the image and was clipped", why))
    rows = np.flatnonzero(seen)
    labels = tuple(written[row].label for row in rows)
    difficult = np.array([written[row].difficult for row in rows], dtype=np.bool_)
    return Annotations(inside[rows], labels, difficult), warnings


def read_record(path: Path, image_id: str, image: Path, with_empty: bool = False) -> tuple[AnnotatedImage, list[str]]:
    """One annotation file as written, neither clipped nor rounded, and warnings about boxes without extent.

    Those are left out unless ``with_empty``.

    Raises:
        BadInput: as `read_annotation`.
    """
    root = _root(path)
    try:
        size = _image_size(root, path)
    except BadInput:
        if fit(image, None, str(path)).size is None:
            raise
        size = None  # the image has one
    things = list(_objects(root, path))
    ordered: list[str] = []
    if not with_empty:
        things, ordered = _in_order(things)
    boxes = tuple(
        LabelledBox(
            thing.label,
            (thing.corners[0] - 1, thing.corners[1] - 1, thing.corners[2], thing.corners[3]),
            thing.difficult,
            thing.truncated,
        )
        for thing in things
        if with_empty or not thing.empty
    )
    warnings: list[str] = [_remark(thing, "has no extent and was left out") for thing in things if thing.empty]
    warnings += ordered
    return AnnotatedImage(image_id, image, boxes, (int(size[0]), int(size[1])) if size else None), warnings


@dataclass(frozen=True)
class _Object:
    """An object as the file has it: ``corners`` xmin ymin xmax ymax, 1-based inclusive; the rest for messages."""

    label: str
    corners: tuple[float, ...]
    difficult: bool
    truncated: bool
    shown: str
    file: str

    @property
    def empty(self) -> bool:
        return self.corners[2] <= self.corners[0] or self.corners[3] <= self.corners[1]


def _fit(root: ET.Element, path: Path, image: Path | None) -> Fit:
    try:
        stated = _image_size(root, path)
    except BadInput:
        how = fit(image, None, str(path)) if image else Fit(None)
        if how.size is None:
            raise
        return how
    size = (int(stated[0]), int(stated[1])) if stated else None
    return fit(image, size, str(path)) if image else Fit(size)


def _in_order(things: Iterable[_Object]) -> tuple[list[_Object], list[str]]:
    """``things`` with xmin below xmax and ymin below ymax, and what was exchanged."""
    ordered = []
    remarks: list[str] = []
    for thing in things:
        x0, y0, x1, y1 = thing.corners
        if (x1 < x0 and y0 != y1) or (y1 < y0 and x0 != x1):
            pairs = (("x", x0, x1), ("y", y0, y1))
            names = " and ".join(f"{side}min is above {side}max" for side, low, high in pairs if high < low)
            text = f"{thing.shown}, has its corners exchanged ({names}); they were put in order"
            remarks.append(Remark("swapped", text, _ORDERED, thing.file))
            thing = replace(thing, corners=(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
        ordered.append(thing)
    return ordered, remarks


def _remark(thing: _Object, what: str, why: str = "") -> Remark:
    plural = (("has", "have"), ("was", "were"), ("lies", "lie"), ("reaches", "reach"), ("the image", "their image"))
    many = what
    for one, several in plural:
        many = many.replace(one, several)
    return Remark("box", f"{thing.shown}, {what}", f"{{n}} boxes {many}{why}", thing.file)


def _root(path: Path) -> ET.Element:
    try:
        data = read_xml(path)
    except OSError as error:
        raise BadInput(f"{path} is not a readable annotation: {error.strerror or error}") from error
    root = parse_xml(_NOT_UTF8.sub(rb"\g<1>utf-8\g<2>", data), path, "a readable annotation")
    if root.tag != "annotation":
        raise BadInput(f"{path} is not a VOC annotation: its root element is <{root.tag}>, not <annotation>")
    return root


def _objects(root: ET.Element, path: Path) -> Iterator[_Object]:
    for number, element in enumerate(root.iterfind("object"), start=1):
        where = f"{path}: object {number}"
        label = (element.findtext("name") or "").strip()
        if not label:
            raise BadInput(f"{where} has no <name>: write its class there")
        corners = tuple(_number(element, f"bndbox/{corner}", where) for corner in _CORNERS)
        difficult = _flag(element, where)
        # Anything but 1 is no: some sets write a share there.
        truncated = (element.findtext("truncated") or "").strip() == "1"
        shown = f"{where} ({label}), box {' '.join(f'{value:g}' for value in corners)}"
        yield _Object(label, corners, difficult, truncated, shown, path.name)


def _image_size(root: ET.Element, path: Path) -> tuple[float, float] | None:
    """Width and height as stated; None where no size, or 0, is."""
    if root.find("size") is None:
        return None
    width, height = (_number(root, f"size/{side}", str(path)) for side in ("width", "height"))
    return (width, height) if width > 0 and height > 0 else None


def _number(element: ET.Element, field: str, where: str) -> float:
    text = element.findtext(field)
    if text is None:
        raise BadInput(f"{where} has no <{field}>: add it")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise BadInput(f"{where}: <{field}> is {text.strip()!r}, not a number")
    return value


def _flag(element: ET.Element, where: str) -> bool:
    text = (element.findtext("difficult") or "0").strip()
    text = {"true": "1", "false": "0", "unspecified": "0", "": "0"}.get(text.lower(), text)
    if text not in ("0", "1"):
        raise BadInput(f"{where}: <difficult> is {text!r}, not 0 or 1")
    return text == "1"
