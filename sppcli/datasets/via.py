"""VGG Image Annotator (VIA 1 and 2): its JSON, its project file, and its CSV.

| file | what it holds |
|---|---|
| JSON, "Export annotations" | an object of images by name and file size: ``filename``, ``regions`` with ``shape_attributes`` and ``region_attributes`` |
| JSON, "Save project" | the same under ``_via_img_metadata`` |
| CSV, "Export annotations" | one row per region; the columns ``region_shape_attributes`` and ``region_attributes`` hold JSON |

Rectangles are kept; circles, ellipses and polygons become the boxes around them; points and polylines are left out.
People name the attribute that holds the class as they like: it is the only one there is, or that called class, label,
category, object, name or type, the first of these that is filled in. A checkbox with several ticks is an object of
each. Regions without any attribute in the whole file (as in the balloon example) are of one class, "object".

Sources: VIA's documentation and its "Import/Export" source; coordinates are pixels from the image's upper left corner.
"""  # noqa: E501 (table rows)

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sppcli.datasets.annotated import Corners, LabelledBox, read_text
from sppcli.datasets.exported import UNNAMED, Entry, Export, by_head, export_format
from sppcli.datasets.format import Place
from sppcli.datasets.json_values import Json, load_json, parse_json
from sppcli.datasets.shapes import around, ellipse
from sppcli.datasets.tables import header_of, rows_of
from sppcli.errors import BadInput

CLASS_ATTRIBUTES = ("class", "label", "category", "object", "class_name", "name", "type")
"""Attributes that hold the class where there are several, in this order; letter case does not matter."""

_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")


@dataclass(frozen=True)
class _Region:
    """One region: the image's place in the file, its box, and what its attributes say (name -> classes)."""

    image: str
    box: Corners
    attributes: dict[str, tuple[str, ...]]


def is_via_json(head: str) -> bool:
    """Whether a JSON file that begins with ``head`` is VIA's."""
    text = head.lstrip()
    if not text.startswith("{"):
        return False
    return '"_via_' in text or ('"filename"' in text and '"regions"' in text)


def is_via_csv(head: str) -> bool:
    """Whether a CSV file that begins with ``head`` is VIA's."""
    return set(_COLUMNS) <= {name.lstrip("#") for name in header_of(head)}


def read_via_json(path: Path) -> Export:
    """A JSON export or project.

    Raises:
        BadInput: not VIA's, or an entry that is wrong; the text names it.
    """
    top = load_json(path, "a VIA file")
    export = Export(path)
    images = [image for _, image in (top.get("_via_img_metadata") or top).fields()]
    regions: list[_Region] = []
    for image in images:
        name = image.field("filename").name()
        export.entries.append(Entry((name,), ()))
        listed = image.get("regions")
        if listed is None:
            continue
        # VIA 1 numbers regions in an object, VIA 2 lists them.
        found = listed.items() if isinstance(listed.raw, list) else (region for _, region in listed.fields())
        for region in found:
            box = _box(region.field("shape_attributes"), export)
            if box:
                regions.append(_Region(name, box, _attributes(region.get("region_attributes"))))
    _add(export, regions)
    return export


def read_via_csv(path: Path) -> Export:
    """A CSV export.

    Raises:
        BadInput: a row that is wrong; the text names its line.
    """
    export = Export(path)
    names: dict[str, None] = {}
    regions: list[_Region] = []
    for number, row in rows_of(read_text(path, "a VIA table"), path):
        name, shape, attributes = (row.get(column, row.get(f"#{column}", "")).strip() for column in _COLUMNS)
        if not name:
            raise BadInput(f"{path}, line {number} names no image")
        names[name] = None
        where = Path(f"{path}, line {number}")
        drawn = parse_json(shape or "{}", where)
        if not drawn.raw:
            continue
        box = _box(drawn, export)
        if box:
            regions.append(_Region(name, box, _attributes(parse_json(attributes or "{}", where))))
    export.entries = [Entry((name,), ()) for name in names]
    _add(export, regions)
    return export


def _box(shape: Json, export: Export) -> Corners | None:
    """The box of one shape, counted in ``export`` where it is not a rectangle; None for shapes without an inside."""
    kind = shape.field("name").name()
    if kind == "rect":
        x, y, width, height = (shape.field(name).number() for name in ("x", "y", "width", "height"))
        return x, y, x + width, y + height
    if kind in ("circle", "ellipse"):
        cx, cy = shape.field("cx").number(), shape.field("cy").number()
        rx = shape.field("r" if kind == "circle" else "rx").number()
        ry = rx if kind == "circle" else shape.field("ry").number()
        turn = shape.get("theta")
        export.enclosed[f"{kind}s"] += 1
        # VIA has theta in radians.
        return ellipse(cx, cy, rx, ry, math.degrees(turn.number()) if turn else 0.0)
    if kind == "polygon":
        xs, ys = (shape.field(f"all_points_{axis}").numbers() for axis in "xy")
        if not xs or len(xs) != len(ys):
            raise shape.refuse("a polygon with as many all_points_x as all_points_y")
        export.enclosed["polygons"] += 1
        return around(zip(xs, ys, strict=True))
    export.left_out[f"{kind} shapes"] += 1
    return None


def _attributes(attributes: Json | None) -> dict[str, tuple[str, ...]]:
    """Attribute -> what is chosen in it: a text, a number, or the ticked names of a checkbox."""
    found: dict[str, tuple[str, ...]] = {}
    if attributes is None or attributes.raw in ([], ""):
        return found
    for name, value in attributes.fields():
        if isinstance(value.raw, dict):
            found[name] = tuple(option for option, ticked in value.fields() if ticked.raw in (True, "true", 1))
        elif value.raw not in (None, "", "undefined"):
            found[name] = (value.name(),)
    return found


def _add(export: Export, regions: Iterable[_Region]) -> None:
    """Put ``regions`` to the entries of their images."""
    kept = list(regions)
    chosen = _class_attribute(kept, export)
    things: dict[str, list[LabelledBox]] = {}
    for region in kept:
        labels = (UNNAMED,) if chosen is None else region.attributes.get(chosen, ())
        if not labels:
            export.left_out["unlabelled regions"] += 1
        things.setdefault(region.image, []).extend(LabelledBox(label, region.box) for label in labels)
    by_name = {entry.names[0]: entry for entry in export.entries}
    export.entries = [Entry((name,), tuple(things.get(name, ()))) for name in by_name]


def _class_attribute(regions: list[_Region], export: Export) -> str | None:
    """The attribute that holds the class; None where no region has any."""
    filled: dict[str, None] = {name: None for region in regions for name in _filled(region)}
    if not filled:
        if regions:
            export.notes.append(f"{export.path} gives no region a class: all are called {UNNAMED!r}")
        return None
    ordered = sorted(
        (name for name in filled if name.lower() in CLASS_ATTRIBUTES), key=lambda n: CLASS_ATTRIBUTES.index(n.lower())
    )
    if len(filled) > 1 and not ordered:
        raise BadInput(
            f"{export.path}: its regions have the attributes {', '.join(filled)}, none of them called class, label, "
            "name or type; rename the one that holds the class"
        )
    chosen = ordered[0] if ordered else next(iter(filled))
    if len(filled) > 1:
        others = ", ".join(repr(name) for name in filled if name != chosen)
        export.notes.append(f"{export.path}: the class is the attribute {chosen!r}; passed over: {others}")
    return chosen


def _filled(region: _Region) -> Iterator[str]:
    return (name for name, labels in region.attributes.items() if labels)


def _pick(place: Place) -> list[Path]:
    return [*by_head(place, ".json", is_via_json), *by_head(place, ".csv", is_via_csv)]


def _read(_: Place, files: Sequence[Path]) -> list[Export]:
    return [read_via_csv(path) if path.suffix.lower() == ".csv" else read_via_json(path) for path in files]


FORMAT = export_format(
    "via",
    "VGG Image Annotator (VIA)",
    "JSON with _via_img_metadata, or with filename and regions; CSV with the columns region_shape_attributes and "
    "region_attributes",
    _pick,
    _read,
)
