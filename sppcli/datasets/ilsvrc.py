"""ILSVRC's folders, DET and CLS-LOC: Annotations, Data and ImageSets, each with the task and its train, val, test.

| what | where |
|---|---|
| images | ``Data/TASK/{train,val,test}/…``; an id is the path below ``Data/TASK`` without extension: ``val/ILSVRC2012_val_00000001`` |
| objects | ``Annotations/TASK/…xml``, VOC's elements with WordNet ids as names, 0-based inclusive corners |
| splits | train, val and test are these folders; a list in ``ImageSets/TASK`` (``val1.txt``, R-CNN's halves of val, say) is one more, but for the lists by class (``train_17``, ``train_pos_17``) |
| names | ``map_det.txt`` or ``map_clsloc.txt`` (id, number, name) or ``LOC_synset_mapping.txt`` (id, names), at the top or in ``devkit/data``; without it the ids are the names |
| blacklist | ``*_det_validation_blacklist.txt`` there: image (its number in val.txt, or its id) and WordNet id |

Corners are 0-based, unlike VOC's: xmin is 0 at the left edge, xmax the width less 1 at the right.

Source: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015, and its development kits.
"""  # noqa: E501 (table rows)

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sppcli.datasets.annotated import AnnotatedDataset, AnnotatedImage, LabelledBox, read_text
from sppcli.datasets.base import find_images
from sppcli.datasets.folder import named
from sppcli.datasets.format import Format, Place, Recognised
from sppcli.datasets.voc import read_record
from sppcli.errors import BadInput, MissingInput, UsageProblem

TASKS = ("DET", "CLS-LOC")
_SPLITS = ("train", "val", "test")
_BY_CLASS = re.compile(r"train_(pos_|neg_|part_)?\d+|(train|val|test)_\d+")
_TABLES = {"DET": ("map_det.txt",), "CLS-LOC": ("map_clsloc.txt", "LOC_synset_mapping.txt")}


def tasks_of(folder: Path) -> list[tuple[Path, str]]:
    """(root, task) of the ILSVRC data sets that ``folder`` is or holds; it may be ``Data/TASK`` of one."""
    if folder.name in TASKS and folder.parent.name in ("Annotations", "Data", "ImageSets"):
        return [(folder.parent.parent, folder.name)]
    for root in (folder, folder / "ILSVRC"):
        there = [task for task in TASKS if (root / "Annotations" / task).is_dir() and (root / "Data" / task).is_dir()]
        if there:
            return [(root, task) for task in there]
    return []


class IlsvrcDataset(AnnotatedDataset):
    """One task of an ILSVRC folder. Annotations are read when asked for.

    ``wordnet``: class name -> WordNet id; ``blacklist``: (image id, class) whose objects and detections do not count.
    """

    least_side = 1.0

    def __init__(self, root: Path, task: str, source: Path) -> None:
        """Find the images of ``task`` below ``root``.

        Raises:
            MissingInput: no image.
            BadInput: a list or table that cannot be read.
        """
        self._annotated = root / "Annotations" / task
        data = root / "Data" / task
        paths, warnings = find_images(data)
        if not paths:
            raise MissingInput(f"{data} holds no image: put train, val and test of ILSVRC {task} there")
        items = named(paths, data)
        self._paths = {item.id: item.path for item in items}
        found = self._annotated.rglob("*.xml")
        self._files = {path.relative_to(self._annotated).with_suffix("").as_posix(): path for path in found}
        splits: dict[str, list[str]] = {}
        for item in items:
            if (first := item.id.split("/")[0]) in _SPLITS and "/" in item.id:
                splits.setdefault(first, []).append(item.id)
        numbers: dict[str, str] = {}
        for path in sorted((root / "ImageSets" / task).glob("*.txt")):
            if _BY_CLASS.fullmatch(path.stem) or path.name.startswith("."):
                continue
            rows = _read_list(path, self._paths)
            if path.stem == "val":
                numbers = {number: image_id for image_id, number in rows if number}
            if path.stem not in _SPLITS:
                splits[path.stem] = [image_id for image_id, _ in rows]
        names = _names(root, task)
        self._named = names
        self.wordnet = {name: number for number, name in names.items()}
        super().__init__("ilsvrc", source, root, items, splits, tuple(names.values()), warnings)
        self.blacklist = _blacklist(root, numbers, self._paths, names) if task == "DET" else frozenset()

    def is_annotated(self, image_id: str) -> bool:
        return image_id in self._files

    @property
    def has_annotations(self) -> bool:
        return not self._files.keys().isdisjoint(self._paths)

    @property
    def classes(self) -> tuple[str, ...]:
        # With the table of names there is no need to read half a million files.
        return tuple(sorted(self.declared)) if self.declared else super().classes

    def record(self, image_id: str) -> AnnotatedImage:
        path = self._paths[image_id]
        if image_id not in self._files:
            return AnnotatedImage(image_id, path, None)
        record, warnings = read_record(self._files[image_id], image_id, path)
        self.warnings += [text for text in warnings if text not in self.warnings]
        return replace(record, objects=tuple(self._thing(thing) for thing in record.objects or ()))

    def written(self, image_id: str) -> AnnotatedImage:
        path = self._paths[image_id]
        if image_id not in self._files:
            return AnnotatedImage(image_id, path, None)
        record, _ = read_record(self._files[image_id], image_id, path, with_empty=True)
        return replace(record, objects=tuple(self._thing(thing) for thing in record.objects or ()))

    def _thing(self, thing: LabelledBox) -> LabelledBox:
        # Read as VOC's 1-based inclusive corners, which they are not: one more on each side.
        x0, y0, x1, y1 = thing.box
        return replace(thing, label=self._named.get(thing.label, thing.label), box=(x0 + 1, y0 + 1, x1 + 1, y1 + 1))


def _read_list(path: Path, known: Mapping[str, Path]) -> list[tuple[str, str]]:
    """(image id, number behind it or "") of each line that names an image that is there."""
    rows = []
    for line in read_text(path, "a list of images").split("\n"):
        fields = line.split()
        if not fields:
            continue
        tried = [f"{split}/{fields[0]}" for split in _SPLITS if path.stem.startswith(split)]
        tried += [f"{split}/{fields[0]}" for split in _SPLITS] + [fields[0]]
        if image_id := next((name for name in tried if name in known), None):
            rows.append((image_id, fields[1] if len(fields) > 1 else ""))
    return rows


def _beside(root: Path) -> list[Path]:
    return [root, root / "devkit" / "data", root.parent / "devkit" / "data", root.parent]


def _names(root: Path, task: str) -> dict[str, str]:
    """WordNet id -> name, in the order of the table; {} without one. A name that occurs twice gets its id behind it."""
    places = (folder / name for folder in _beside(root) for name in _TABLES[task])
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        return {}
    names: dict[str, str] = {}
    for number, line in enumerate(read_text(path, "WordNet ids and names").split("\n"), start=1):
        fields = line.split(maxsplit=1)
        if not fields:
            continue
        if len(fields) < 2 or not re.fullmatch(r"n\d{8}", fields[0]):
            raise BadInput(f"{path}, line {number}: {line.strip()!r} is not a WordNet id and a name")
        name = re.sub(r"^\d+\s+", "", fields[1]).split(",")[0].strip()
        names[fields[0]] = name if name not in names.values() else f"{name} ({fields[0]})"
    return names


def _blacklist(
    root: Path, numbers: dict[str, str], known: dict[str, Path], names: dict[str, str]
) -> frozenset[tuple[str, str]]:
    files = (path for folder in _beside(root)[:3] for path in sorted(folder.glob("*det_validation_blacklist.txt")))
    path = next(files, None)
    if path is None:
        return frozenset()
    pairs = set()
    for number, line in enumerate(read_text(path, "a blacklist").split("\n"), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2:
            raise BadInput(f"{path}, line {number}: {line.strip()!r} is not an image and a WordNet id")
        image_id = numbers.get(fields[0], f"val/{fields[0]}")
        if image_id in known:
            pairs.add((image_id, names.get(fields[1], fields[1])))
    return frozenset(pairs)


def _recognise(place: Place) -> Recognised | None:
    tasks = tasks_of(place.path) if place.is_folder else []
    if len(tasks) > 1:
        choices = " or ".join(str(root / "Data" / task) for root, task in tasks)
        raise UsageProblem(f"{place.path} holds two ILSVRC data sets: give {choices}")
    if not tasks:
        return None
    return Recognised(f"Annotations/{tasks[0][1]} and Data", lambda: IlsvrcDataset(*tasks[0], place.path))


FORMAT = Format("ilsvrc", "ILSVRC", "Annotations/DET and Data/DET, or CLS-LOC", _recognise)
