"""Data sets: the only place that knows a format. ``open_dataset`` decides which one it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from sppcli.datasets.base import ALL, IMAGE_EXTENSIONS, Dataset, did_you_mean, siblings
from sppcli.datasets.coco import CocoDataset, annotation_files
from sppcli.datasets.folder import PlainImages
from sppcli.datasets.ilsvrc import IlsvrcDataset, tasks_of
from sppcli.datasets.table import CsvDataset, table_files
from sppcli.datasets.voc import VocDataset, is_voc_root
from sppcli.datasets.yolo import YoloDataset, names_file
from sppcli.errors import BadInput, MissingInput, UsageProblem

__all__ = ["ALL", "IMAGE_EXTENSIONS", "Dataset", "open_dataset"]

_YEAR = re.compile(r"VOC\d{4}")


def open_dataset(sources: Sequence[Path | str], images_needed: bool = True) -> Dataset:
    """Open ``sources`` as the data set that they are.

    - One folder with JPEGImages and Annotations (or ImageSets) is a VOC data set, without JPEGImages too if
      ``images_needed`` is False (evaluation reads annotations only); so is a devkit: a folder
      with one such folder called VOC2007, VOC2012 … in it, or in its VOCdevkit.
    - One folder with annotations/instances_*.json, or one such file, is a COCO data set (`coco`).
    - One folder with labels/ and data.yaml or classes.txt, or one such .yaml, is a YOLO data set (`yolo`).
    - One folder with annotations.csv, or other .csv files of boxes, or one .csv, is a CSV data set (`table`).
    - One folder with Annotations/DET and Data/DET (or CLS-LOC) is an ILSVRC data set (`ilsvrc`).
    - Any other folder is searched through for images.
    - Image files, or files and folders together, are images with ids relative to their common parent.

    Raises:
        UsageProblem: no source, several VOC data sets to choose from, or a VOC data set among other sources.
        MissingInput: a path that is not there, or a folder without any image.
        BadInput: a file that is not an image by its extension, a list that is not text, or a path without permission.
    """
    if not sources:
        raise UsageProblem("no source was given: name a VOC folder, a folder of images, or image files")
    try:
        return _open([_existing(source) for source in sources], images_needed)
    except PermissionError as error:
        raise BadInput(f"{error.filename} cannot be read: permission is denied") from error


def _open(paths: Sequence[Path], images_needed: bool) -> Dataset:
    for path in paths:
        tasks = tasks_of(path) if path.is_dir() else []
        roots = _voc_roots(path, images_needed) if path.is_dir() and not tasks else []
        if len(roots) > 1:
            raise UsageProblem(f"{path} holds several VOC data sets: choose one of {', '.join(map(str, roots))}")
        if roots and len(paths) > 1:
            raise UsageProblem(f"{roots[0]} is a VOC data set: give it alone, or give its JPEGImages folder")
        if roots:
            return VocDataset(roots[0], paths[0], images_needed)
        if len(tasks) > 1:
            choices = " or ".join(str(root / "Data" / task) for root, task in tasks)
            raise UsageProblem(f"{path} holds two ILSVRC data sets: give {choices}")
        if tasks and len(paths) == 1:
            return IlsvrcDataset(*tasks[0], paths[0])
        reader = _reader(path)
        if reader and len(paths) > 1:
            raise UsageProblem(f"{path} is an annotated data set: give it alone, or give the folder of its images")
        if reader:
            return reader(path, images_needed)
    return PlainImages(paths)


def _reader(path: Path) -> Callable[[Path, bool], Dataset] | None:
    """What reads ``path``, if it is an annotated data set other than VOC."""
    if path.is_file():
        return {".json": CocoDataset, ".yaml": YoloDataset, ".yml": YoloDataset, ".csv": CsvDataset}.get(
            path.suffix.lower()
        )
    if annotation_files(path):
        return CocoDataset
    if not (path / "annotations.csv").is_file() and names_file(path):
        return YoloDataset
    return CsvDataset if table_files(path) else None


def _existing(source: Path | str) -> Path:
    """``source`` as an absolute path, or an error that names its first part which is not there."""
    given = Path(source)
    path = given.resolve() if ".." in given.parts else given.absolute()
    if path.exists():
        return path
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    if missing.is_symlink():
        raise MissingInput(f"{missing} is a link to something that is not there: {missing.readlink()}")
    raise MissingInput(f"there is no file or folder {missing}{did_you_mean(missing.name, siblings(missing))}")


def _voc_roots(folder: Path, images_needed: bool) -> list[Path]:
    """The VOC data sets that ``folder`` is, or holds as a devkit."""
    if is_voc_root(folder, images_needed):
        return [folder]
    for devkit in (folder, folder / "VOCdevkit"):
        if devkit.is_dir():
            named = (path for path in devkit.iterdir() if _YEAR.fullmatch(path.name))
            years = sorted(path for path in named if is_voc_root(path, images_needed))
            if years:
                return years
    return []
