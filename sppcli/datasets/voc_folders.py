"""VOC's XML in any layout: beside the images, as LabelImg and Roboflow write it, in a sibling folder, in split folders.

| what | where |
|---|---|
| images | anywhere below the folder |
| annotations | any .xml below it with the root element <annotation>; a file belongs to the image of its own name, or else of its <filename>, whose path is most like its own: ``annotations/train/a.xml`` to ``images/train/a.jpg`` |
| splits | folders called train, val, valid, test … on the way to an image or its XML; lists of names in ``ImageSets/Main``, ``ImageSets`` or the folder itself (``train.txt``) |

A folder with JPEGImages and Annotations is read by `voc` instead.

Sources: the README of LabelImg; Roboflow's documentation of the format "Pascal VOC XML".
"""  # noqa: E501 (a table row)

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from sppcli.datasets import voc
from sppcli.datasets.annotated import AnnotatedDataset, AnnotatedImage, ids_of, read_text
from sppcli.datasets.base import find_images
from sppcli.datasets.format import Format, Place, Recognised
from sppcli.datasets.ilsvrc import tasks_of
from sppcli.datasets.matching import folders_alike, loose, same_names
from sppcli.datasets.remarks import Remark, counted
from sppcli.datasets.roles import role_of
from sppcli.datasets.voc_xml import ANNOTATION, named_file, read_record
from sppcli.errors import BadInput, MissingInput
from sppcli.structures import ImageItem


class VocFolders(AnnotatedDataset):
    """Images and VOC's XML, wherever they lie. Annotations are read when asked for."""

    least_side = 1.0

    def __init__(self, place: Place, files: Sequence[Path]) -> None:
        """Match the XML ``files`` with the images of ``place``.

        Raises:
            MissingInput: no image, or none that an XML file belongs to.
            BadInput: a list that is not text.
        """
        root = place.path
        paths, warnings = find_images(root)
        if not paths:
            raise MissingInput(f"{root} holds {len(files)} VOC annotations and no image: put the images beside them")
        matched, orphans, unclear = _match(place, files, paths)
        if not matched and unclear:
            raise MissingInput(f"{root}: several images fit {unclear[0]} alike; put its image beside it")
        if not matched:
            raise MissingInput(f"{root}: none of its {len(files)} VOC annotations has an image, {files[0]} for one")
        several = {image: found for image, found in matched.items() if len(found) > 1}
        if several:
            image, found = next(iter(several.items()))
            raise BadInput(f"{image} has two annotations, {found[0]} and {found[1]}: take one away")
        for kind, paths_left, text in (
            ("label-without-image", orphans, "{n} annotations have no image and were left out"),
            ("label-without-image", unclear, "{n} annotations fit several images alike and were left out"),
        ):
            if paths_left:
                shown = [path.relative_to(root).as_posix() for path in paths_left]
                warnings.append(Remark(kind, counted(text, shown)))
        ids = ids_of(paths, root)
        items = [ImageItem(name, path) for path, name in ids.items()]
        xml = {ids[image]: found[0] for image, found in matched.items()}
        splits = _splits(root, items, xml)
        super().__init__("voc", root, root, items, splits, (), warnings)
        self._xml = xml
        self._paths = {item.id: item.path for item in items}

    @property
    def has_annotations(self) -> bool:
        return bool(self._xml)

    def is_annotated(self, image_id: str) -> bool:
        return image_id in self._xml

    def record(self, image_id: str) -> AnnotatedImage:
        if image_id not in self._xml:
            return AnnotatedImage(image_id, self._paths[image_id], None)
        record, remarks = read_record(self._xml[image_id], image_id, self._paths[image_id])
        self.warnings += remarks
        return record

    def written(self, image_id: str) -> AnnotatedImage:
        if image_id not in self._xml:
            return self.record(image_id)
        return read_record(self._xml[image_id], image_id, self._paths[image_id], with_empty=True)[0]


def _match(
    place: Place, files: Sequence[Path], images: Sequence[Path]
) -> tuple[dict[Path, list[Path]], list[Path], list[Path]]:
    """Image -> its annotations; those without an image; those that several images fit alike."""
    by_name: dict[str, list[Path]] = {}
    for image in images:
        by_name.setdefault(loose(image.stem), []).append(image)
    matched: dict[Path, list[Path]] = {}
    orphans, unclear = [], []
    for path in files:
        candidates = by_name.get(loose(path.stem), [])
        named = named_file(place.head(path)) if len(candidates) != 1 else ""
        if not candidates and named:
            candidates = by_name.get(loose(PurePosixPath(named).stem), [])
        # a.jpg and a.png: the file says which of them it is of.
        candidates = [image for image in candidates if loose(image.name) == loose(named)] or candidates
        ranked = sorted(candidates, key=lambda image: _likeness(path, image), reverse=True)
        if not ranked:
            orphans.append(path)
        elif len(ranked) > 1 and _likeness(path, ranked[0]) == _likeness(path, ranked[1]):
            unclear.append(path)
        else:
            matched.setdefault(ranked[0], []).append(path)
    return matched, orphans, unclear


def _likeness(one: Path, other: Path) -> tuple[bool, int, bool]:
    """How much two files' folders have in common, and whether they have the same exact name."""
    return (*folders_alike(one, other), one.stem == other.stem)


def _splits(root: Path, items: Iterable[ImageItem], xml: Mapping[str, Path]) -> dict[str, list[str]]:
    items = list(items)
    listed = _lists(root, items)
    if listed:
        return listed
    splits: dict[str, list[str]] = {}
    for item in items:
        places = [item.path, *([xml[item.id]] if item.id in xml else [])]
        folders = (name for path in places for name in path.relative_to(root).parts[:-1])
        if split := next((name for name in folders if role_of(name)), None):
            splits.setdefault(split, []).append(item.id)
    return splits


def _lists(root: Path, items: Sequence[ImageItem]) -> dict[str, list[str]]:
    """Splits of the first folder that has lists of them, by the names of the images or their ids."""
    by_name = {item.path.name: item.id for item in items} | {item.path.stem: item.id for item in items}
    by_name |= {item.id: item.id for item in items}
    sets = voc.part_of(root, "ImageSets")
    for folder in (voc.part_of(sets, "Main"), sets, root):
        splits = {}
        for path in sorted(folder.glob("*.txt")):
            if role_of(path.stem) is None:
                continue
            lines = [line.strip() for line in read_text(path, "a list of images").split("\n") if line.strip()]
            names = {line: line.replace("\\", "/").rsplit("/", 1)[-1] for line in lines}
            known = same_names([*lines, *names.values()], by_name)
            found = [known.get(line) or known.get(names[line]) or known.get(line.split()[0]) for line in lines]
            splits[path.stem] = [by_name[name] for name in found if name]
        if splits := {name: ids for name, ids in splits.items() if ids}:
            return splits
    return {}


def _recognise(place: Place) -> Recognised | None:
    if found := voc.recognise(place):
        return found
    # ILSVRC's XML has the same elements, its corners another origin.
    if not place.is_folder or tasks_of(place.path):
        return None
    seen: set[Path] = set()
    # The first file of each folder tells; those of the folders that are VOC's are then looked at one by one.
    for path in place.ending(".xml"):
        if path.parent not in seen and ANNOTATION.search(place.head(path)):
            seen.add(path.parent)
    files = [path for path in place.ending(".xml") if path.parent in seen and ANNOTATION.search(place.head(path))]
    if not files:
        return None
    where = files[0].relative_to(place.path).as_posix()
    return Recognised(f"{len(files):,} XML files with <annotation>, {where} for one", lambda: VocFolders(place, files))


FORMAT = Format(
    "voc",
    "VOC",
    "JPEGImages with Annotations or ImageSets, or XML files with <annotation> and their images",
    _recognise,
)
