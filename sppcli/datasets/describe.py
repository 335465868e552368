"""What a data set holds, in one line, before any work is done on it."""

from __future__ import annotations

from collections import Counter

from sppcli.datasets.base import Dataset
from sppcli.datasets.formats import FORMATS
from sppcli.datasets.roles import ROLES, role_of

_CLASSES = 5


def describe(dataset: Dataset) -> str:
    """``VOC, 364 images, 4,886 objects of 3 classes (RBC 4153, …), train 205, val 87, test 72``. Reads all annotations.

    Objects are those that training and evaluation use, difficult ones included; classes by how many they have. Splits
    are the data set's own, or those that it is divided into.

    Raises:
        BadInput: an annotation that cannot be read.
    """
    count = len(dataset.images)
    images = f"{count:,} image{'' if count == 1 else 's'}"
    if not dataset.has_annotations:
        return f"{images}, no annotations"
    seen: Counter[str] = Counter()
    without = 0
    for item in dataset.images:
        if dataset.is_annotated(item.id):
            seen.update(dataset.annotations(item.id).labels)
        else:
            without += 1
    title = next((form.title for form in FORMATS if form.name == dataset.kind), dataset.kind)
    shown = [f"{name} {number:,}" for name, number in seen.most_common(_CLASSES)]
    more = ", …" if len(seen) > _CLASSES else ""
    classes = f"{len(seen)} class{'' if len(seen) == 1 else 'es'}" + (f" ({', '.join(shown)}{more})" if seen else "")
    objects = f"{seen.total():,} object{'' if seen.total() == 1 else 's'}"
    parts = [title, images, f"{objects} of {classes}"]
    parts += [f"{without:,} without annotation"] if without else []
    return ", ".join([*parts, *_splits(dataset)])


def _splits(dataset: Dataset) -> list[str]:
    own = dataset.split_names()
    if dataset.has_roles():
        order = sorted(own, key=lambda name: (_place(name), name))
        return [f"{name} {len(dataset.split(name)):,}" for name in order]
    listed = [f"{name} {len(dataset.split(name)):,}" for name in own]
    divided = [f"{name} {len(dataset.split(name)):,}" for name in ("train", "val", "test")]
    return [*listed, f"divided by content into {', '.join(divided)}"]


def _place(name: str) -> int:
    role = role_of(name)
    return ROLES.index(role) if role in ROLES else len(ROLES)
