"""Image folders for classification: one sub-folder per class, flat or under train/, val/ and test/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sppcli.datasets.base import did_you_mean, find_images, is_image_name, is_text, siblings
from sppcli.datasets.roles import asked_for
from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.structures import IntArray

SPLITS = ("train", "val", "test")
"""Sub-folders that are splits rather than classes, in this order."""


@dataclass(frozen=True)
class LabelledImages:
    """Images with one class each.

    ``paths``: absolute, sorted within a class, class after class; ``labels`` (N,) int64: index into ``classes``,
    parallel to ``paths``. ``warnings``: what was left out and why.
    """

    root: Path
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: IntArray
    warnings: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.labels):
            raise ValueError("paths and labels differ in length")

    def __len__(self) -> int:
        return len(self.paths)


def splits_of(root: Path) -> tuple[str, ...]:
    """Those of train, val and test that are splits of ``root``; () for a flat folder of class folders.

    A folder train/ beside others is a split only if it holds folders: a data set may well have trains as a class.

    Raises:
        MissingInput: no such folder.
        BadInput: it is not a folder, or cannot be read.
    """
    folders = _folders(root)
    found = _split_folders(folders)
    if len(found) < len(folders):
        found = {name: folder for name, folder in found.items() if _folders(folder)}
    return tuple(name for name in SPLITS if name in found)


def _split_folders(folders: Sequence[Path]) -> dict[str, Path]:
    """train, val and test -> the folder of that name, or else of another name for it: valid/, training/."""
    found: dict[str, Path] = {}
    for path in folders:
        name = asked_for(path.name)
        if name in SPLITS and (name not in found or path.name == name):
            found[name] = path
    return found


def split_folder(root: Path, split: str) -> Path:
    """The folder of one of `splits_of`."""
    return _split_folders(_folders(root))[split]


def _in_no_split(root: Path) -> list[str]:
    """Warnings about folders beside train/, val/ and test/ that hold images."""
    folders = _folders(root)
    used = set(_split_folders(folders).values())
    said = []
    for path in folders:
        if path not in used and (images := find_images(path)[0]):
            said.append(f"{path} is no train, val or test folder; its {len(images)} images were left out")
    return said


def open_labelled(root: Path, split: str | None = None, classes: Sequence[str] | None = None) -> LabelledImages:
    """Read the class folders of ``root``, or of its folder ``split``; folders inside them are searched too.

    Args:
        root: the data set.
        split: the sub-folder that holds the class folders; None where ``root`` itself does.
        classes: the order of classes to use (a trained network's); fewer folders than these are fine. Default: the
            folders with images in them, sorted by name.

    Raises:
        MissingInput: no such folder or split, no class folder, or no image in any.
        BadInput: not a folder, one that cannot be read, or a class folder that is not among ``classes``.
    """
    folder = root.absolute()
    warnings: list[str] = []
    if split is not None:
        parts = _split_folders(_folders(folder)) if folder.is_dir() else {}
        warnings += _in_no_split(folder) if folder.is_dir() else []
        split = split if (folder / split).is_dir() else asked_for(split) or split
        if split in parts:
            split = parts[split].name
        elif folder.is_dir() and not (folder / split).is_dir():
            names = splits_of(folder)
            there = f"it has {', '.join(names)}" if names else "it has none of train, val and test"
            raise MissingInput(f"{root} has no folder {split!r}: {there}{did_you_mean(split, names)}")
        folder = folder / split
    folders = _folders(folder)
    beside = sorted(path for path in _entries(folder) if is_image_name(path.name) and path.is_file())
    if not folders:
        held = f" ({_count(beside)} in it directly)" if beside else ""
        raise MissingInput(f"{folder} has no class folders{held}: put the images of each class in a folder of its own")
    if beside:
        warnings.append(
            f"{folder}: {_count(beside)} beside the class folders and left out, the first: {beside[0].name}"
        )
    found: dict[str, list[Path]] = {}
    for path in folders:
        if classes is not None and path.name not in classes:
            raise BadInput(
                f"{path} is not one of the {len(classes)} classes{did_you_mean(path.name, classes)}; "
                "rename the folder or take it out"
            )
        images, unreadable = find_images(path)
        warnings += unreadable
        named = [image for image in images if is_text(image)]
        if len(named) < len(images):
            warnings.append(f"{path}: {len(images) - len(named)} images left out, their names are not UTF-8")
        if named:
            found[path.name] = named
        else:
            warnings.append(f"class folder {path} holds no image and was left out")
    if not found:
        raise MissingInput(f"no class folder of {folder} holds an image: {folders[0].name} is the first of them")
    order = tuple(found) if classes is None else tuple(classes)
    paths = [path for name in order for path in found.get(name, [])]
    counts = [len(found.get(name, [])) for name in order]
    labels = np.repeat(np.arange(len(order), dtype=np.int64), counts)
    return LabelledImages(folder, order, tuple(paths), labels, tuple(warnings))


def divide(images: LabelledImages, share: float, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """(rest, held out): ``share`` of each class at random is held out, rounded, but at least 1 and not all of it.

    A class of one image stays in the rest. The same images, share and seed give the same division; both keep the order
    of ``images`` and all its classes.

    Raises:
        UsageProblem: a share that is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise UsageProblem(f"a share of {share:g} of the images cannot be held out: choose one between 0 and 1")
    rng = np.random.default_rng(seed)
    held = np.zeros(len(images), dtype=np.bool_)
    for label in range(len(images.classes)):
        rows = np.flatnonzero(images.labels == label)
        if len(rows) > 1:
            count = min(max(round(share * len(rows)), 1), len(rows) - 1)
            held[rng.choice(rows, count, replace=False)] = True
    return _take(images, np.flatnonzero(~held)), _take(images, np.flatnonzero(held))


def _take(images: LabelledImages, rows: IntArray) -> LabelledImages:
    return replace(images, paths=tuple(images.paths[row] for row in rows), labels=images.labels[rows])


def _count(images: Sequence[Path]) -> str:
    return "1 image lies" if len(images) == 1 else f"{len(images)} images lie"


def _folders(root: Path) -> list[Path]:
    """Sub-folders of ``root`` that are not hidden, sorted by name."""
    return sorted(path for path in _entries(root) if path.is_dir())


def _entries(root: Path) -> list[Path]:
    """What is in ``root`` and not hidden, its names UTF-8."""
    if not root.exists():
        raise MissingInput(f"there is no folder {root}{did_you_mean(root.name, siblings(root))}")
    if not root.is_dir():
        raise BadInput(f"{root} is a file: give a folder of class folders")
    try:
        return [path for path in root.iterdir() if not path.name.startswith(".") and is_text(path)]
    except PermissionError:
        raise BadInput(f"{root} cannot be read: permission is denied") from None
