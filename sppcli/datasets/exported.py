"""What the readers of annotation tools' exports have in common: a file says something of images, by name.

A reader parses one file into an `Export`, without looking at images. `ExportDataset` finds the images (`finding`),
scales boxes that are given in shares of the sides, sorts images into splits and says what was left out.

Every shape becomes the upright box around it, which is said once for each data set.

Datumaro, which reads most of these formats, is not used: it asks for each tool's exact folder layout, brings OpenCV,
pandas, scipy and a compiler's worth of other packages, and raises its own errors without the entry that is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from sppcli.datasets.annotated import (
    AnnotatedDataset,
    AnnotatedImage,
    Corners,
    LabelledBox,
    ids_of,
    memoised_size,
    refuse_shares,
)
from sppcli.datasets.at_hand import is_sideways
from sppcli.datasets.base import find_images
from sppcli.datasets.finding import ImageFinder
from sppcli.datasets.format import Format, Place, Recognised
from sppcli.datasets.remarks import Problem
from sppcli.datasets.roles import role_of
from sppcli.errors import MissingInput
from sppcli.structures import ImageItem

UNNAMED = "object"
"""The class of every object, where a file names none at all."""

_NAMED_ONE_BY_ONE = 10


@dataclass(frozen=True)
class Entry:
    """What an export says of one image.

    ``names``: of the image, as written; further ones are tried where the first is not found. ``shares``: boxes are in
    shares of the image's width and height rather than pixels. ``size``: width, height as stated. ``splits``: the
    format's own field for them; where it has none, folders tell. ``labelled``: whether there is an annotation at all,
    in formats that take an image without one for an image without objects.
    """

    names: tuple[str, ...]
    objects: tuple[LabelledBox, ...]
    shares: bool = False
    size: tuple[int, int] | None = None
    splits: tuple[str, ...] = ()
    labelled: bool = True


@dataclass
class Export:
    """One file, read. ``enclosed``: shapes that became the box around them, and ``left_out``: what became no object,
    both by kind; ``classes``: in the file's order, those without objects too; ``notes``: whatever else is to be said;
    ``hint``: what to do where none of the images is there.
    """

    path: Path
    entries: list[Entry] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    enclosed: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    hint: str = ""


class ExportDataset(AnnotatedDataset):
    """Exports of one kind and the images that they name."""

    def __init__(self, kind: str, source: Path, exports: Sequence[Export], root: Path | None = None) -> None:
        """Find the images of ``exports`` in the folder of ``source``, or below ``root``.

        Raises:
            MissingInput: none of the images is there.
        """
        root = root or (source if source.is_dir() else source.parent)
        images, unreadable = find_images(root)
        warnings: list[str] = list(unreadable)
        finder = ImageFinder(images)
        found: dict[Path, Entry] = {}
        splits: dict[str, list[Path]] = {}
        missing: list[tuple[Path, str, int]] = []
        several: list[tuple[Path, str, int]] = []
        for export in exports:
            here: dict[Path, Entry] = {}
            for entry in export.entries:
                places = _places(finder, entry, export.path)
                if len(places) != 1:
                    (several if places else missing).append((export.path, entry.names[0], len(entry.objects)))
                    continue
                (place,) = places
                here[place] = _both(here[place], entry) if place in here else entry
                for split in entry.splits or split_of_folder(place, root) or split_of_folder(export.path, root):
                    splits.setdefault(split, []).append(place)
            for place, entry in here.items():
                if found.setdefault(place, entry).objects != entry.objects:
                    warnings.append(
                        f"{export.path} and an earlier file differ in image {place.name}: the earlier is used"
                    )
        unlisted = [path for path in images if path not in found]
        if not found:
            raise MissingInput(_nothing(exports, missing, several, len(images), root))
        for export in exports:
            refuse_shares(export.path, [thing.box for one in export.entries if not one.shares for thing in one.objects])
        if source.is_dir():
            for path in unlisted:
                for split in split_of_folder(path, root):
                    splits.setdefault(split, []).append(path)
        warnings += [*_said(exports), *_lost(missing, "not there"), *_lost(several, "there more than once")]
        if unlisted:
            warnings.append(
                f"without an entry in the annotations: {len(unlisted):,} of {amount(len(images), 'image')} in {root}, "
                f"{_below(unlisted[0], root)} for one; "
                + ("they count as not annotated" if source.is_dir() else "they were left out")
            )
        paths = [*found, *(unlisted if source.is_dir() else ())]
        ids = ids_of(paths, root)
        self._entries = {ids[path]: entry for path, entry in found.items()}
        self._paths = {ids[path]: path for path in paths}
        self._size = memoised_size()
        classes = [name for export in exports for name in export.classes]
        seen = sorted({thing.label for entry in found.values() for thing in entry.objects})
        items = [ImageItem(name, path) for name, path in self._paths.items()]
        members = {name: [ids[place] for place in places if place in ids] for name, places in splits.items()}
        super().__init__(kind, source, root, items, members, list(dict.fromkeys([*classes, *seen])), warnings)

    @property
    def has_annotations(self) -> bool:
        return True

    def is_annotated(self, image_id: str) -> bool:
        entry = self._entries.get(image_id)
        return entry is not None and (entry.labelled or self.unlabelled != "skip")

    @property
    def classes(self) -> tuple[str, ...]:
        # Shares keep their extent in pixels: no image is opened for this.
        things = (thing for entry in self._entries.values() for thing in entry.objects)
        return tuple(sorted({thing.label for thing in things if thing.has_extent}))

    def record(self, image_id: str) -> AnnotatedImage:
        path, entry = self._paths[image_id], self._entries.get(image_id)
        if entry is None:
            return AnnotatedImage(image_id, path, None)
        if not entry.shares:
            return AnnotatedImage(image_id, path, entry.objects, entry.size)
        size = self._size(path)
        if entry.size == size[::-1] and is_sideways(path):
            size = entry.size  # shares of the camera's frame: `annotated.used` turns them
        objects = tuple(replace(thing, box=in_pixels(thing.box, size)) for thing in entry.objects)
        return AnnotatedImage(image_id, path, objects, size)


def in_pixels(box: Corners, size: tuple[int, int]) -> Corners:
    """Shares of the sides in pixels, to a millionth: whole pixels written with six or more digits come back whole."""
    width, height = size
    x0, y0, x1, y1 = (round(share * side, 6) + 0.0 for share, side in zip(box, (width, height) * 2, strict=True))
    return x0, y0, x1, y1


def split_of_folder(path: Path, root: Path) -> tuple[str, ...]:
    """The first folder between ``root`` and ``path`` that is called as splits are (`roles`), if there is one."""
    return _split_of(path.parent, root)


@lru_cache(maxsize=4096)
def _split_of(folder: Path, root: Path) -> tuple[str, ...]:
    parts = folder.relative_to(root).parts if folder.is_relative_to(root) else ()
    return next(((part,) for part in parts if role_of(part)), ())


def _both(one: Entry, other: Entry) -> Entry:
    """Two entries of one file for the same image: the objects of both, those that both have once."""
    more = [thing for thing in other.objects if thing not in one.objects]
    return replace(one, objects=(*one.objects, *more), splits=(*one.splits, *other.splits))


def _places(finder: ImageFinder, entry: Entry, beside: Path) -> list[Path]:
    for name in entry.names:
        if places := finder.find(name, beside, entry.splits):
            return places
    return []


def _said(exports: Sequence[Export]) -> Iterator[str]:
    """What the files say that is not kept as it is, one sentence for each kind."""
    enclosed: Counter[str] = sum((export.enclosed for export in exports), Counter())
    left_out: Counter[str] = sum((export.left_out for export in exports), Counter())
    if enclosed:
        yield f"read as the upright boxes around them: {_counted(enclosed)}"
    if left_out:
        yield f"left out, since they are no objects with a class and a box: {_counted(left_out)}"
    for export in exports:
        yield from export.notes


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(amount(count, kind.removesuffix("s")) for kind, count in sorted(counts.items()))


def amount(count: int, what: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _lost(entries: Sequence[tuple[Path, str, int]], what: str) -> Iterator[Problem]:
    for path, name, _ in entries[:_NAMED_ONE_BY_ONE]:
        yield Problem("missing-image", f"{path} names image {name!r}, which is {what}")
    if (more := len(entries) - _NAMED_ONE_BY_ONE) > 0:
        yield Problem("missing-image", f"{more:,} more images that the annotations name are {what}")
        objects = sum(count for _, _, count in entries)
        shown = f"{amount(objects, 'object')} of {amount(len(entries), 'image')}"
        yield Problem("missing-image", f"left out, since the images are {what}: {shown}")


def _nothing(
    exports: Sequence[Export],
    missing: Sequence[tuple[Path, str, int]],
    several: Sequence[tuple[Path, str, int]],
    images: int,
    root: Path,
) -> str:
    if several:
        path, name, _ = several[0]
        return f"{path}: image {name!r} is in several folders of {root}; give the folder that is meant"
    if missing:
        path, name, _ = missing[0]
        return (
            f"{path}: none of its {len(missing)} images is there, {name!r} for one; "
            f"{root} and the folders in it hold {images} images, none of that name"
            + next((f"; {export.hint}" for export in exports if export.path == path and export.hint), "")
        )
    return f"{exports[0].path} lists no image: nothing to work on"


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def export_format(
    name: str,
    title: str,
    marks: str,
    pick: Callable[[Place], Sequence[Path]],
    read: Callable[[Place, Sequence[Path]], Sequence[Export]],
) -> Format:
    """The `Format` of an export. ``pick``: the files of a place that are of it; ``read``: what they say."""

    def recognise(place: Place) -> Recognised | None:
        files = pick(place)
        if not files:
            return None
        first = _below(files[0], place.path) if place.is_folder else place.path.name
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        return Recognised(f"{first}{more}", lambda: ExportDataset(name, place.path, read(place, files)))

    return Format(name, title, marks, recognise)


def by_head(place: Place, ending: str, fits: Callable[[str], bool]) -> list[Path]:
    """The files of ``place`` with this ending whose beginning ``fits``."""
    return [path for path in place.ending(ending) if fits(place.head(path))]


def by_content(place: Place, fits: Callable[[Any], bool], broken: Callable[[str], bool]) -> list[Path]:
    """The JSON lists of ``place`` whose content ``fits``, and those that are no JSON and begin as ``broken`` says."""

    def is_one(path: Path) -> bool:
        head = place.head(path)
        if not head.lstrip().startswith("["):
            return False
        content = place.json(path)
        return broken(head) if content is None else fits(content)

    return [path for path in place.ending(".json") if is_one(path)]


def each(read: Callable[[Path], Export]) -> Callable[[Place, Sequence[Path]], list[Export]]:
    """A reader of one file as one of several."""
    return lambda _, files: [read(path) for path in files]
