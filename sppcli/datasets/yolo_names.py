"""What is around YOLO's labels: class names and splits, in a .yaml or in plain lists.

A .yaml is read as texts alone: YAML 1.1 would make False of a class called no, and 7 of 007.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from sppcli.datasets.annotated import read_text
from sppcli.datasets.base import Problem, find_images, is_image_name
from sppcli.datasets.matching import Folders, spellings
from sppcli.datasets.roles import role_of
from sppcli.errors import BadInput
from sppcli.runtime.inputs import is_there, read_regular

NO_SPLITS = ("path", "names", "nc", "download", "channels", "kpt_shape", "flip_idx", "yaml_file")
"""Keys of a .yaml that are no split."""

YAML = (".yaml", ".yml")
_NAMES = re.compile(rb"""^(\xef\xbb\xbf)?\s*["']?names["']?\s*:""", re.MULTILINE)
_NONE = ("", "~", "null", "none")
_LARGEST = 4 << 20
"""Bytes of a .yaml: PyYAML reads some hundred kilobytes a second."""


def names_file(folder: Path) -> Path | None:
    """The file with the class names of ``folder``, if it is a YOLO data set: names, and labels where they belong."""
    if not folder.is_dir():
        return None
    found = _plain_names(folder)
    files = (path for path in folder.iterdir() if path.suffix.lower() in YAML and path.is_file())
    described = sorted((path for path in files if _has_names(path)), key=lambda path: (path.stem != "data", path.name))
    below = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.name.lower() == "labels"]
    has_labels = any(path.is_dir() for path in below)
    if has_labels or (described and _labels_beside(folder, ("", "*/", "*/*/"))):
        found = [*described, *found]
    elif found and not _labels_beside(folder, ("", "*/", "*/*/") if found[0].name == "classes.txt" else ("",)):
        return None
    return found[0] if found else None


def _plain_names(folder: Path) -> list[Path]:
    """Files of class names, one a line: the folder's own, or else those of the folders below, one for each part."""
    own = [folder / "classes.txt", *sorted(folder.glob("[lL]abels/classes.txt")), *sorted(folder.glob("*.names"))]
    if found := [path for path in own if path.is_file()]:
        return found
    return sorted((*folder.glob("*/classes.txt"), *folder.glob("*/[lL]abels/classes.txt")))


def agreed_names(source: Path, names: Path) -> dict[int, str]:
    """Class number -> name, of plain lists in parts of ``source``: the longest, where the others begin like it.

    Raises:
        BadInput: lists that number classes differently.
    """
    parts = _plain_names(source) if source.is_dir() else [names]
    if names.parent == source or len(parts) < 2 or names not in parts or parts[0].parent in (source, source / "labels"):
        return class_names({}, names)
    lists = {path: list(class_names({}, path).values()) for path in parts}
    longest = max(lists, key=lambda path: len(lists[path]))
    for path, listed in lists.items():
        if lists[longest][: len(listed)] != listed:
            raise BadInput(f"{path} and {longest} number the classes differently; make one list of classes for both")
    return dict(enumerate(lists[longest]))


def _labels_beside(folder: Path, below: Iterable[str]) -> bool:
    """Whether an image in ``folder``, or so far below it, has a text file of its name beside it."""
    paths = (path for pattern in below for path in folder.glob(f"{pattern}*"))
    return any(is_image_name(path.name) and path.with_suffix(".txt").is_file() for path in paths)


def _has_names(path: Path) -> bool:
    # Not parsed: this is asked of folders that may be anything. What is not UTF-8 is refused when it is read.
    try:
        data = read_regular(path, _LARGEST)
    except OSError:
        return False
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16", errors="ignore").encode()
    return bool(_NAMES.search(data))


class _Loader(yaml.BaseLoader):
    """Texts alone, and no aliases: a few lines of them can stand for more than any memory holds."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "it has an alias (*); write out what it stands for")
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> dict[str, Any]:
    """A .yaml with names, every value a text.

    Raises:
        BadInput: not YAML, not UTF-8, or without names.
    """
    text = read_text(path, "YAML", _LARGEST)
    try:
        content = yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise BadInput(f"{path} is not YAML that can be read: it nests too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise BadInput(f"{path} is not YAML: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(content, dict) or "names" not in content:
        raise BadInput(f"{path} has no names: list the classes there, as names: [cat, dog]")
    return content


def class_names(content: Mapping[str, Any], path: Path) -> dict[int, str]:
    """Class number -> name, of a .yaml's ``content``, or of the lines of ``path`` where that is empty.

    Raises:
        BadInput: not every class has a name of its own.
    """
    listed = content.get("names")
    if not content:
        lines = [line.strip() for line in read_text(path, "class names").split("\n")]
        while lines and not lines[-1]:
            lines.pop()
        names: dict[int, str] = dict(enumerate(lines))
    elif isinstance(listed, list) and all(isinstance(name, str) for name in listed):
        names = dict(enumerate(listed))
    elif isinstance(listed, dict) and all(
        isinstance(key, str) and re.fullmatch(r"\d{1,9}", key) and isinstance(name, str) for key, name in listed.items()
    ):
        names = {int(key): name for key, name in sorted(listed.items(), key=lambda pair: int(pair[0]))}
    else:
        raise BadInput(f"{path}: names is neither a list of names nor numbers with names")
    if not names or not all(names.values()) or len(set(names.values())) < len(names):
        raise BadInput(f"{path}: the class names are not {len(names)} different ones; number each class once")
    return names


def keypoint_numbers(content: Mapping[str, Any], path: Path) -> int:
    """How many numbers of key points stand behind each box of pose labels (``kpt_shape``); 0 of other labels.

    Raises:
        BadInput: a ``kpt_shape`` that is not two numbers.
    """
    shape = content.get("kpt_shape")
    if shape is None:
        return 0
    if not isinstance(shape, list) or len(shape) != 2 or not all(re.fullmatch(r"\d{1,4}", str(side)) for side in shape):
        raise BadInput(f"{path}: kpt_shape is {shape!r}, not a number of points and 2 or 3, the numbers of each")
    return int(shape[0]) * int(shape[1])


def listed_splits(
    content: Mapping[str, Any], folder: Path, names: Path
) -> tuple[dict[str, list[Path]], list[str], list[str]]:
    """Split -> its images, of the .yaml's keys; what is not there, in sentences; the names of images that are not."""
    splits: dict[str, list[Path]] = {}
    warnings: list[str] = []
    missing: list[str] = []
    for key, value in content.items():
        entries = value if isinstance(value, list) else [value]
        if key in NO_SPLITS or not all(isinstance(entry, str) for entry in entries):
            continue
        found: list[Path] = []
        for entry in entries:
            if entry.strip().lower() in _NONE:
                continue
            place = _place(entry, folder, names)
            if place is None:
                if key in ("train", "val", "test"):
                    warnings.append(Problem("missing-image", f"{names}: {key} is {entry!r}, which is not there"))
            elif place.is_dir():
                images, unreadable = find_images(place)
                found += images
                warnings += unreadable
            elif place.suffix == ".txt":
                listed, gone = _read_list(place, folder)
                found += listed
                missing += gone
                if gone:
                    text = f"{place} lists {len(gone)} images that are not there, the first: {gone[0]}"
                    if "\\" in gone[0]:
                        text += " (its backslashes are taken for slashes)"
                    warnings.append(Problem("missing-image", text))
            else:
                continue
            if place is not None:
                splits[key] = found
    return splits, warnings, missing


def _place(entry: str, folder: Path, names: Path) -> Path | None:
    """The file or folder that the .yaml calls ``entry``."""
    plain = entry.replace("\\", "/")
    # An export that many use says ../train/images of a folder beside the .yaml.
    tried = [folder / entry, names.parent / entry, folder / plain, names.parent / plain]
    tried += [folder / plain.removeprefix("../")]
    if plain.startswith("/") or re.match(r"[A-Za-z]:/", plain):
        tried += [folder / tail for tail in spellings(entry)]
    return next((Path(os.path.normpath(path)) for path in tried if is_there(path)), None)


def _read_list(path: Path, folder: Path) -> tuple[list[Path], list[str]]:
    found, gone = [], []
    beside = Folders()
    for line in read_text(path, "a list of images").split("\n"):
        name = line if is_image_name(line.rstrip()) and is_there(path.parent / line) else line.strip()
        if not name:
            continue
        tails = dict.fromkeys((name, *spellings(name)))
        tried = (base / tail for tail in tails for base in (path.parent, folder, folder / "images"))
        place = next((there for tail in tried if (there := beside.find(Path(os.path.normpath(tail))))), None)
        if place is None:
            gone.append(name)
        else:
            found.append(place)
    return found, gone


def folder_splits(folder: Path, paths: Iterable[Path]) -> dict[str, list[Path]]:
    """``images/NAME/…`` or ``NAME/images/…``: NAME is the split; also in ``NAME/…``, if called as splits are."""
    splits: dict[str, list[Path]] = {}
    for path in paths:
        parts = path.relative_to(folder).parts if path.is_relative_to(folder) else ()
        low = [part.lower() for part in parts[:2]]
        if len(parts) > 2 and "images" in low:
            splits.setdefault(parts[1] if low[0] == "images" else parts[0], []).append(path)
        elif len(parts) > 1 and role_of(parts[0]):
            splits.setdefault(parts[0], []).append(path)
    return splits
