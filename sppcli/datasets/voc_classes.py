"""VOC's classification task: which classes an image shows.

``ImageSets/Main/<class>_<split>.txt`` has a line ``<image id> <flag>`` an image: 1 the class is there, -1 it is not, 0
only objects marked difficult are. Where a list is missing the same follows from the annotated objects.

Source: Everingham et al., the VOC2007 development kit, section "Classification task: image sets and ground truth".
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sppcli.datasets.annotated import read_text
from sppcli.datasets.base import ALL, Dataset
from sppcli.datasets.voc import part_of
from sppcli.errors import BadInput, MissingInput

PRESENT, DIFFICULT, ABSENT = 1, 0, -1
_UNKNOWN = 2
_FLAGS = {"1": PRESENT, "+1": PRESENT, "0": DIFFICULT, "-1": ABSENT}

Labels = npt.NDArray[np.int8]


def image_classes(dataset: Dataset) -> tuple[tuple[str, ...], Labels]:
    """(classes, labels): sorted names, and (images, classes) int8 in the order of ``dataset.images``.

    1: an object of the class is there; -1: none is; 0: only difficult ones are, or nothing is known of the image, as of
    a test set without annotations: either way it counts neither for nor against the class.

    Raises:
        BadInput: a list or annotation that cannot be read, or two lists that disagree; the text names the file.
    """
    rows = {item.id: row for row, item in enumerate(dataset.images)}
    lists = class_lists(dataset)
    flags: dict[tuple[int, str], tuple[int, Path]] = {}
    for name, paths in lists.items():
        for path in paths:
            for image_id, flag in _read_list(path):
                if image_id not in rows:
                    continue
                earlier, where = flags.setdefault((rows[image_id], name), (flag, path))
                if earlier != flag:
                    raise BadInput(f"{path} says {flag} of image {image_id!r} where {where} says {earlier}: mend one")
    # Images of which some list says nothing: their objects, if they are annotated; if these show classes without any
    # list, the objects of all images.
    unlisted = [row for row in rows.values() if not lists or any((row, name) not in flags for name in lists)]
    objects = _objects_of(dataset, unlisted)
    if any(name not in lists for found in objects.values() for name in found):
        objects = _objects_of(dataset, rows.values())
    classes = tuple(sorted(set(lists) | {name for found in objects.values() for name in found}))
    labels = np.full((len(rows), len(classes)), _UNKNOWN, dtype=np.int8)
    for (row, name), (flag, _) in flags.items():
        labels[row, classes.index(name)] = flag
    for row, found in objects.items():
        seen = np.array([found.get(name, ABSENT) for name in classes], dtype=np.int8)
        labels[row] = np.where(labels[row] == _UNKNOWN, seen, labels[row])
    labels[labels == _UNKNOWN] = DIFFICULT
    return classes, labels


def class_lists(dataset: Dataset) -> dict[str, list[Path]]:
    """Class -> its lists, of the splits that the data set has."""
    found: dict[str, list[Path]] = {}
    splits = (*dataset.split_names(), ALL)
    for path in sorted(part_of(part_of(dataset.root, "ImageSets"), "Main").glob("*.txt")):
        if path.name.startswith(".") or path.stem in splits:
            continue
        # The longest that fits: of 'cat_small_test' that is 'small_test', where there is such a split.
        ends = [split for split in splits if path.stem.endswith(f"_{split}")]
        name = path.stem.removesuffix(f"_{max(ends, key=len)}") if ends else ""
        if name:
            found.setdefault(name, []).append(path)
    return found


def _read_list(path: Path) -> list[tuple[str, int]]:
    lines = read_text(path, "a list of image ids").split("\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        fields = line.rsplit(maxsplit=1)
        if not fields:
            continue
        if len(fields) != 2 or fields[1] not in _FLAGS:
            raise BadInput(f"{path}, line {number}: expected <image id> and 1, 0 or -1, found {line.strip()!r}")
        rows.append((fields[0].strip(), _FLAGS[fields[1]]))
    return rows


def _objects_of(dataset: Dataset, rows: Iterable[int]) -> dict[int, dict[str, int]]:
    """Row -> `_objects` of the images that are annotated."""
    return {row: found for row in rows if (found := _objects(dataset, dataset.images[row].id)) is not None}


def _objects(dataset: Dataset, image_id: str) -> dict[str, int] | None:
    """Class -> PRESENT or DIFFICULT of an annotated image; None where there is no annotation."""
    try:
        truth = dataset.annotations(image_id)
    except MissingInput:
        return None
    found: dict[str, int] = {}
    for name, difficult in zip(truth.labels, truth.difficult, strict=True):
        if not difficult or name not in found:
            found[name] = DIFFICULT if difficult else PRESENT
    return found
