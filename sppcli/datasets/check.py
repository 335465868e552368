"""What is wrong with a data set: boxes, class names, images that occur twice, classes with few examples.

Each function looks at one kind of thing and gives a `Finding` for each fault. They take annotations as they are written
(`AnnotatedDataset.written`), before a reader clips boxes or leaves them out.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from sppcli.datasets.annotated import AnnotatedImage, LabelledBox, clipped
from sppcli.datasets.look import Look
from sppcli.datasets.roles import TRAIN, TRAINVAL, parts_of, role_of
from sppcli.datasets.statistics import Size, Statistics, usable
from sppcli.geometry.boxes import iou

KINDS: Mapping[str, str] = {
    "unreadable-image": "images that are damaged or cannot be read",
    "missing-image": "images that are named but not there",
    "label-without-image": "annotations without an image",
    "unreadable-annotation": "annotations that cannot be read",
    "not-annotated": "images to train or test on that have no annotation",
    "dataset": "other remarks about the folder",
    "size-differs": "images of another size than their annotation states",
    "swapped-corners": "boxes with swapped corners",
    "no-extent": "boxes without extent, which are left out",
    "outside-image": "boxes outside their image, which are left out",
    "reaches-outside": "boxes that reach outside their image and are clipped",
    "duplicate-box": "objects annotated twice, with the same box",
    "near-duplicate-box": "objects annotated twice, with nearly the same box",
    "two-classes": "boxes with objects of two classes",
    "too-small": "objects too small for Selective Search",
    "similar-classes": "class names that differ only by case, blanks or hyphens",
    "misspelt-class": "rare classes that a letter sets apart from a frequent one",
    "identical-across-splits": "images that are in two splits under different names",
    "in-two-splits": "images that are listed in two splits that must not meet",
    "identical-images": "images that occur twice",
    "absent-class": "classes that a split lacks",
    "few-examples": "classes with few examples to train on",
}
"""Kind of a `Finding` -> what findings of it are about, in the order of a report."""

NEAR = 0.9
"""IoU from which two boxes of one image are nearly the same."""

_RARE, _SHORT = 10, 4

ROUNDING = 0.5
"""Pixels that a box may reach outside its image: shares of a side and resized coordinates are rounded."""


@dataclass(frozen=True)
class Finding:
    """One fault: ``kind`` is one of `KINDS`; ``image``: id, where it is about one; ``file``: where to look."""

    kind: str
    text: str
    image: str | None = None
    file: Path | None = None


def of_size(record: AnnotatedImage, seen: Look, turned: bool) -> Iterator[Finding]:
    """Whether the annotation states another size than the file has; ``turned``: its boxes were turned as the image."""
    if record.size and seen.size and record.size != seen.size:
        swapped = ", swapped" if record.size == seen.size[::-1] else ""
        text = f"stated {_by(record.size)}, the file has {_by(seen.size)}"
        text += ": both are turned by the EXIF tag" if turned else swapped
        yield Finding("size-differs", text, record.id, record.path)


def of_image(record: AnnotatedImage, seen: Look, least_side: float = 0.0) -> Iterator[Finding]:
    """Faults of the boxes of one image.

    Args:
        record: as written, in pixels of the upright image.
        seen: its file; where that cannot be read, the size that the annotation states counts.
        least_side: as of `Dataset`.
    """
    size = seen.size or record.size
    things = record.objects or ()
    for number, thing in enumerate(things, start=1):
        kind = _fault(thing, size, least_side)
        if kind:
            yield Finding(kind, f"{_shown(number, thing)}{_of(kind, size)}", record.id, record.path)
    sound = [(number, thing) for number, thing in enumerate(things, start=1) if usable(thing, size, least_side)]
    for kind, text in _doubles(sound):
        yield Finding(kind, text, record.id, record.path)


def _fault(thing: LabelledBox, size: Size | None, least_side: float) -> str:
    """The kind of what is wrong with a box, or ""."""
    x0, y0, x1, y1 = thing.box
    if x1 < x0 or y1 < y0:
        return "swapped-corners"
    if x1 - x0 <= least_side or y1 - y0 <= least_side:
        return "no-extent"
    if size and not usable(thing, size, least_side):
        return "outside-image"
    if size and (min(x0, y0) < -ROUNDING or x1 > size[0] + ROUNDING or y1 > size[1] + ROUNDING):
        return "reaches-outside"
    return ""


def _of(kind: str, size: Size | None) -> str:
    return f", in {_by(size)}" if size and kind in ("outside-image", "reaches-outside") else ""


def _doubles(things: Sequence[tuple[int, LabelledBox]]) -> Iterator[tuple[str, str]]:
    """Pairs of nearly the same box: each object is named once, with the first that it repeats. Crowds do not count."""
    things = [(number, thing) for number, thing in things if not thing.crowd]
    if len(things) < 2:
        return
    boxes = np.array([thing.box for _, thing in things], dtype=np.float64)
    near = np.triu(iou(boxes, boxes) >= NEAR, 1)
    for row in np.flatnonzero(near.any(axis=0)):
        number, thing = things[int(row)]
        earlier = [things[int(other)] for other in np.flatnonzero(near[:, row])]
        same = [item for item in earlier if item[1].label == thing.label]
        first, other = (same or earlier)[0]
        exact = next((item for item in same if item[1].box == thing.box), None)
        if exact:
            yield "duplicate-box", f"{_shown(number, thing)}, is object {exact[0]} again"
        elif same:
            yield "near-duplicate-box", f"{_shown(number, thing)}, is nearly object {first}, {_corners(other)}"
        else:
            yield "two-classes", f"{_shown(number, thing)}, is object {first} ({other.label}) too"


def too_small(
    record: AnnotatedImage, seen: Look, least_area: int, max_side: int, least_side: float = 0.0
) -> Iterator[Finding]:
    """Objects whose box has less than ``least_area`` square pixels in the image as it is searched.

    That is shrunk to a longer side of ``max_side`` first, where it is larger. A region that is segmented has no fewer
    pixels, so no proposal has a smaller box: IoU is at best area / least_area.
    """
    size = seen.size or record.size
    factor = min(1.0, max_side / max(size)) if size else 1.0
    for number, thing in enumerate(record.objects or (), start=1):
        if not usable(thing, size, least_side):
            continue
        x0, y0, x1, y1 = clipped(thing.box, size) if size else thing.box
        area = (x1 - x0) * (y1 - y0) * factor**2
        if area < least_area:
            scaled = "" if factor == 1 else f" at {max_side} pixels"
            text = (
                f"{_shown(number, thing)}: {area:.3g} square pixels{scaled}, where a proposal has at least {least_area}"
            )
            text += f": IoU at best {area / least_area:.2f}"
            yield Finding("too-small", text, record.id, record.path)


def similar_classes(counts: Mapping[str, int]) -> Iterator[Finding]:
    """Class names that are the same but for letter case, blanks, hyphens and underscores; ``counts``: their objects."""
    alike: dict[str, list[str]] = {}
    for name in sorted(counts):
        key = re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name).casefold())
        alike.setdefault(key, []).append(name)
    for names in alike.values():
        if len(names) > 1:
            yield Finding("similar-classes", ", ".join(f"{name!r} ({_objects(counts[name])})" for name in names))


def misspelt_classes(records: Sequence[AnnotatedImage]) -> Iterator[Finding]:
    """Classes that differ from one with ten times their objects by one letter: a finding for each image with such."""
    counts = Counter(thing.label for record in records for thing in record.objects or ())
    meant = {}
    for rare, count in counts.items():
        near = [name for name in counts if counts[name] >= _RARE * count and _a_letter_apart(rare, name)]
        if near:
            meant[rare] = max(near, key=lambda name: counts[name])
    for record in records:
        for rare in dict.fromkeys(thing.label for thing in record.objects or () if thing.label in meant):
            other = meant[rare]
            text = f"{rare!r} ({_objects(counts[rare])}) is {other!r} ({_objects(counts[other])}) but for a letter"
            yield Finding("misspelt-class", text, record.id, record.path)


def _a_letter_apart(one: str, other: str) -> bool:
    """Whether a letter that is left out, put in or changed, or two exchanged, make one name the other.

    Names of fewer than four letters often are so by right, and numbers mean something.
    """
    if one.casefold() == other.casefold() or min(len(one), len(other)) < _SHORT:
        return False
    start = _same_letters(one, other)
    one, other = one[start:], other[start:]
    end = _same_letters(one[::-1], other[::-1])
    one, other = one[: len(one) - end], other[: len(other) - end]
    exchanged = len(one) == 2 and one == other[::-1]
    return (max(len(one), len(other)) == 1 or exchanged) and f"{one}{other}".isalpha()


def _same_letters(one: str, other: str) -> int:
    """How many letters two names begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def of_splits(splits: Mapping[str, Sequence[str]], places: Mapping[str, Path]) -> Iterator[Finding]:
    """Images listed in two splits that must not meet, such as train and test; ``places``: image id -> file."""
    names = sorted(splits)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            if _role(one) and _role(other) and not _role(one) & _role(other):
                for image_id in sorted({*splits[one]} & {*splits[other]}):
                    yield Finding("in-two-splits", f"listed in {one} and {other}", image_id, places[image_id])


def not_annotated(records: Iterable[AnnotatedImage], splits: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Images without annotation in splits to train or validate on, or in any split where others of it have one."""
    without = {record.id: record for record in records if record.objects is None}
    for name, ids in splits.items():
        bare = [image_id for image_id in ids if image_id in without]
        if len(bare) < len(ids) or "train" in _role(name):
            for image_id in bare:
                if record := without.pop(image_id, None):
                    yield Finding("not-annotated", f"in {name}, without annotation", image_id, record.path)
    if not splits:
        for image_id, record in without.items():
            yield Finding("not-annotated", "without annotation", image_id, record.path)


def identical(
    looks: Mapping[str, Look], splits: Mapping[str, Sequence[str]], places: Mapping[str, Path]
) -> Iterator[Finding]:
    """Images that show the same, one finding for each but the first; worst where training and test share it."""
    member: dict[str, set[str]] = {image_id: set() for image_id in looks}
    for name, ids in splits.items():
        for image_id in ids:
            member[image_id].add(name)
    alike: dict[str, list[str]] = {}
    for image_id in sorted(looks):
        if looks[image_id].content:
            alike.setdefault(looks[image_id].content, []).append(image_id)
    for ids in alike.values():
        # The first image of each combination of splits: a group may be thousands of empty frames.
        first = {frozenset(member[image_id]): image_id for image_id in reversed(ids)}
        for image_id in ids[1:]:
            earlier = [other for other in first.values() if other < image_id]
            leaks = sorted(other for other in earlier if _apart(member[image_id], member[other], splits))
            kind = "identical-across-splits" if leaks else "identical-images"
            text = f"{_listed(image_id, member)} is the same as {_listed((leaks or ids)[0], member)}"
            yield Finding(kind, text, image_id, places[image_id])


def _apart(ours: Iterable[str], theirs: Iterable[str], splits: Mapping[str, Sequence[str]]) -> bool:
    """Whether one of each are splits that must not share an image."""
    for one in ours:
        for other in theirs:
            if _role(one) and _role(other):
                if not _role(one) & _role(other):
                    return True
            elif one != other and not {*splits[one]} & {*splits[other]}:
                return True
    return False


def _role(name: str) -> frozenset[str]:
    """Those of train, val and test that the split ``name`` is; empty where the name does not say."""
    role = role_of(name)
    return frozenset(parts_of(role) if role else ())


def of_classes(stats: Statistics, declared: Iterable[str], min_examples: int) -> Iterator[Finding]:
    """Classes that a split of training or test lacks, and those with less than ``min_examples`` to train on.

    An example is an object that is neither difficult nor a crowd. Splits without any object are passed over.
    """
    filled = [name for name in stats.splits if any(count.splits[name] for count in stats.classes.values())]
    known = [name for name in filled if _role(name)]
    roles = {name: role_of(name) for name in known}
    taught = [name for name in known if roles[name] == (TRAINVAL if TRAINVAL in roles.values() else TRAIN)]
    for label in sorted({*declared, *stats.classes}):
        count = stats.classes.get(label)
        if count is None:
            yield Finding("absent-class", f"{label} has no object in any image")
            continue
        if not taught and count.objects - count.difficult < min_examples:
            yield Finding("few-examples", f"{label} has {_objects(count.objects - count.difficult)} in all images")
        for name in known:
            examples = count.examples[name]
            if examples == 0:
                hard = f" that is not difficult, of {count.splits[name]}" if count.splits[name] else ""
                yield Finding("absent-class", f"{label} has no example in {name}{hard}; it has {count.objects} in all")
            elif name in taught and examples < min_examples:
                yield Finding("few-examples", f"{label} has {examples} in {name}, less than {min_examples}")


def _listed(image_id: str, member: Mapping[str, Iterable[str]]) -> str:
    names = ", ".join(sorted(member[image_id]))
    return f"{image_id} ({names})" if names else image_id


def _shown(number: int, thing: LabelledBox) -> str:
    return f"object {number} ({thing.label}), {_corners(thing)}"


def _corners(thing: LabelledBox) -> str:
    return f"box {' '.join(f'{value:g}' for value in thing.box)}"


def _by(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def _objects(count: int) -> str:
    return f"{count:,} object{'' if count == 1 else 's'}"
