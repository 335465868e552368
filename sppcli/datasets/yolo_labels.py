"""YOLO's label files: which belongs to which image, and what a line of one says."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sppcli.datasets.annotated import Corners, LabelledBox, read_text
from sppcli.datasets.matching import Folders
from sppcli.datasets.remarks import Remark, counted
from sppcli.errors import BadInput
from sppcli.runtime.inputs import open_regular

_LINE = re.compile(rb"\s*\d+(\s+[-+.\deE]+){4,}\s*(\n|\r|$)")
_OTHERS = ("classes.txt", "readme.txt", "notes.txt", "labels.txt")


def label_path(image: Path) -> Path:
    """Where the labels of an image belong: ``labels`` for the last folder called ``images``, else beside it."""
    return next(_places(image, image.parent.parts))


def _places(image: Path, folders: Sequence[str]) -> Iterator[Path]:
    """Where the labels of an image are looked for, in turn. ``folders``: those of its folders that may be exchanged."""
    parts = image.parts
    offset = len(parts) - 1 - len(folders)
    for at in reversed(range(len(folders))):
        if folders[at].lower() == "images":
            for name in ("labels", "Labels", "LABELS"):
                yield Path(*parts[: offset + at], name, *parts[offset + at + 1 :]).with_suffix(".txt")
    yield image.with_suffix(".txt")


class LabelFiles:
    """The label file of each image that has one. ``remarks``: label files that belong to no image."""

    def __init__(self, images: Iterable[Path], root: Path, missing: Iterable[str] = ()) -> None:
        """Look for the labels of ``images``: a folder called images counts below ``root``, not above it.

        Labels of ``missing`` images, which are reported elsewhere, are no remark.
        """
        images = list(images)
        places = {image: list(_places(image, _below(image, root))) for image in images}
        self._of: dict[Path, Path] = {}
        for image, tried in places.items():
            if (found := next((path for path in tried if path.is_file()), None)) is not None:
                self._of[image] = found
        taken = set(self._of.values())
        folders = Folders()
        loosely: dict[Path, list[Path]] = {}
        for image in images:
            if image not in self._of:
                spelled = (folders.find(path) for path in places[image])
                if (found := next((path for path in spelled if path and path not in taken), None)) is not None:
                    loosely.setdefault(found, []).append(image)
        self._of |= {found[0]: label for label, found in loosely.items() if len(found) == 1}
        label_folders = {path.parent for tried in places.values() for path in tried}
        gone = {PurePosixPath(name.replace("\\", "/")).stem for name in missing}
        self.remarks = _orphans(label_folders, set(self._of.values()), root, gone)

    def get(self, image: Path) -> Path | None:
        return self._of.get(image)

    def __len__(self) -> int:
        return len(self._of)


def _below(image: Path, root: Path) -> Sequence[str]:
    """The folders of ``image`` below ``root``; all of them where it lies elsewhere."""
    return image.relative_to(root).parts[:-1] if image.is_relative_to(root) else image.parts[1:-1]


def _orphans(folders: Iterable[Path], used: set[Path], root: Path, gone: set[str]) -> list[Remark]:
    left = []
    for folder in sorted(folders):
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".txt" and path.name[0] != ".")
        except OSError:
            continue
        paths = [path for path in paths if path not in used and path.stem not in gone]
        left += [path for path in paths if path.name.lower() not in _OTHERS and _is_label(path)]
    if not left:
        return []
    names = [path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path in left]
    what = "label file belongs" if len(left) == 1 else "label files belong"
    return [Remark("label-without-image", counted(f"{{n}} {what} to no image", names))]


def _is_label(path: Path) -> bool:
    try:
        with open_regular(path) as stream:
            return bool(_LINE.match(stream.read(4096)))
    except OSError:
        return False


@dataclass(frozen=True)
class LabelFormat:
    """``names``: class number -> name, of the file ``source``; ``keypoints``: numbers behind the box of pose labels."""

    names: Mapping[int, str]
    source: Path
    keypoints: int = 0

    def read(self, path: Path, size: tuple[int, int]) -> tuple[list[LabelledBox], list[str]]:
        """The objects of a label file of an image of ``size`` (width, height), and what is odd.

        Raises:
            BadInput: a line that is no label; the text names file and line.
        """
        objects: list[LabelledBox] = []
        seen: set[LabelledBox] = set()
        remarks: list[str] = []
        for number, line in enumerate(read_text(path, "YOLO labels").split("\n"), start=1):
            if not line.strip():
                continue
            thing = self._object(line, f"{path}, line {number}", size)
            if thing in seen:
                text = f"{path}, line {number} is equal to a line above it: two objects; a detector can find one"
                many = "{n} lines of label files are equal to one above: two objects; a detector can find one"
                remarks.append(Remark("duplicate", text, many, f"{path.name} line {number}"))
            seen.add(thing)
            objects.append(thing)
        return objects, remarks

    def _object(self, line: str, where: str, size: tuple[int, int]) -> LabelledBox:
        fields = line.split()
        values = [_number(field) for field in fields]
        index, shares = values[0], values[1:]
        if self.keypoints:
            if len(shares) == 4 + self.keypoints:
                shares = shares[:4]
            elif len(shares) != 4:
                raise BadInput(
                    f"{where} has {len(shares)} numbers behind the class: pose labels with the kpt_shape of "
                    f"{self.source} have {4 + self.keypoints}"
                )
        polygon = len(shares) >= 6 and len(shares) % 2 == 0
        if any(value is None for value in (index, *shares)) or not (len(shares) == 4 or polygon):
            raise BadInput(f"{where}: {line.strip()!r} is not a class number and cx cy w h")
        if index not in self.names:
            raise BadInput(f"{where}: there is no class {fields[0]} in {self.source}; it has {len(self.names)}")
        known = [value for value in shares if value is not None]
        if max(map(abs, known)) > 1.5:
            raise BadInput(f"{where}: {line.strip()!r} is not in shares of the image's width and height, from 0 to 1")
        box = _bounds(known, size) if polygon else _corners(known, size)
        return LabelledBox(self.names[int(index or 0)], box)


def _corners(shares: Sequence[float], size: tuple[int, int]) -> Corners:
    cx, cy, w, h = shares
    return _pixels((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), size)


def _bounds(shares: Sequence[float], size: tuple[int, int]) -> Corners:
    xs, ys = shares[::2], shares[1::2]
    return _pixels((min(xs), min(ys), max(xs), max(ys)), size)


def _pixels(shares: Corners, size: tuple[int, int]) -> Corners:
    width, height = size
    # + 0.0: no negative zero
    x0, y0, x1, y1 = (round(share * side, 6) + 0.0 for share, side in zip(shares, (width, height) * 2, strict=True))
    return x0, y0, x1, y1


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
