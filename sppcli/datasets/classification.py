"""Images with the classes they show, whatever the format: VOC, folders of class folders, or plain images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sppcli.datasets import open_dataset
from sppcli.datasets.annotated import AnnotatedDataset
from sppcli.datasets.base import Dataset, find_images, is_image_name
from sppcli.datasets.folder import named
from sppcli.datasets.imagefolder import LabelledImages, open_labelled, split_folder, splits_of
from sppcli.datasets.voc_classes import ABSENT, PRESENT, Labels, image_classes
from sppcli.structures import BoolArray, ImageItem

CLASS_FOLDERS = "class folders"


@dataclass(frozen=True)
class ClassifiedImages:
    """Images, in order of id, with their classes and splits.

    ``kind``: voc, coco, yolo, csv, ilsvrc, class folders, folder or files (the last two without labels); ``root``: what
    paths are relative to.
    ``labels`` (images, classes) int8: 1 present, -1 absent, 0 counts neither way (see `voc_classes.image_classes`).
    ``in_split`` (images, splits) bool.
    """

    kind: str
    sources: tuple[Path, ...]
    root: Path
    images: tuple[ImageItem, ...]
    classes: tuple[str, ...]
    labels: Labels
    splits: tuple[str, ...]
    in_split: BoolArray
    warnings: tuple[str, ...]


def open_classified(sources: Sequence[Path | str]) -> ClassifiedImages:
    """Open ``sources`` with the labels they come with.

    - A VOC data set: see `voc_classes.image_classes`; its splits are its lists. Other annotated ones likewise.
    - A folder with train/, val/ or test/ of class folders, or one of two or more class folders and no image beside
      them.
    - Anything else is images without labels.

    Raises:
        MissingInput, BadInput, UsageProblem: as `open_dataset`, `open_labelled` and `image_classes`.
    """
    dataset = open_dataset(sources)
    if dataset.kind == "voc" or isinstance(dataset, AnnotatedDataset):
        classes, labels = image_classes(dataset)
        return _of_dataset(dataset, classes, labels)
    if dataset.kind == "folder":
        splits = splits_of(dataset.root)
        if splits and any(_has_class_folders(split_folder(dataset.root, split)) for split in splits):
            return _class_folders(dataset, splits)
        if not splits and _has_class_folders(dataset.root) and not _has_images(dataset.root):
            return _class_folders(dataset, ())
    return _of_dataset(dataset, (), np.zeros((len(dataset.images), 0), dtype=np.int8))


def _of_dataset(dataset: Dataset, classes: tuple[str, ...], labels: Labels) -> ClassifiedImages:
    splits = dataset.split_names()
    members = [set(dataset.split(name)) for name in splits]
    in_split = np.array([[item.id in ids for ids in members] for item in dataset.images], dtype=np.bool_)
    return ClassifiedImages(
        dataset.kind,
        dataset.sources,
        dataset.root,
        dataset.images,
        classes,
        labels,
        splits,
        in_split.reshape(len(dataset.images), len(splits)),
        tuple(dataset.remarks()),
    )


def _class_folders(dataset: Dataset, splits: tuple[str, ...]) -> ClassifiedImages:
    parts: list[LabelledImages] = [open_labelled(dataset.root, split) for split in splits or (None,)]
    classes = tuple(sorted({name for part in parts for name in part.classes}))
    class_of = {
        path: part.classes[label]
        for part in parts
        for path, label in zip(part.paths, part.labels.tolist(), strict=True)
    }
    split_of = {path: number for number, part in enumerate(parts) for path in part.paths}
    images = sorted(named(list(class_of), dataset.root), key=lambda item: item.id)
    labels = np.full((len(images), len(classes)), ABSENT, dtype=np.int8)
    in_split = np.zeros((len(images), len(splits)), dtype=np.bool_)
    for row, item in enumerate(images):
        labels[row, classes.index(class_of[item.path])] = PRESENT
        if splits:
            in_split[row, split_of[item.path]] = True
    warnings = [*dataset.warnings, *(text for part in parts for text in part.warnings)]
    return ClassifiedImages(
        CLASS_FOLDERS,
        dataset.sources,
        dataset.root,
        tuple(images),
        classes,
        labels,
        splits,
        in_split,
        tuple(dict.fromkeys(warnings)),
    )


def _has_class_folders(folder: Path) -> bool:
    """Whether two or more folders with images in them lie in ``folder``."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return len(folders) > 1 and sum(1 for path in folders if find_images(path)[0]) > 1


def _has_images(folder: Path) -> bool:
    return any(is_image_name(path.name) and not path.name.startswith(".") for path in folder.iterdir())
