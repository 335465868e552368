"""CVAT's own XML, version 1.1: "CVAT for images", and "CVAT for video" where the frames lie there as images.

| element | what becomes of it |
|---|---|
| ``image`` | an image, by ``name``; ``subset``, or the subset of its task in ``meta``, is its split |
| ``box`` | a box, xtl ytl xbr ybr in pixels; one with ``rotation`` (degrees clockwise about the centre) the box around it |
| ``polygon``, ``ellipse``, ``cuboid`` | the box around it |
| ``mask`` | its left, top, width and height |
| ``polyline``, ``points``, ``skeleton``, ``tag`` | left out |
| ``track`` | its shapes, by frame, without those that are ``outside``: the frame's image is ``frame_000012.png`` (.jpg …) |

``occluded`` is no flag that training or evaluation knows and is passed over. Attributes ``difficult``, ``truncated`` and
``is_crowd`` that a project defines itself are read where they are true.

Source: docs.cvat.ai, "XML annotation format".
"""  # noqa: E501 (table rows)

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from sppcli.datasets.annotated import Corners, LabelledBox
from sppcli.datasets.exported import Entry, Export, by_head, each, export_format
from sppcli.datasets.shapes import Point, around, ellipse, ordered, turned_box
from sppcli.datasets.tables import number_of
from sppcli.datasets.xml_files import parse_xml, read_xml
from sppcli.errors import BadInput

_CUBOID = ("tl1", "bl1", "tr1", "br1", "tl2", "bl2", "tr2", "br2")
_NO_INSIDE = {"polyline": "polylines", "points": "point sets", "skeleton": "skeletons", "tag": "image tags"}


def is_cvat(head: str) -> bool:
    """Whether an XML file that begins with ``head`` is CVAT's: its root is <annotations> with a version, 1.0 or 1.1."""
    return "<annotations>" in head and "<version>1." in head


def read_cvat(path: Path) -> Export:
    """One ``annotations.xml``.

    Raises:
        BadInput: not CVAT's XML, or an element that is wrong; the text names it.
    """
    try:
        data = read_xml(path)
    except OSError as error:
        raise BadInput(f"{path} is not readable XML: {error.strerror or error}") from error
    root = parse_xml(data, path, "readable XML")
    if root.tag != "annotations":
        raise BadInput(f"{path} is not CVAT's: its root element is <{root.tag}>, not <annotations>")
    export = Export(path)
    export.classes = [
        name
        for label in root.iterfind("meta//labels/label")
        if (name := (label.findtext("name") or "").strip()) and label.findtext("parent") is None
    ]
    subsets, whole = _subsets(root)
    for number, image in enumerate(root.iterfind("image")):
        name = image.get("name", "")
        if not name:
            raise BadInput(f"{path}: image {number} has no name")
        where = f"{path}: image {name!r}"
        things = [thing for shape in image if (thing := _thing(shape, shape.get("label", ""), where, export))]
        split = image.get("subset") or subsets.get(image.get("task_id", "")) or whole
        export.entries.append(Entry((name,), tuple(things), size=_size(image, where), splits=(split,) if split else ()))
    _add_tracks(root, export, whole)
    if not export.entries:
        raise BadInput(f"{path} holds neither an image nor a track with shapes")
    return export


def _subsets(root: ET.Element) -> tuple[dict[str, str], str]:
    """Task id -> subset, and the subset of a file of one task."""
    by_task = {
        (task.findtext("id") or "").strip(): (task.findtext("subset") or "").strip()
        for task in root.iterfind("meta//task")
    }
    whole = next(iter(by_task.values())) if len(by_task) == 1 else ""
    return by_task, "" if whole == "default" else whole


def _size(image: ET.Element, where: str) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if width is None or height is None:
        return None
    return int(number_of(width, f"{where}, width")), int(number_of(height, f"{where}, height"))


def _add_tracks(root: ET.Element, export: Export, split: str) -> None:
    """An entry for each frame from the first to the last that any track has, those without shapes too."""
    frames: dict[int, list[LabelledBox]] = {}
    for number, track in enumerate(root.iterfind("track")):
        label = track.get("label", "")
        for shape in track:
            where = f"{export.path}: track {track.get('id', number)}"
            frame = int(number_of(shape.get("frame", ""), f"{where}, frame"))
            if shape.get("outside", "0") in ("1", "true"):
                frames.setdefault(frame, [])
                continue
            thing = _thing(shape, label, f"{where}, frame {frame}", export)
            frames.setdefault(frame, []).extend([thing] if thing else [])
    if frames:
        export.hint = "a video is read from its frames: export it from CVAT with its images"
        export.notes.append(f"{export.path} is of a video: its frames are looked for as frame_000000 and so on")
    for frame in sorted(frames):
        export.entries.append(Entry((f"frame_{frame:06d}",), tuple(frames[frame]), splits=(split,) if split else ()))


def _thing(shape: ET.Element, label: str, where: str, export: Export) -> LabelledBox | None:
    if shape.tag in _NO_INSIDE:
        export.left_out[_NO_INSIDE[shape.tag]] += 1
        return None
    box = _box(shape, where, export)
    if box is None:
        export.left_out[f"<{shape.tag}> elements"] += 1
        return None
    if not label.strip():
        raise BadInput(f"{where}: <{shape.tag}> has no label")
    truths = {
        attribute.get("name", "").lower()
        for attribute in shape.iterfind("attribute")
        if (attribute.text or "").strip().lower() in ("true", "1", "yes")
    }
    return LabelledBox(label.strip(), box, "difficult" in truths, "truncated" in truths, "is_crowd" in truths)


def _box(shape: ET.Element, where: str, export: Export) -> Corners | None:
    def number(name: str, default: str = "") -> float:
        return number_of(shape.get(name, default), f"{where}: <{shape.tag}>, {name}")

    if shape.tag == "mask":
        export.enclosed["masks"] += 1
        left, top = number("left"), number("top")
        return left, top, left + number("width"), top + number("height")
    degrees = number("rotation", "0")
    if shape.tag == "box":
        export.enclosed["turned rectangles"] += degrees % 360 != 0
        return turned_box(ordered([number(name) for name in ("xtl", "ytl", "xbr", "ybr")]), degrees)
    if shape.tag == "ellipse":
        export.enclosed["ellipses"] += 1
        return ellipse(number("cx"), number("cy"), number("rx"), number("ry"), degrees)
    if shape.tag == "cuboid":
        export.enclosed["cuboids"] += 1
        return around((number(f"x{corner}"), number(f"y{corner}")) for corner in _CUBOID)
    if shape.tag == "polygon":
        export.enclosed["polygons"] += 1
        return around(_points(shape.get("points", ""), f"{where}: <polygon>"))
    return None


def _points(text: str, where: str) -> list[Point]:
    """``x,y;x,y;…``"""
    points = []
    for pair in text.split(";"):
        fields = pair.split(",")
        if len(fields) != 2:
            raise BadInput(f"{where} has the point {pair[:60]!r}, not x,y")
        points.append((number_of(fields[0], where), number_of(fields[1], where)))
    return points


FORMAT = export_format(
    "cvat",
    "CVAT XML",
    "XML with the root element annotations and a version 1.x",
    lambda place: by_head(place, ".xml", is_cvat),
    each(read_cvat),
)
