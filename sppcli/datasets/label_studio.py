"""Label Studio's JSON and JSON-MIN.

| export | what an image has |
|---|---|
| JSON | ``data`` with the image's address, ``annotations`` (before 1.0 ``completions``), each with ``result`` regions |
| JSON-MIN | the address and the regions in fields that are named as the project's tags |

Coordinates are percent of the image's sides. A turned rectangle turns clockwise about its upper left corner, in pixels;
it, polygons and ellipses become the boxes around them. Brushes, keypoints, choices, texts and relations are left out. A
region with several labels is an object of each. Of several people's annotations of one image the one marked ground
truth is read, else the first that was not cancelled; an image with none is not annotated. Predictions are not read.

The image is found by the last part of its address: Label Studio puts eight hexadecimal digits before an uploaded file's
name (``/data/upload/1/0f3a9b2c-cat.jpg``), and gives files of a local storage as
``/data/local-files/?d=folder/cat.jpg``.

Source: labelstud.io, "Label Studio Task Format", "Export annotations", "RectangleLabels".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sppcli.datasets.annotated import Corners, LabelledBox
from sppcli.datasets.base import is_image_name
from sppcli.datasets.exported import Entry, Export, amount, by_content, each, export_format
from sppcli.datasets.json_values import Json, load_json
from sppcli.datasets.shapes import around, ellipse, turned_box
from sppcli.errors import BadInput

_UPLOADED = re.compile(r"[0-9a-f]{6,8}-(?=.)")
_DONE = ("annotations", "completions")
_MIN_MARKS = ("annotation_id", "annotator", "lead_time", "created_at")


def is_label_studio(content: Any) -> bool:
    """Whether parsed JSON is a list of tasks: of JSON, or of JSON-MIN with a region in at least one."""
    if not isinstance(content, list) or not content or not all(isinstance(task, dict) for task in content):
        return False
    if all(
        isinstance(task.get("data"), dict) and any(isinstance(task.get(k), list) for k in _DONE) for task in content
    ):
        return True
    marked = all(any(mark in task for mark in _MIN_MARKS) for task in content)
    return marked and any(_has_regions(value) for task in content for value in task.values())


def _has_regions(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(v, dict) and _label_keys(v) for v in value)


def _label_keys(value: dict[str, Any]) -> list[str]:
    return [key for key in value if key.endswith("labels") and isinstance(value[key], list)]


def read_label_studio(path: Path) -> Export:
    """One JSON or JSON-MIN file.

    Raises:
        BadInput: not Label Studio's, or an entry that is wrong; the text names it.
    """
    export = Export(path)
    several = unfinished = 0
    seen: dict[tuple[str, ...], None] = {}
    for task in load_json(path, "a Label Studio file").items():
        data = task.get("data")
        names = _image_names(data or task, task)
        several += names in seen
        if names in seen:
            continue
        if data:
            done = [result for result in _annotations(task) if not _is(result, "was_cancelled")]
            several += len(done) > 1
            done.sort(key=lambda result: not _is(result, "ground_truth"))
            regions = list(done[0].field("result").items()) if done else None
        else:
            regions = list(_minimal_regions(task))
        if regions is None:
            unfinished += 1
            continue
        seen[names] = None
        export.entries.append(Entry(names, tuple(_objects(regions, export)), True, _frame(regions)))
    if several:
        shown = amount(several, "image")
        export.notes.append(
            f"{path}: of the annotations of {shown} with several, the ground truth or the first is read"
        )
    if unfinished:
        shown = amount(unfinished, "task")
        export.notes.append(f"{path}: {shown} without a finished annotation: such images are not annotated")
    return export


def _annotations(task: Json) -> Iterator[Json]:
    listed = task.get(*_DONE)
    return listed.items() if listed else iter(())


def _is(value: Json, name: str) -> bool:
    found = value.get(name)
    return found is not None and found.flag()


def _minimal_regions(task: Json) -> Iterator[Json]:
    for _, value in task.fields():
        if isinstance(value.raw, list):
            yield from (region for region in value.items() if isinstance(region.raw, dict))


def _image_names(data: Json, task: Json) -> tuple[str, ...]:
    """What the image may be called here, the likeliest first."""
    texts = [(name, value.raw) for name, value in data.fields() if isinstance(value.raw, str)]
    images = [(name, text) for name, text in texts if _is_image(text)]
    # image, img, photo …: a task has one image; of several the one that is called so.
    images.sort(key=lambda pair: not pair[0].lower().startswith(("image", "img")))
    if not images:
        raise BadInput(f"{data.where} has no address of an image")
    address = data.field(images[0][0]).text()
    names = [address]
    for tail in (_local_file(address), _file_upload(task), _without_query(address)):
        names += [tail, _UPLOADED.sub("", Path(tail).name, count=1)] if tail else []
    return tuple(dict.fromkeys(name for name in names if name))


def _is_image(text: str) -> bool:
    return is_image_name(_local_file(text) or _without_query(text))


def _without_query(address: str) -> str:
    return re.split(r"[?#]", address, maxsplit=1)[0]


def _local_file(address: str) -> str:
    if "?d=" not in address and "&d=" not in address:
        return ""
    try:
        return parse_qs(urlsplit(address).query).get("d", [""])[0]
    except ValueError:
        return ""


def _file_upload(task: Json) -> str:
    found = task.get("file_upload")
    return found.text() if found and isinstance(found.raw, str) else ""


def _frame(regions: Sequence[Json]) -> tuple[int, int] | None:
    """Width and height of the frame that percentages are of, where all regions say the same."""
    sizes: set[tuple[int, int] | None] = set()
    for region in regions:
        value = _as_object(region.get("value") or region)
        given = [region.get(name) or value.get(name) for name in ("original_width", "original_height")]
        sides = [side.raw for side in given if side is not None]
        known = len(sides) == 2 and all(isinstance(side, int) for side in sides)
        sizes.add((sides[0], sides[1]) if known else None)
    return sizes.pop() if len(sizes) == 1 else None


def _objects(regions: list[Json], export: Export) -> Iterator[LabelledBox]:
    """Objects in shares. A shape and its labels may be two results of one id."""
    labels: dict[str, list[str]] = {}
    shapes: dict[str, tuple[Json, Json]] = {}
    for position, region in enumerate(regions):
        value = region.get("value") or region
        given = region.get("id")
        key = given.name() if given else f"#{position}"
        kind = region.get("type")
        found = [label.name() for name in _label_keys(_as_object(value)) for label in value.field(name).items()]
        labels.setdefault(key, []).extend(label for label in found if label not in labels.get(key, ()))
        if value.get("x", "y", "width", "points"):
            shapes.setdefault(key, (region, value))
        elif not found:
            export.left_out[f"{kind.name() if kind else 'unknown'} results"] += 1
    for key in labels.keys() - shapes.keys():
        if labels[key]:
            export.left_out["shapeless labels"] += 1
    for key, (region, value) in shapes.items():
        box = _box(region, value, export)
        if box and not labels[key]:
            export.left_out["unlabelled regions"] += 1
        if box:
            yield from (LabelledBox(label, box) for label in labels[key])


def _as_object(value: Json) -> dict[str, Any]:
    if not isinstance(value.raw, dict):
        raise value.refuse("an object with fields in braces")
    return value.raw


def _box(region: Json, value: Json, export: Export) -> Corners | None:
    """The box around a shape in shares of the sides; None where it has no inside."""
    turn = value.get("rotation")
    degrees = turn.number() if turn else 0.0
    points = value.get("points")
    if points:
        export.enclosed["polygons"] += 1
        corners = [(x / 100, y / 100) for x, y in (point.numbers(2) for point in points.items())]
        if not corners:
            raise points.refuse("the points of a polygon")
        return around(corners)
    width, height = _sides(region, value, degrees)
    if value.get("radiusX"):
        export.enclosed["ellipses"] += 1
        cx, cy, rx, ry = (value.field(name).number() / 100 for name in ("x", "y", "radiusX", "radiusY"))
        return _scaled(ellipse(cx * width, cy * height, rx * width, ry * height, degrees), width, height)
    if value.get("width") is None or value.get("height") is None:
        export.left_out["points"] += 1
        return None
    x, y, w, h = (value.field(name).number() / 100 for name in ("x", "y", "width", "height"))
    if degrees % 360 == 0:
        return x, y, x + w, y + h
    export.enclosed["turned rectangles"] += 1
    box = (x * width, y * height, (x + w) * width, (y + h) * height)
    return _scaled(turned_box(box, degrees, box[:2]), width, height)


def _scaled(box: Corners, width: float, height: float) -> Corners:
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def _sides(region: Json, value: Json, degrees: float) -> tuple[float, float]:
    """The image's width and height as stated: what is turned is turned in pixels. Any, where nothing is turned."""
    given = [region.get(name) or value.get(name) for name in ("original_width", "original_height")]
    sides = [side.number() for side in given if side]
    if len(sides) == 2 and min(sides) > 0:
        return sides[0], sides[1]
    if degrees % 180:
        raise BadInput(f"{region.where} is turned and has no original_width and original_height above 0")
    return 1.0, 1.0


FORMAT = export_format(
    "labelstudio",
    "Label Studio",
    "a JSON list of tasks with data and annotations, or (JSON-MIN) with annotation_id and regions",
    lambda place: by_content(place, is_label_studio, lambda head: '"was_cancelled"' in head or "labels" in head),
    each(read_label_studio),
)
