"""Detections written image by image as they are found: JSON lines, COCO's list of results, VOC's result files.

Each format writes what its reader reads back, or refuses at `begin`, before the work.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from sppcli.datasets.base import Dataset
from sppcli.datasets.coco import CocoDataset
from sppcli.datasets.results.tables import CsvResultsWriter, YoloResultsWriter
from sppcli.datasets.results.voc import check_names, write_results
from sppcli.errors import BadInput
from sppcli.runtime.files import replacing
from sppcli.structures import Detections, Found

# What JSON leaves as it is and Unicode, so Python's splitlines, takes for the end of a line.
_LINE_ENDS = {ord(mark): f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"}


class ResultWriter(Protocol):
    """What takes each image's detections. `begin` comes first and `end` last; without `end` nothing was completed."""

    def begin(self, dataset: Dataset, split: str, classes: tuple[str, ...]) -> None:
        """The images of ``split`` in ``dataset`` follow; labels are indices into ``classes``.

        Raises:
            SppError: the format cannot hold a class or an image's id; the text names it.
        """

    def add(self, found: Found) -> None: ...

    def end(self) -> None: ...


class JsonLinesWriter:
    """One line with a JSON object for each detection, an image's best first: image, path, class, score, box (x0 y0 x1
    y1, 0-based half-open pixels), of a calibrated detector also probability. Whatever ends a line for some reader is
    escaped.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._classes: tuple[str, ...] = ()

    def begin(self, dataset: Dataset, split: str, classes: tuple[str, ...]) -> None:
        self.begin_stream(classes)

    def begin_stream(self, classes: tuple[str, ...]) -> None:
        """As `begin`, of images that nobody knows yet."""
        self._classes = classes

    def add(self, found: Found) -> None:
        for label, score, box, more in _best_first(found):
            line = {
                "image": found.id,
                "path": found.path,
                "class": self._classes[label],
                "score": round(score, 6),
                **more,
                "box": [round(value, 2) for value in box],
            }
            self._stream.write(json.dumps(line, ensure_ascii=False).translate(_LINE_ENDS) + "\n")
        self._stream.flush()

    def end(self) -> None:
        """Every line is written."""


class CocoResultsWriter:
    """COCO's list of results: ``image_id``, ``category_id``, ``bbox`` (x y width height) and ``score``.

    Of a COCO data set both ids are those of the split's own file, so that COCO's tools and `read_coco_results` read the
    list against it. Of others, an image's id is its name here, as a number where it is one, and classes count
    from 1 in the order of the SVMs. ``file_name`` and ``category`` are added for readers; COCO's tools pass over
    them, and over ``probability`` of a calibrated detector. Numbers are written in full: read back, the boxes and
    scores are those that were found, bit for bit.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._records: list[dict[str, Any]] = []
        self._images: dict[str, int | str] = {}
        self._categories: dict[str, int] = {}
        self._classes: tuple[str, ...] = ()

    def begin(self, dataset: Dataset, split: str, classes: tuple[str, ...]) -> None:
        self._classes = classes
        if isinstance(dataset, CocoDataset):
            self._images = {**dataset.numbers(split).of_images}
            self._categories = _coco_categories(dataset, split, classes)
        else:
            self._images = _plain_ids([item.id for item in dataset.images])
            self._categories = {name: number for number, name in enumerate(classes, start=1)}

    def add(self, found: Found) -> None:
        for label, score, (x0, y0, x1, y1), more in _best_first(found):
            name = self._classes[label]
            self._records.append(
                {
                    "image_id": self._images[found.id],
                    "category_id": self._categories[name],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "score": score,
                    **more,
                    "file_name": found.path,
                    "category": name,
                }
            )

    def end(self) -> None:
        self._stream.write(json.dumps(self._records) + "\n")


class VocResultsWriter:
    """A folder of VOC result files of ``split``, one for each class: see `results.voc`."""

    def __init__(self, folder: Path, split: str) -> None:
        self._folder = folder
        self._split = split
        self._found: list[Found] = []
        self._classes: tuple[str, ...] = ()

    def begin(self, dataset: Dataset, split: str, classes: tuple[str, ...]) -> None:
        check_names(self._split, classes, dataset.split(split))
        self._classes = classes

    def add(self, found: Found) -> None:
        self._found.append(found)

    def end(self) -> None:
        write_results(self._folder, Detections.of_images(self._found, self._classes), self._split)


_OF_STREAMS: dict[str, Callable[[IO[str]], ResultWriter]] = {
    "jsonl": JsonLinesWriter,
    "coco": CocoResultsWriter,
    "csv": CsvResultsWriter,
}


@contextmanager
def result_writer(kind: str, output: Path | None, split: str, stdout: IO[str]) -> Iterator[ResultWriter]:
    """A writer of format ``kind``: jsonl, coco, csv, voc or yolo. A file appears under its name when it is complete.

    Args:
        output: the file, for VOC and YOLO the folder; None for ``stdout``, which theirs cannot go to.
        split: the part of VOC's file names.
    """
    if kind in ("voc", "yolo"):
        assert output is not None
        yield from _ended(VocResultsWriter(output, split) if kind == "voc" else YoloResultsWriter(output))
        return
    make: Callable[[IO[str]], ResultWriter] = _OF_STREAMS[kind]
    if output is None:
        yield from _ended(make(stdout))
        return
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8") as stream:
        yield from _ended(make(stream))


def _ended(writer: ResultWriter) -> Iterator[ResultWriter]:
    yield writer
    writer.end()


def _best_first(found: Found) -> Iterator[tuple[int, float, list[float], dict[str, float]]]:
    """Label, score and box of each detection of an image, and its ``probability`` if it has one."""
    one = found.detections
    for i in np.argsort(-one.scores, kind="stable"):
        likely = {} if one.probabilities is None else {"probability": round(float(one.probabilities[i]), 4)}
        yield int(one.labels[i]), float(one.scores[i]), [float(value) for value in one.boxes[i]], likely


def _coco_categories(dataset: CocoDataset, split: str, classes: tuple[str, ...]) -> dict[str, int]:
    """Class name -> the number in the file of ``split``; of classes that it lacks the one in another file."""
    own = dataset.numbers(split)
    found: dict[str, int] = {}
    for other in dataset.every_number():
        for name, number in other.of_classes.items():
            if number not in own.categories:
                found.setdefault(name, number)
    found |= own.of_classes
    for name in classes:
        if name not in found:
            raise BadInput(
                f"the SVMs find the class {name!r}, which has no category in {own.paths[0]}: write --format jsonl or "
                "h5, or train the SVMs on the classes of this data set"
            )
    return found


def _plain_ids(names: list[str]) -> dict[str, int | str]:
    """Each image's name, as a number where it is one that no other image has ("7" and "007" stay as they are)."""
    numbers = {name: int(name) for name in names if name.isdecimal()}
    count = Counter(numbers.values())
    return {name: numbers[name] if count[numbers.get(name, -1)] == 1 else name for name in names}
