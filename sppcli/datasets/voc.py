"""PASCAL VOC folders: JPEGImages, Annotations (XML), ImageSets/Main (lists).

Source: Everingham et al., the VOC2007 development kit, sections on image sets and annotation.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from sppcli.datasets.annotated import AnnotatedImage, read_text
from sppcli.datasets.base import ALL, IMAGE_EXTENSIONS, Dataset, Problem, did_you_mean, find_images, is_image_name
from sppcli.datasets.format import Place, Recognised
from sppcli.datasets.matching import last_starts, same_names
from sppcli.datasets.remarks import counted
from sppcli.datasets.roles import role_of
from sppcli.datasets.voc_xml import ANNOTATION, named_file
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
    images, annotations, lists = (part_of(folder, name).is_dir() for name in ("JPEGImages", "Annotations", "ImageSets"))
    return (images and (annotations or lists)) or (not images_needed and annotations and lists)


def part_of(folder: Path, name: str) -> Path:
    """The folder ``name`` in ``folder``, in whatever letter case; annotations in lower case may be COCO's: with XML."""
    exact = folder / name
    if exact.is_dir():
        return exact
    found = [path for path in _folders(folder) if path.name.lower() == name.lower()]
    if name == "Annotations":
        found = [path for path in found if next((one for one in path.iterdir() if _is_xml(one)), None)]
    return found[0] if len(found) == 1 else exact


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []


def _is_xml(path: Path) -> bool:
    return path.suffix.lower() == ".xml" and path.name[0] != "."


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
        pictures = part_of(folder, "JPEGImages")
        annotated = _annotation_files(part_of(folder, "Annotations"))
        files, warnings = _image_files(pictures, annotated) if images_needed or pictures.is_dir() else ({}, [])
        listed = _lists(folder, files)
        if files:
            # Accents of one or two code points, letter case: the image's own name is the id.
            same = same_names(annotated.keys() - files.keys(), files.keys() - annotated.keys())
            annotated = {same.get(name, name): path for name, path in annotated.items()}
            same = same_names({name for members in listed.values() for name in members}, files)
            listed = {split: [same.get(name, name) for name in members] for split, members in listed.items()}
        named = {image_id for ids in listed.values() for image_id in ids}
        if not images_needed:
            files = {name: pictures / f"{name}.jpg" for name in named | annotated.keys()} | files
        if not files:
            raise MissingInput(f"{pictures} holds no image: put the images of the data set there")
        if listed and not named & files.keys():
            example = f"{min(named)!r}" if named else "the lists are empty"
            raise MissingInput(
                f"no image in {pictures} is named by a list in ImageSets/Main ({example}): "
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
        asides = []
        if unlisted := sorted(files.keys() - ids):
            what = "image is" if len(unlisted) == 1 else "images are"
            lists = " and ".join(f"{name}.txt" for name in sorted(listed))
            said = counted(f"{{n}} {what} in no list ({lists}) and left out", unlisted)
            asides.append(Problem("unlisted", said))
        images = [ImageItem(image_id, files[image_id]) for image_id in ids]
        super().__init__("voc", [source or folder], folder, images, warnings)
        self.asides += asides
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


def _image_files(folder: Path, annotated: Mapping[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """Image id -> file, and what is to be said.

    Where an id has several files, the one that its annotation names, or else the extension that stands first in
    IMAGE_EXTENSIONS.
    """
    paths, warnings = find_images(folder)
    paths.sort(key=lambda path: IMAGE_EXTENSIONS.index(path.suffix.lower()))
    files: dict[str, list[Path]] = {}
    for path in paths:
        files.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    left_out = []
    for image_id, several in files.items():
        if len(several) > 1:
            named = _file_named(annotated[image_id]) if image_id in annotated else ""
            several.sort(key=lambda path: path.name != named)
            left_out += [path.relative_to(folder).as_posix() for path in several[1:]]
    if left_out:
        what = "image has" if len(left_out) == 1 else "images have"
        was = "was" if len(left_out) == 1 else "were"
        text = f"{{n}} {what} the name of another but for its ending, with one annotation for both, and {was} left out"
        warnings.append(Problem("unlisted", counted(text, left_out)))
    return {image_id: several[0] for image_id, several in files.items()}, warnings


def _file_named(annotation: Path) -> str:
    with annotation.open("rb") as stream:
        return named_file(stream.read(4096).decode("utf-8", errors="ignore"))


def _annotation_files(folder: Path) -> dict[str, Path]:
    """Image id -> XML file."""
    paths = (path for path in folder.rglob("*.[xX][mM][lL]") if path.name[0] != ".")
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def _lists(folder: Path, files: Collection[str]) -> dict[str, list[str]]:
    """Split name -> ids: all lists in ``ImageSets/Main``, else those in ``ImageSets`` or ``folder`` itself that are
    called as splits are and name an image.
    """
    sets = part_of(folder, "ImageSets")
    main = part_of(sets, "Main")
    if listed := _read_lists(sorted(main.glob("*.txt")), files):
        return listed
    for place in (sets, folder):
        listed = _read_lists((path for path in sorted(place.glob("*.txt")) if role_of(path.stem)), files)
        if listed := {split: ids for split, ids in listed.items() if not set(ids).isdisjoint(files)}:
            return listed
    return {}


def _read_lists(paths: Iterable[Path], files: Collection[str]) -> dict[str, list[str]]:
    """Split name -> ids, without VOC's per-class lists (``aeroplane_train.txt``)."""
    lists: dict[str, list[str]] = {}
    for path in paths:
        if path.name[0] == ".":
            continue
        written = read_text(path, "a list of image ids").split("\n")
        # A name may begin or end with a blank, where there is such an image.
        lines = [line if line in files else line.strip() for line in written if line.strip()]
        if not _is_class_list(path.stem, lines):
            lists[path.stem] = [_listed_id(line, files) for line in lines]
    return lists


def _listed_id(line: str, files: Collection[str]) -> str:
    """The id in a line: alone, in some sets with blanks in it, in others with a number behind it; or a path."""
    for text in (line, line.split()[0]):
        parts = text.replace("\\", "/").split("/")
        for tail in (text, *("/".join(parts[i:]) for i in last_starts(parts))):
            stem = tail.rpartition(".")[0] if is_image_name(tail) or tail.lower().endswith(".xml") else tail
            if (found := next((name for name in (tail, stem) if name in files), None)) is not None:
                return found
    return line.split()[0]


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


def _xml_elsewhere(place: Place, root: Path) -> bool:
    """Whether VOC's XML lies in a folder of another name: `voc_folders` reads that."""
    return place.path == root and any(ANNOTATION.search(place.head(path)) for path in place.ending(".xml"))


def recognise(place: Place) -> Recognised | None:
    """A VOC folder, or the one in a devkit."""
    ilsvrc = any((place.path / "Annotations" / task).is_dir() for task in ("DET", "CLS-LOC"))
    roots = _roots(place.path, place.images_needed) if place.is_folder and not ilsvrc else []
    if len(roots) > 1:
        raise UsageProblem(f"{place.path} holds several VOC data sets: choose one of {', '.join(map(str, roots))}")
    if not roots or (not part_of(roots[0], "Annotations").is_dir() and _xml_elsewhere(place, roots[0])):
        return None
    return Recognised(
        "JPEGImages, Annotations, ImageSets", lambda: VocDataset(roots[0], place.path, place.images_needed)
    )
