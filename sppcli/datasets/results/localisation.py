"""Files of localisation localisations, as ILSVRC's localisation task takes them.

CSV with a line ``ImageId,PredictionString`` first; then one line per image with up to five times ``class xmin ymin xmax
ymax``, 0-based inclusive pixels, blanks between. Classes are WordNet ids or names without blanks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from sppcli.datasets.annotated import read_text
from sppcli.datasets.json_values import LARGEST
from sppcli.errors import BadInput
from sppcli.structures import MAX_LOCALISATIONS, Localisations, as_boxes


def read_localisation_results(
    path: Path, image_ids: Iterable[str], names: Mapping[str, str]
) -> dict[str, Localisations]:
    """Image id -> localisations.

    Args:
        image_ids: known images; a line may name one by the last part of its id, where that is unique.
        names: WordNet id -> class name; a class that is not in it stands for itself.

    Raises:
        BadInput: a line that is malformed, names no known image or one twice; the text names file and line.
    """
    short: dict[str, list[str]] = {}
    for image_id in image_ids:
        for name in {image_id, image_id.rpartition("/")[2]}:
            short.setdefault(name, []).append(image_id)
    found: dict[str, Localisations] = {}
    for number, line in enumerate(read_text(path, "localisation localisations").split("\n"), start=1):
        where = f"{path}, line {number}"
        given, comma, text = line.strip().rpartition(",")
        if not line.strip() or (number == 1 and given.lower() == "imageid"):
            continue
        known = short.get(given, [])
        if not comma or len(known) != 1:
            raise BadInput(
                f"{where}: {given[:40]!r} is not one image of the split; a line is <image>,<class> <box> ..."
            )
        fields = text.split()
        if len(fields) % 5 or len(fields) > 5 * MAX_LOCALISATIONS:
            raise BadInput(
                f"{where}: expected up to {MAX_LOCALISATIONS} times class xmin ymin xmax ymax, "
                f"found {len(fields)} fields"
            )
        if known[0] in found:
            raise BadInput(f"{where}: image {given} stands there twice")
        boxes = [_box(fields[i + 1 : i + 5], where) for i in range(0, len(fields), 5)]
        labels = tuple(names.get(label, label) for label in fields[::5])
        found[known[0]] = Localisations(labels, as_boxes(boxes, where))
    return found


def _box(fields: list[str], where: str) -> tuple[float, float, float, float]:
    try:
        x0, y0, x1, y1 = map(float, fields)
    except ValueError:
        x0 = y0 = x1 = y1 = math.nan
    if not all(abs(value) <= LARGEST for value in (x0, y0, x1, y1)):
        raise BadInput(f"{where}: {' '.join(fields)} is not xmin ymin xmax ymax")
    return x0, y0, x1 + 1, y1 + 1
