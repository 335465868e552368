"""PASCAL VOC folders: JPEGImages, Annotations (XML), ImageSets/Main (lists).

Source: Everingham et al., the VOC2007 development kit, sections on image sets and annotation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sppcli.datasets.annotated import AnnotatedImage, read_text
from sppcli.datasets.base import ALL, IMAGE_EXTENSIONS, Dataset, Problem, did_you_mean, find_images
from sppcli.datasets.format import Place, Recognised
from sppcli.datasets.matching import same_names
from sppcli.datasets.voc_xml import from_voc as from_voc
from sppcli.datasets.voc_xml import read_annotation as read_annotation
from sppcli.datasets.voc_xml import read_record as read_record
from sppcli.datasets.voc_xml import to_voc as to_voc
from sppcli.errors import MissingInput, UsageProblem
from sppcli.structures import Annotations, ImageItem

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SHIFT = np.array([1.0, 1.0, 0.0, 0.0])
_NAMED_ONE_BY_ONE = 10
_YEAR = re.compile(r"VOC\d{4}")


def is_voc_root(folder: Path, images_needed: bool = True) -> bool:
    """Whether ``folder`` is laid out as one VOC data set; without ``images_needed``, annotations and lists will do."""
    images, annotations, lists = ((folder / name).is_dir() for name in ("JPEGImages", "Annotations", "ImageSets"))
    return (images and (annotations or lists)) or (not images_needed and annotations and lists)


class VocDataset(Dataset):
    """A VOC folder. Splits are the lists in ImageSets/Main; annotations are read when asked for, once.

    With lists, the images are those that a list names; without, all in JPEGImages. An image may lack its
    annotation (the test sets of some years do).
    """

    least_side = 1.0

    def __init__(self, folder: Path, source: Path | None = None, images_needed: bool = True) -> None:
        """Read the lists of ``folder`` (absolute) and find its images.

        Args:
            source: what the user gave, where that is a folder above it.
            images_needed: False takes images that are listed or annotated as there, as evaluation may.

        Raises:
            MissingInput: no image, or none that a list names.
            BadInput: a list that is not text.
        """
        pictures = folder / "JPEGImages"
        files, warnings = _image_files(pictures) if images_needed or pictures.is_dir() else ({}, [])
        listed = _read_lists(folder / "ImageSets" / "Main", files)
        annotated = _annotation_files(folder / "Annotations")
        if files:
            # Accents of one or two code points, letter case: the image's own name is the id.
            same = same_names(annotated.keys() - files.keys(), files.keys() - annotated.keys())
            annotated = {same.get(name, name): path for name, path in annotated.items()}
            same = same_names({name for members in listed.values() for name in members}, files)
            listed = {split: [same.get(name, name) for name in members] for split, members in listed.items()}
        named = {image_id for ids in listed.values() for image_id in ids}
        if not images_needed:
            files = {name: folder / "JPEGImages" / f"{name}.jpg" for name in named | annotated.keys()} | files
        if not files:
            raise MissingInput(f"{folder / 'JPEGImages'} holds no image: put the images of the data set there")
        if listed and not named & files.keys():
            example = f"{min(named)!r}" if named else "the lists are empty"
            raise MissingInput(
                f"no image in {folder / 'JPEGImages'} is named by a list in ImageSets/Main ({example}): "
                "a line is the file name without extension"
            )
        warnings += _missing_images(listed, files)
        orphans = sorted(annotated.keys() - files.keys() - named)
        if orphans:
            text = (
                f"{len(orphans)} annotation{'s have' if len(orphans) > 1 else ' has'} no image in JPEGImages "
                f"and {'were' if len(orphans) > 1 else 'was'} left out: {annotated[orphans[0]]}"
                f"{' is the first' if len(orphans) > 1 else ''}"
            )
            warnings.append(Problem("label-without-image", text))
        ids = named & files.keys() if listed else files.keys()
        images = [ImageItem(image_id, files[image_id]) for image_id in ids]
        super().__init__("voc", [source or folder], folder, images, warnings)
        self._ids = frozenset(ids)
        self._splits = {
            name: tuple(sorted(self._ids.intersection(listed[name]))) for name in sorted(listed) if name != ALL
        }
        self._files = {image_id: path for image_id, path in annotated.items() if image_id in self._ids}
        self._places = {item.id: item.path for item in images}
        self._parsed: dict[str, Annotations] = {}

    def is_annotated(self, image_id: str) -> bool:
        return image_id in self._files

    @property
    def has_annotations(self) -> bool:
        return bool(self._files)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({label for image_id in sorted(self._files) for label in self.annotations(image_id).labels}))

    def split_names(self) -> tuple[str, ...]:
        return tuple(self._splits)

    def _split(self, name: str) -> tuple[str, ...]:
        return self._splits[name]

    def annotations(self, image_id: str) -> Annotations:
        if image_id not in self._parsed:
            if image_id not in self._ids:
                raise MissingInput(f"{self.root} has no image {image_id!r}{did_you_mean(image_id, self._ids)}")
            if image_id not in self._files and self.unlabelled == "empty":
                return Annotations.empty()
            if image_id not in self._files:
                expected = self.root / "Annotations" / f"{image_id}.xml"
                raise MissingInput(f"image {image_id!r} has no annotation: {expected} is not there")
            self._parsed[image_id], warnings = read_annotation(self._files[image_id], self._places[image_id])
            self.warnings += warnings
        return self._parsed[image_id]

    def record(self, image_id: str) -> AnnotatedImage:
        """The annotation of one of the images as written; its ``objects`` are None where there is none.

        Raises:
            BadInput: as `read_annotation`.
        """
        image = self._places[image_id]
        if image_id not in self._files:
            return AnnotatedImage(image_id, image, None)
        record, warnings = read_record(self._files[image_id], image_id, image)
        self.warnings += warnings
        return record

    def written(self, image_id: str) -> AnnotatedImage:
        """As `record`, with the boxes without extent too.

        Raises:
            BadInput: as `read_annotation`.
        """
        image = self._places[image_id]
        if image_id not in self._files:
            return AnnotatedImage(image_id, image, None)
        return read_record(self._files[image_id], image_id, image, with_empty=True)[0]


def _image_files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Image id -> file; where an id has several, the extension that stands first in IMAGE_EXTENSIONS."""
    paths, warnings = find_images(folder)
    paths.sort(key=lambda path: IMAGE_EXTENSIONS.index(path.suffix.lower()))
    files: dict[str, Path] = {}
    for path in paths:
        files.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    return files, warnings


def _annotation_files(folder: Path) -> dict[str, Path]:
    """Image id -> XML file."""
    paths = (path for path in folder.rglob("*.xml") if path.name[0] != ".")
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def _read_lists(folder: Path, files: Iterable[str]) -> dict[str, list[str]]:
    """Split name -> ids in ``ImageSets/Main``, without VOC's per-class lists (``aeroplane_train.txt``)."""
    lists: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.txt")):
        if path.name[0] == ".":
            continue
        written = read_text(path, "a list of image ids").split("\n")
        # A name may begin or end with a blank, where there is such an image.
        lines = [line if line in files else line.strip() for line in written if line.strip()]
        if not _is_class_list(path.stem, lines):
            # A line is an id, in some sets with spaces in it, in others with a number behind it.
            lists[path.stem] = [line if line in files else line.split()[0] for line in lines]
    return lists


def _is_class_list(name: str, lines: list[str]) -> bool:
    """Whether a list is ``<class>_<split>``: each line an id and 1 (there), -1 (not there) or 0 (difficult only)."""
    flags = [line.split()[-1] for line in lines[:1] if len(line.split()) == 2]
    return "_" in name and len(flags) == len(lines[:1]) and set(flags) <= {"1", "+1", "-1", "0"}


def _missing_images(listed: dict[str, list[str]], files: dict[str, Path]) -> list[Problem]:
    naming: dict[str, list[str]] = {}
    for name in sorted(listed):
        for image_id in dict.fromkeys(listed[name]):
            if image_id not in files:
                naming.setdefault(image_id, []).append(f"{name}.txt")
    warnings = [
        f"image {image_id!r} is listed in ImageSets/Main/{', '.join(names)} but there is no such image in JPEGImages"
        for image_id, names in sorted(naming.items())
    ]
    more = len(warnings) - _NAMED_ONE_BY_ONE
    if more > 1:
        warnings[_NAMED_ONE_BY_ONE:] = [f"{more} more listed images are not in JPEGImages"]
    return [Problem("missing-image", text) for text in warnings]


def _roots(folder: Path, images_needed: bool) -> list[Path]:
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


def recognise(place: Place) -> Recognised | None:
    """A VOC folder, or the one in a devkit."""
    ilsvrc = any((place.path / "Annotations" / task).is_dir() for task in ("DET", "CLS-LOC"))
    roots = _roots(place.path, place.images_needed) if place.is_folder and not ilsvrc else []
    if len(roots) > 1:
        raise UsageProblem(f"{place.path} holds several VOC data sets: choose one of {', '.join(map(str, roots))}")
    if not roots:
        return None
    return Recognised(
        "JPEGImages, Annotations, ImageSets", lambda: VocDataset(roots[0], place.path, place.images_needed)
    )
