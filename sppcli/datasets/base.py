"""What every data set offers, whatever its format: images, classes, splits, annotations."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sppcli.datasets.remarks import Problem as Problem
from sppcli.datasets.remarks import counted, grouped
from sppcli.datasets.roles import TEST, TRAIN, TRAINVAL, VAL, asked_for, division, parts_of, role_of
from sppcli.datasets.walking import Walk
from sppcli.errors import MissingInput
from sppcli.runtime.inputs import read_regular
from sppcli.structures import Annotations, ImageItem

IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"),
    *(".jpe", ".jfif", ".pjpeg", ".jif", ".gif"),
)
"""File name endings that count as images, in lower case; the first is preferred where one id has several files."""

OTHER_IMAGES = (
    *(
        ".avif",
        ".heic",
        ".heif",
        ".jp2",
        ".j2k",
        ".jpf",
        ".jxl",
        ".jxr",
        ".svg",
        ".psd",
        ".exr",
        ".hdr",
        ".tga",
        ".ico",
    ),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw", ".dcm", ".mpo", ".pbm", ".pnm"),
)
"""Endings of images that are not read, in lower case: they are counted, so that none is left out without a word."""

ALL = "all"
"""The split that every data set has: all of its images."""


class Dataset(ABC):
    """Images with their ids and, where the format has them, splits and annotations.

    | attribute | type | meaning |
    |---|---|---|
    | kind | str | "voc", "coco", "yolo", "csv", "ilsvrc", "folder" or "files" |
    | sources | tuple of absolute paths | what the user gave |
    | root | absolute path | the folder that image paths are relative to |
    | images | tuple of ImageItem | sorted by id; ids are unique |
    | split_seed | int | of the division of a data set that has no train, val or test of its own |
    | unlabelled | "skip", "empty" or None | an image without annotation: left out, or empty; None: as is usual |
    | digests | image id -> SHA-256 of its file | those that are known already |
    | warnings | list of str | what was left out and why, some a `Problem`; reading annotations may add to it |
    | asides | list of str | what was left out as the format means it (VOC's lists); said with the warnings |
    | least_side | float | a box is read as one without extent if a side of it is no longer than this, in pixels |
    """

    least_side = 0.0

    def __init__(
        self, kind: str, sources: Sequence[Path], root: Path, images: Iterable[ImageItem], warnings: Iterable[str] = ()
    ) -> None:
        self.kind = kind
        self.sources = tuple(sources)
        self.root = root
        self.images = tuple(sorted(images, key=lambda item: item.id))
        self.warnings = list(warnings)
        self.asides: list[str] = []
        self.split_seed = 0
        self.unlabelled: str | None = None
        self.digests: dict[str, str] = {}

    def remarks(self) -> list[str]:
        """``asides`` and ``warnings`` in a few lines: see `remarks.grouped`."""
        return grouped([*self.asides, *self.warnings])

    @property
    @abstractmethod
    def has_annotations(self) -> bool:
        """Whether ``annotations`` has an answer for at least one image."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Sorted names of the classes in the annotations; () where there are none. Reads all annotations."""

    @abstractmethod
    def split_names(self) -> tuple[str, ...]:
        """Sorted names of the splits that the data set itself defines; "all" is not among them."""

    @abstractmethod
    def annotations(self, image_id: str) -> Annotations:
        """Ground truth of one image.

        Raises:
            MissingInput: no such image, or it has no annotation.
            BadInput: its annotation cannot be read; the text names the file.
        """

    @abstractmethod
    def _split(self, name: str) -> tuple[str, ...]:
        """Image ids of a split out of ``split_names``."""

    def is_annotated(self, image_id: str) -> bool:
        """Whether the image comes with an annotation, be it one without objects."""
        return True

    def labelled(self, ids: Sequence[str]) -> tuple[str, ...]:
        """``ids`` without the images that are left out for want of an annotation; all of them if none has one."""
        if self.unlabelled == "empty":
            return tuple(ids)
        kept = tuple(image_id for image_id in ids if self.is_annotated(image_id))
        if kept and len(kept) < len(ids):
            without = sorted(set(ids) - set(kept))
            self.warnings.append(
                counted(
                    "{n} images have no annotation and are left out (spp propose --unlabelled empty counts them as "
                    "images without objects)",
                    without,
                )
            )
        return kept or tuple(ids)

    def split(self, name: str) -> tuple[str, ...]:
        """Sorted ids of the images in split ``name``; "all" is every image.

        Where the data set has no split of that name: ``valid`` is val, ``trainval`` is train and val, ``train2017`` is
        train. A data set without any of these is divided by the content of each image
        (`roles.division`). Where only test is missing, val or else train is taken for it, with a warning.

        Raises:
            MissingInput: no such split; the text names the splits there are.
        """
        if name == ALL:
            return tuple(item.id for item in self.images)
        names = self.split_names()
        if name in names:
            return self._split(name)
        if (role := asked_for(name)) and (found := self._of_role(role)) is not None:
            return found
        raise MissingInput(
            f"{self.root} has no split {name!r}: choose one of {', '.join((ALL, *names))}"
            f"{did_you_mean(name, (ALL, *names))}"
        )

    def has_roles(self) -> bool:
        """Whether a split of its own is train, val, test or trainval; without, it is divided by content."""
        return any(role_of(name) for name in self.split_names())

    def _of_role(self, role: str) -> tuple[str, ...] | None:
        own: dict[str, set[str]] = {}
        for name in self.split_names():
            if there := role_of(name):
                own.setdefault(there, set()).update(self._split(name))
        if not own:
            if not self.has_annotations:
                return None
            parts = parts_of(role)
            return tuple(item.id for item in self.images if division(self._digest(item), self.split_seed) in parts)
        if role in own:
            return tuple(sorted(own[role]))
        if role == TRAINVAL and (both := [own[part] for part in (TRAIN, VAL) if part in own]):
            return tuple(sorted(set().union(*both)))
        if role == TEST and (stand_in := next((part for part in (VAL, TRAIN) if part in own), None)):
            learnt = "which trainval holds too: for a score on images that were not learnt, train with --split train"
            if stand_in == TRAIN:
                learnt = "images that were learnt: keep some apart, in a split test, for a score that means something"
            self.warnings.append(f"{self.root} has no split test: {stand_in} is taken for it, {learnt}")
            return tuple(sorted(own[stand_in]))
        return None

    def _digest(self, item: ImageItem) -> str:
        """SHA-256 (hex) of the image's file."""
        if item.id not in self.digests:
            try:
                data = read_regular(item.path)
            except OSError as error:
                raise MissingInput(
                    f"{item.path} cannot be read: the data set has no splits and is divided by its images' contents"
                ) from error
            self.digests[item.id] = hashlib.sha256(data).hexdigest()
        return self.digests[item.id]

    def annotation_digest(self, ids: Iterable[str]) -> str:
        """SHA-256 (hex) of the annotations of the images ``ids``, so that a result can record its ground truth.

        It depends on the boxes, labels, difficult and crowd flags as they are used, not on the order of ``ids`` nor on
        spaces or unused fields in the files.

        Raises:
            MissingInput, BadInput: as ``annotations``.
        """
        digest = hashlib.sha256()
        for image_id in sorted(set(ids)):
            truth = self.annotations(image_id)
            record = [image_id, truth.boxes.tolist(), list(truth.labels), truth.difficult.tolist()]
            if truth.crowd.any():
                record.append(truth.crowd.tolist())
            digest.update(json.dumps(record).encode("ascii") + b"\n")
        return digest.hexdigest()


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for the candidate closest to ``name``, or "" when none is close."""
    close = difflib.get_close_matches(name, sorted(set(candidates)), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def siblings(path: Path) -> list[str]:
    """Names beside ``path``, which need not exist; none where they cannot be listed."""
    try:
        return [beside.name for beside in path.parent.iterdir()]
    except OSError:
        return []


def is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS  # noqa: PTH122 (called once a file of large folders)


def is_text(path: Path) -> bool:
    """Whether the path can be written as UTF-8, as ids and artefacts must be."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def find_images(folder: Path) -> tuple[list[Path], list[str]]:
    """Image files in ``folder`` and below, sorted, and warnings about folders that cannot be read.

    Hidden files and folders are passed over. Links to folders are followed, each real folder is entered once
    (and by its own name rather than by a link where both lead to it), so loops end.

    Raises:
        BadInput: it leads to the root of the file system, or there is no end of folders; see `Walk`.
    """
    found: list[Path] = []
    warnings: list[str] = []
    walk = Walk(folder)
    folders: list[Path] = [folder]
    links: list[Path] = []
    others: list[str] = []
    dangling: list[str] = []
    irregular: list[str] = []
    while folders or links:
        here = folders.pop() if folders else links.pop(0)
        if not walk.enters(here):
            continue
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            warnings.append(f"folder {here} cannot be read and was left out: {error.strerror}")
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _holds(entry.is_dir):
                (links if entry.is_symlink() else folders).append(Path(entry.path))
            elif is_image_name(entry.name):
                if _holds(entry.is_file):
                    found.append(Path(entry.path))
                elif os.path.exists(entry.path):  # noqa: PTH110 (called once a file of large folders)
                    irregular.append(entry.path)
                else:
                    dangling.append(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in OTHER_IMAGES:  # noqa: PTH122
                others.append(entry.path)
    return sorted(found), [*warnings, *_left_out(folder, others, dangling, irregular)]


def _holds(test: Callable[[], bool]) -> bool:
    """``test`` of an entry; no where a link leads to itself."""
    try:
        return test()
    except OSError:
        return False


def _left_out(folder: Path, others: Sequence[str], dangling: Sequence[str], irregular: Sequence[str]) -> list[Problem]:
    """One sentence each on images of other formats, links that lead nowhere, and named pipes and devices."""
    said = []
    if others:
        endings = " ".join(sorted({Path(path).suffix for path in others}))
        names = [Path(path).relative_to(folder).as_posix() for path in sorted(others)]
        what = "image is" if len(others) == 1 else "images are"
        text = counted(f"{{n}} {what} left out, in formats that are not read ({endings}; convert them to JPEG)", names)
        said.append(Problem("unread-image", text))
    if dangling:
        names = [Path(path).relative_to(folder).as_posix() for path in sorted(dangling)]
        what = "image is a link" if len(dangling) == 1 else "images are links"
        said.append(Problem("missing-image", counted(f"{{n}} {what} to something that is not there", names)))
    if irregular:
        names = [Path(path).relative_to(folder).as_posix() for path in sorted(irregular)]
        what = "image is left out, as it is" if len(irregular) == 1 else "images are left out, as they are"
        text = counted(f"{{n}} {what} no regular file but a named pipe, a device or the like", names)
        said.append(Problem("unread-image", text))
    return said
