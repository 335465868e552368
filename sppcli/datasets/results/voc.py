"""VOC result files: ``comp4_det_<split>_<class>.txt``, the format that the devkit scores.

A line is ``<image id> <score> <xmin> <ymin> <xmax> <ymax>``, 1-based inclusive pixels, fractions allowed.

Source: Everingham et al., the VOC2007 development kit, section "Detection task: submission of results".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from sppcli.datasets.annotated import read_text
from sppcli.datasets.base import did_you_mean, is_image_name, siblings
from sppcli.datasets.json_values import LARGEST
from sppcli.datasets.voc import from_voc, to_voc
from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.runtime.files import inside, replacing
from sppcli.structures import Detections, as_boxes

_COMPETITIONS = ("comp4", "comp3")  # with and without outside training data; the first is taken where both are there
_LARGEST_SCORE = 1e30  # within float32
_LONGEST_FILE_NAME = 255  # bytes, on every file system in use


def result_classes(folder: Path, split: str) -> tuple[str, ...]:
    """Sorted names of the classes that have a result file of ``split`` in ``folder``.

    Raises:
        MissingInput: no such folder, or no result file of that split; the text says what is there.
    """
    return tuple(_result_files(folder, split))


def read_results(
    folder: Path, split: str, *, image_ids: Iterable[str], classes: Sequence[str] | None = None
) -> Detections:
    """Detections of all result files of ``split`` in ``folder``.

    Rows stand class by class, highest score first and in file order where scores are equal as written: the
    order in which the devkit counts them, so a stable sort of the float32 scores keeps it.

    Args:
        folder: where the files lie; ``comp3`` files are read where there are no ``comp4`` files.
        split: the ``<split>`` of the file names.
        image_ids: the images that a line may name, in the order that ``Detections.image_ids`` shall have.
        classes: read these, in this order; one without a file has no detections. Default: all with a file, sorted.

    Raises:
        MissingInput: no such folder, or no result file of that split; the text says what is there.
        BadInput: a line that is malformed or names an unknown image; the text names file and line.
    """
    files = _result_files(folder, split)
    names = tuple(files) if classes is None else tuple(classes)
    index = {image_id: position for position, image_id in enumerate(image_ids)}
    image, label, scores, corners = [], [], [], []
    for position, name in enumerate(names):
        rows = _read_file(files[name], index) if name in files else []
        rows.sort(key=lambda row: -row[1])  # stable
        for image_index, score, box in rows:
            image.append(image_index)
            label.append(position)
            scores.append(score)
            corners.append(box)
    return Detections(
        image_ids=tuple(index),
        classes=names,
        image=np.array(image, dtype=np.int64),
        label=np.array(label, dtype=np.int64),
        boxes=from_voc(corners) if corners else as_boxes([]),
        scores=np.array(scores, dtype=np.float32),
    )


def check_names(split: str, classes: Iterable[str], image_ids: Iterable[str], competition: str = "comp4") -> None:
    """Refuse what cannot be read back from VOC result files.

    Raises:
        UsageProblem: a class, split or image id that the format cannot hold.
    """
    for name in (split, *classes):
        too_long = len(_file_name(competition, split, name).encode()) > _LONGEST_FILE_NAME
        if not name or "/" in name or "\0" in name or os.sep in name or too_long:
            raise UsageProblem(f"{name!r} cannot stand in the name of a VOC result file: rename the class or split")
    for image_id in image_ids:
        # What ends a line for Python's text files, and the byte order mark, which is none of the first line.
        broken = {"\n", "\r"}.intersection(image_id) or image_id.startswith("\ufeff")
        if image_id != image_id.strip() or broken or not image_id:
            raise UsageProblem(f"image id {image_id!r} cannot stand in a VOC result file: rename the image")


def _file_name(competition: str, split: str, name: str) -> str:
    return f"{competition}_det_{split}_{name}.txt"


def write_results(folder: Path, detections: Detections, split: str, *, competition: str = "comp4") -> list[Path]:
    """Write one file for each of ``detections.classes`` (empty where it has none) and return their paths.

    Lines keep the order of the rows. Scores have 6 decimals as in the release, so closer ones become ties;
    coordinates have up to 6, so reading them back gives the same boxes to 1e-6 pixels.

    Args:
        folder: made where it is not there; files of the same name are replaced, all or, on a full disk, none.

    Raises:
        UsageProblem: a class, split or image id that the format cannot hold.
    """
    check_names(split, detections.classes, detections.image_ids, competition)
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[list[str]] = [[] for _ in detections.classes]
    for image, label, score, corners in zip(
        detections.image.tolist(),
        detections.label.tolist(),
        detections.scores.tolist(),
        to_voc(detections.boxes).tolist(),
        strict=True,
    ):
        box = " ".join(_decimal(value) for value in corners)
        lines[label].append(f"{detections.image_ids[image]} {score:.6f} {box}\n")
    paths = [inside(folder, _file_name(competition, split, name)) for name in detections.classes]
    with ExitStack() as stack:
        for path, rows in zip(paths, lines, strict=True):
            text = "".join(rows)
            temporary = stack.enter_context(replacing(path, needed=len(text)))
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return paths


def _decimal(value: float) -> str:
    """Up to 6 decimals, none where the value is whole."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _result_files(folder: Path, split: str) -> dict[str, Path]:
    """Class -> file, sorted by class."""
    if folder.is_file():
        raise UsageProblem(
            f"{folder} is a file: with --coco it is scored as COCO's results, and VOC result files are given by their "
            "folder"
        )
    if not folder.is_dir():
        raise MissingInput(f"there is no folder of result files {folder}{did_you_mean(folder.name, siblings(folder))}")
    names = sorted(path.name for path in folder.iterdir() if path.suffix == ".txt" and path.is_file())
    for competition in _COMPETITIONS:
        prefix = f"{competition}_det_{split}_"
        of_split = {name[len(prefix) : -len(".txt")]: folder / name for name in names if name.startswith(prefix)}
        of_split.pop("", None)
        if of_split:
            return dict(sorted(of_split.items()))
    others = [name for name in names if re.match(r"comp[34]_det_.+_.+\.txt$", name)]
    found = f"but of others, such as {_examples(others)}" if others else "nor of any other split"
    raise MissingInput(
        f"{folder} has no result file of split {split!r} (comp4_det_{split}_<class>.txt), {found}: "
        "name the split or folder that has them"
    )


def _examples(names: Sequence[str]) -> str:
    """One file name for each different beginning, as class and split cannot be told apart for certain."""
    firsts = {name.split("_")[2]: name for name in reversed(names)}
    shown = [firsts[key] for key in sorted(firsts)]
    return ", ".join(shown[:5]) + (" …" if len(shown) > 5 else "")


def _read_file(path: Path, index: dict[str, int]) -> list[tuple[int, float, list[float]]]:
    """(image index, score, VOC corners) of each line."""
    lines = read_text(path, "a result file").split("\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        fields = line.rsplit(maxsplit=5)  # from the right: an id may hold spaces
        if not fields:
            continue
        where = f"{path}, line {number}"
        if len(fields) != 6:
            raise BadInput(f"{where}: expected <image id> <score> <xmin> <ymin> <xmax> <ymax>, found {line.strip()!r}")
        try:
            score, *corners = (float(value) for value in fields[1:])
        except ValueError as error:
            raise BadInput(f"{where}: {error}") from error
        if not abs(score) <= _LARGEST_SCORE or not all(abs(value) <= LARGEST for value in corners):
            raise BadInput(
                f"{where}: a score or coordinate is not a finite number, or larger than any image, in {line.strip()!r}"
            )
        # Decimals cut off at different places may turn a box of no extent around by less than they hold.
        if min(corners[2] - corners[0], corners[3] - corners[1]) < -1 - 1e-5:
            raise BadInput(f"{where}: the box ends before it starts in {line.strip()!r}")
        corners[2:] = [max(corners[2], corners[0] - 1), max(corners[3], corners[1] - 1)]
        image_id = fields[0].strip()
        if image_id not in index:
            raise BadInput(f"{where}: image {image_id!r} is not among the images evaluated{_hint(image_id, index)}")
        rows.append((index[image_id], score, corners))
    return rows


def _hint(image_id: str, index: Iterable[str]) -> str:
    if is_image_name(image_id) and Path(image_id).with_suffix("").as_posix() in index:
        return ": an image's id has no ending, so leave it out"
    return did_you_mean(image_id, index)
