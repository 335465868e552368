"""Any annotated data set in memory, and written in another format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from sppcli.datasets.annotated import AnnotatedDataset, AnnotatedImage, AnnotatedSet, LabelledBox, clipped, used
from sppcli.datasets.base import Dataset
from sppcli.datasets.coco_write import write_coco
from sppcli.datasets.remarks import Remark
from sppcli.datasets.table import write_csv
from sppcli.datasets.voc import VocDataset
from sppcli.datasets.voc_classes import class_lists
from sppcli.datasets.voc_write import can_list_classes, is_whole, whole, write_voc
from sppcli.datasets.yolo_write import write_yolo
from sppcli.errors import BadInput

Format = Literal["voc", "coco", "yolo", "csv"]

WRITERS: Mapping[str, Callable[[Path, AnnotatedSet, Mapping[str, str]], None]] = {
    "voc": write_voc,
    "coco": write_coco,
    "yolo": write_yolo,
    "csv": write_csv,
}
_ODD_ENDINGS = (".jfif", ".jpe", ".jif", ".pjpeg", ".JFIF", ".JPE")
_NO_EXTENT = "{n} objects have no extent and were left out"
IMAGE_FOLDERS: Mapping[str, str] = {"voc": "JPEGImages", "coco": "images", "yolo": "images", "csv": "images"}


def record_of(dataset: Dataset, image_id: str) -> AnnotatedImage:
    """The annotation of one image as written; ``objects`` is None where there is none.

    Raises:
        BadInput: a data set without annotations, or an annotation that cannot be read.
    """
    if isinstance(dataset, AnnotatedDataset | VocDataset):
        said = isinstance(dataset, AnnotatedDataset) and dataset.says_repeats
        record, remarks = used(dataset.record(image_id), str(dataset.sources[0]), repeats=not said)
        dataset.warnings += remarks
        return record
    raise BadInput(f"{dataset.root} is no annotated data set; docs/formats.md lists the formats that are read")


def collect(dataset: Dataset) -> AnnotatedSet:
    """Everything in ``dataset``, images with their sizes, without boxes that have no extent (``dataset.warnings``).

    Raises:
        BadInput: as `record_of`, and an image that is none.
    """
    from sppcli.images import upright_size

    images = []
    for item in dataset.images:
        record = record_of(dataset, item.id)
        empty = [thing for thing in record.objects or () if not thing.has_extent]
        dataset.warnings += [
            Remark("box", f"{item.id}: {thing.label} has no extent and was left out", _NO_EXTENT, item.id)
            for thing in empty
        ]
        if empty:
            kept = tuple(thing for thing in record.objects or () if thing.has_extent)
            record = replace(record, objects=kept)
        images.append(record if record.size else replace(record, size=upright_size(item.path)))
    shown = {thing.label for image in images for thing in image.objects or ()}
    # VOC has class lists, which may name classes without objects; other formats declare theirs, or do not.
    listed = (
        dataset.declared
        if isinstance(dataset, AnnotatedDataset)
        else tuple(sorted(shown | class_lists(dataset).keys()))
    )
    declared = (*listed, *sorted(shown - set(listed)))
    return AnnotatedSet(declared, tuple(images), {name: dataset.split(name) for name in dataset.split_names()})


def losses(data: AnnotatedSet, to: Format) -> list[str]:
    """What format ``to`` cannot hold of ``data``, one line for each kind: see `_losses`."""
    return [text for text, count in _losses(data, to) if count]


def _losses(data: AnnotatedSet, to: Format) -> Iterator[tuple[str, int]]:
    pairs = [(image, thing) for image in data.images for thing in image.objects or ()]

    def count(test: Callable[[AnnotatedImage, LabelledBox], bool]) -> int:
        return sum(test(image, thing) for image, thing in pairs)

    crowds = count(lambda _, thing: thing.crowd)
    unannotated = sum(image.objects is None for image in data.images)
    if to == "voc":
        rounded = count(lambda _, thing: not is_whole(thing.box))
        yield f"{rounded} boxes were rounded to whole pixels", rounded
        thin = count(lambda _, thing: _is_thin(thing))
        yield f"{thin} boxes are one pixel wide or high, which spp and others take for damaged in VOC files", thin
        yield f"{crowds} crowds are marked difficult", crowds
        shown = {thing.label for _, thing in pairs}
        bare = 0 if can_list_classes(data) else len(set(data.classes) - shown)
        yield f"{bare} classes without objects are not kept: an image id has a blank in it", bare
    if to == "yolo":
        difficult = count(lambda _, thing: thing.difficult and not thing.crowd)
        truncated = count(lambda _, thing: thing.truncated and not thing.crowd)
        yield f"{difficult} difficult objects are no longer marked", difficult
        yield f"{truncated} truncated objects are no longer marked", truncated
        yield f"{crowds} crowds were left out", crowds
        cut = count(lambda image, thing: image.size is not None and clipped(thing.box, image.size) != thing.box)
        yield f"{cut} boxes that reach outside their image were cut or left out", cut
    if to == "csv":
        empty = sum(not ids for ids in data.splits.values())
        yield f"{empty} empty splits are not kept", empty
    odd = sorted({image.path.suffix for image in data.images} & set(_ODD_ENDINGS))
    number = sum(image.path.suffix in _ODD_ENDINGS for image in data.images)
    yield f"{number} images keep an ending that other tools may not know for JPEG ({' '.join(odd)})", number
    if to in ("yolo", "csv") or (to == "coco" and unannotated < len(data.images)):
        yield f"{unannotated} images without annotation may now pass for images without objects", unannotated


def _is_thin(thing: LabelledBox) -> bool:
    x0, y0, x1, y1 = whole(thing.box)
    return x0 == x1 or y0 == y1
