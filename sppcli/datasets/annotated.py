"""Annotations as a file states them, and data sets that are made of these: COCO, YOLO and CSV.

`LabelledBox` holds what the formats have between them, in float64 and as written, so that a conversion loses nothing.
`Dataset.annotations` gives what training and evaluation use: clipped to the image, without boxes that have no extent.
"""

from __future__ import annotations

import codecs
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sppcli.datasets.at_hand import fit
from sppcli.datasets.base import ALL, Dataset, Problem, did_you_mean
from sppcli.datasets.matching import Folders, spellings
from sppcli.datasets.remarks import Remark, again, repeated
from sppcli.errors import BadInput, MissingInput
from sppcli.runtime.inputs import LARGEST_FILE, read_regular
from sppcli.structures import Annotations, ImageItem, as_boxes

Corners = tuple[float, float, float, float]
_NAMED_ONE_BY_ONE = 10


@dataclass(frozen=True)
class LabelledBox:
    """An object: ``box`` x0 y0 x1 y1, 0-based half-open, pixels; ``crowd``: a group in one box (COCO's iscrowd).

    ``area``: of the object in square pixels where the format has it (COCO's, of the segmentation), else None.
    ``xywh``: x y width height where a file has the box so (COCO's): x + width - x may differ from the width read.
    """

    label: str
    box: Corners
    difficult: bool = False
    truncated: bool = False
    crowd: bool = False
    area: float | None = None
    xywh: Corners | None = field(default=None, compare=False, kw_only=True)

    @property
    def has_extent(self) -> bool:
        return self.box[2] > self.box[0] and self.box[3] > self.box[1]

    @property
    def own_area(self) -> float:
        """``area``, or that of the box."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0) if self.area is None else self.area


@dataclass(frozen=True)
class AnnotatedImage:
    """An image with its objects; None where it is not annotated, as in test sets.

    ``size``: width, height as the annotation states them, or None; ``number``: COCO's image id.
    """

    id: str
    path: Path
    objects: tuple[LabelledBox, ...] | None
    size: tuple[int, int] | None = None
    number: int | None = None


class AnnotatedDataset(Dataset):
    """A data set whose images have an `AnnotatedImage` each. Readers say where that comes from (`record`).

    ``declared``: class names in the format's order, those without objects too; ``says_repeats``: whether the reader
    says itself which objects stand twice.
    """

    says_repeats = False

    def __init__(
        self,
        kind: str,
        source: Path,
        root: Path,
        images: Iterable[ImageItem],
        splits: Mapping[str, Iterable[str]],
        declared: Sequence[str],
        warnings: Iterable[str] = (),
    ) -> None:
        super().__init__(kind, [source], root, images, warnings)
        self.declared = tuple(declared)
        self._ids = frozenset(item.id for item in self.images)
        chosen = {name: sorted(self._ids.intersection(splits[name])) for name in sorted(splits) if name != ALL}
        self._splits = {name: tuple(ids) for name, ids in chosen.items()}
        self._cut: dict[str, Annotations] = {}

    @abstractmethod
    def record(self, image_id: str) -> AnnotatedImage:
        """The annotation of one of the images, as written.

        Raises:
            BadInput: it cannot be read; the text names the file and line.
        """

    def written(self, image_id: str) -> AnnotatedImage:
        """As `record`, with every object that is written down, those that `record` leaves out too."""
        return self.record(image_id)

    def is_annotated(self, image_id: str) -> bool:
        return self.record(image_id).objects is not None

    @property
    def has_annotations(self) -> bool:
        return any(self.record(item.id).objects is not None for item in self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        objects = (thing for item in self.images for thing in self.record(item.id).objects or ())
        return tuple(sorted({thing.label for thing in objects if thing.has_extent}))

    def split_names(self) -> tuple[str, ...]:
        return tuple(self._splits)

    def _split(self, name: str) -> tuple[str, ...]:
        return self._splits[name]

    def annotations(self, image_id: str) -> Annotations:
        if image_id not in self._cut:
            if image_id not in self._ids:
                raise MissingInput(f"{self.root} has no image {image_id!r}{did_you_mean(image_id, self._ids)}")
            record = self.record(image_id)
            if record.objects is None and self.unlabelled == "empty":
                record = replace(record, objects=())
            if record.objects is None:
                raise MissingInput(f"image {image_id!r} of {self.sources[0]} has no annotation")
            record, remarks = used(record, str(self.sources[0]), repeats=not self.says_repeats)
            self.warnings += remarks
            self._cut[image_id], skipped = as_annotations(record.objects or (), record.size)
            for thing, why in skipped:
                text = f"{image_id}: {thing.label}, box {_shown(thing.box)}, {why} and was skipped"
                self.warnings.append(Remark("box", text, f"{{n}} boxes were skipped, each {why}", image_id))
        return self._cut[image_id]


def fitted(record: AnnotatedImage, where: str) -> tuple[AnnotatedImage, list[str]]:
    """``record`` with its image's size, its boxes turned where that is due (`at_hand`), and what there is to say."""
    how = fit(record.path, record.size, where)
    objects = record.objects
    if how.orientation != 1 and objects is not None:
        objects = tuple(replace(thing, box=how.box(thing.box)) for thing in objects)
    return replace(record, size=how.size, objects=objects), [how.remark] if how.remark else []


def used(record: AnnotatedImage, where: str, repeats: bool = True) -> tuple[AnnotatedImage, list[str]]:
    """``record`` as training, evaluation and conversion use it: `fitted`, and exchanged corners put in order.

    Objects that stand twice are kept, and said where ``repeats``.
    """
    record, remarks = fitted(record, where)
    objects = record.objects
    if any(_is_exchanged(thing.box) for thing in objects or ()):
        said = (_exchanged_remark(thing, record.path, where) for thing in objects or () if _is_exchanged(thing.box))
        remarks += said
        objects = tuple(replace(thing, box=in_order(thing.box)) for thing in objects or ())
    if repeats:
        remarks += [
            again(f"{where}: {thing.label} in {record.path.name}, box {_shown(thing.box)}", record.path.name)
            for thing in repeated(objects or (), lambda one: (one.label, one.box))
        ]
    return replace(record, objects=objects), remarks


def in_order(box: Corners) -> Corners:
    """``box`` with its first corner above and left of its second; one without extent on a side as it is."""
    x0, y0, x1, y1 = box
    return (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)) if _is_exchanged(box) else box


def _is_exchanged(box: Corners) -> bool:
    x0, y0, x1, y1 = box
    return (x1 < x0 and y0 != y1) or (y1 < y0 and x0 != x1)


def _exchanged_remark(thing: LabelledBox, image: Path, where: str) -> Remark:
    text = f"{where}: {thing.label} in {image.name}, box {_shown(thing.box)}, has its corners exchanged; "
    many = "{n} boxes have their corners exchanged; they were put in order"
    return Remark("swapped", f"{text}they were put in order", many, image.name)


def as_annotations(
    objects: Sequence[LabelledBox], size: tuple[int, int] | None
) -> tuple[Annotations, list[tuple[LabelledBox, str]]]:
    """Boxes as they are trained on and scored against, and those left out with the reason.

    Boxes are clipped to ``size`` (width, height), if it is known. Crowds count as difficult too.
    """
    kept: list[tuple[LabelledBox, Corners]] = []
    skipped = []
    for thing in objects:
        box = clipped(thing.box, size) if size else thing.box
        if not thing.has_extent:
            skipped.append((thing, "has no extent"))
        elif box[2] <= box[0] or box[3] <= box[1]:
            skipped.append((thing, "lies outside the image"))
        else:
            kept.append((thing, box))
    annotations = Annotations(
        as_boxes([box for _, box in kept]),
        tuple(thing.label for thing, _ in kept),
        np.array([thing.difficult or thing.crowd for thing, _ in kept], dtype=np.bool_),
        np.array([thing.crowd for thing, _ in kept], dtype=np.bool_),
    )
    return annotations, skipped


def refuse_shares(where: Path, boxes: Iterable[Corners]) -> None:
    """Refuse boxes said to be in pixels of which none reaches beyond the first pixel: they are shares of the sides.

    Raises:
        BadInput: the text names the file ``where``.
    """
    boxes = list(boxes)
    if boxes and max(max(box) for box in boxes) <= 1 and any(not side.is_integer() for box in boxes for side in box):
        raise BadInput(
            f"{where}: no box reaches beyond 1, so they are in shares of the images' width and height, where this "
            "format has pixels: multiply them by the sides, or write YOLO's labels"
        )


def clipped(box: Corners, size: tuple[int, int]) -> Corners:
    """``box`` cut to an image of ``size`` (width, height)."""
    width, height = size
    x0, y0, x1, y1 = box
    return min(max(x0, 0.0), width), min(max(y0, 0.0), height), min(max(x1, 0.0), width), min(max(y1, 0.0), height)


def locate(names: Sequence[str], folders: Sequence[Path], where: str, required: bool = True) -> dict[str, Path]:
    """Image name in an annotation -> file, for those found below one of ``folders``; the first folder that has it.

    A name may lead through folders, and be spelled as `matching.spellings` has it: with backslashes, as an absolute
    path of another machine, percent-encoded, with accents of two code points, in another letter case.

    Raises:
        MissingInput: none of the names is found, and that is ``required``; the text names ``where``, one of them, and
            the folders.
    """
    found: dict[str, Path] = {}
    folders = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
    listed = Folders()
    for name in names:
        for tail, folder in ((tail, folder) for tail in spellings(name) for folder in folders):
            if (place := listed.find(folder / tail)) is not None:
                found[name] = place
                folders.insert(0, folders.pop(folders.index(folder)))  # the next one is most often there too
                break
    if names and not found and required:
        tried = ", ".join(str(folder) for folder in sorted(folders)) or "no folder"
        raise MissingInput(f"{where}: none of its {len(names)} images is there, {names[0]!r} for one; tried {tried}")
    return found


def ids_of(paths: Iterable[Path], root: Path) -> dict[Path, str]:
    """Each image's id: its path below ``root``, or below the folder images/ if all lie there, without extension."""
    from sppcli.datasets.folder import named

    listed = list(paths)
    base = root / "images"
    inside = base if all(path.is_relative_to(base) for path in listed) else root
    return {item.path: item.id for item in named(listed, inside)}


def unfound(names: Sequence[str], where: Path) -> list[Problem]:
    """Warnings about images that an annotation names and that are not there."""
    shown = [f"{where} names image {name!r}, which is not there" for name in names[:_NAMED_ONE_BY_ONE]]
    more = len(names) - len(shown)
    shown += [f"{more} more images that {where} names are not there"] if more else []
    return [Problem("missing-image", text) for text in shown]


def memoised_size() -> Callable[[Path], tuple[int, int]]:
    """A function image file -> (width, height), upright, that opens each file once."""
    known: dict[Path, tuple[int, int]] = {}

    def size(path: Path) -> tuple[int, int]:
        if path not in known:
            from sppcli.images import upright_size

            known[path] = upright_size(path)
        return known[path]

    return size


def read_text(path: Path, what: str, limit: int = LARGEST_FILE) -> str:
    """The text of a file of an annotation format.

    Raises:
        BadInput: not there, not readable or neither UTF-8 nor marked as UTF-16; ``what`` it should be is in the text.
    """
    try:
        data = read_regular(path, limit)
    except OSError as error:
        raise BadInput(f"{path} cannot be read as {what}: {error.strerror or error}") from error
    return decoded(data, f"{path} cannot be read as {what}")


def decoded(data: bytes, complaint: str) -> str:
    """The text of a file: UTF-8, or UTF-16 as its byte order mark says; lines end in "\\n".

    Raises:
        BadInput: another encoding; the text begins with ``complaint`` and says what to do.
    """
    encoding = "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadInput(f"{complaint}: it is not {encoding[:6].rstrip('-')} text ({error}); save it as UTF-8") from error
    if encoding != "utf-16" and "\0" in text:
        raise BadInput(f"{complaint}: it holds zero bytes, as UTF-16 without a byte order mark does; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _shown(box: Corners) -> str:
    return " ".join(f"{value:g}" for value in box)


@dataclass(frozen=True)
class AnnotatedSet:
    """All of a data set in memory, as a writer needs it. ``classes``: in the order in which formats number them."""

    classes: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]
    splits: Mapping[str, tuple[str, ...]]

    def lists(self) -> dict[str, tuple[str, ...]]:
        """The splits, and "all" with every image if there is no split or an image that is in none."""
        named = {image_id for ids in self.splits.values() for image_id in ids}
        everything = tuple(image.id for image in self.images)
        return dict(self.splits) | ({} if named.issuperset(everything) and self.splits else {ALL: everything})
