"""Detections as a CSV table, and as YOLO's text files: one for each image."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import IO

import numpy as np

from sppcli.datasets.base import Dataset
from sppcli.errors import UsageProblem
from sppcli.runtime.files import inside, replacing
from sppcli.structures import Found

COLUMNS = ("image", "path", "class", "score", "probability", "x0", "y0", "x1", "y1")
"""Of the CSV table: boxes are 0-based half-open pixels; without calibration ``probability`` is empty."""


class CsvResultsWriter:
    """One row for each detection, an image's best first, below a header of `COLUMNS`; read back as a data set."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._rows = csv.writer(stream, lineterminator="\n")
        self._classes: tuple[str, ...] = ()

    def begin(self, dataset: Dataset, split: str, classes: tuple[str, ...]) -> None:
        self.begin_stream(classes)

    def begin_stream(self, classes: tuple[str, ...]) -> None:
        """As `begin`, of images that nobody knows yet."""
        self._classes = classes
        self._rows.writerow(COLUMNS)

    def add(self, found: Found) -> None:
        one = found.detections
        for i in np.argsort(-one.scores, kind="stable"):
            likely = "" if one.probabilities is None else f"{float(one.probabilities[i]):.4f}"
            corners = (f"{float(value):.2f}" for value in one.boxes[i])
            name = self._classes[one.labels[i]]
            self._rows.writerow((found.id, found.path, name, f"{float(one.scores[i]):.6f}", likely, *corners))
        self._stream.flush()

    def end(self) -> None:
        """Every row is written."""


class YoloResultsWriter:
    """A folder with classes.txt and a text file for each image: class number, cx cy w h as shares of the sides.

    Of a calibrated detector a sixth column is the probability. An image without detections has an empty file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._classes: tuple[str, ...] = ()
        self._found: dict[str, list[str]] = {}

    def begin(self, dataset: Dataset, split: str, classes: tuple[str, ...]) -> None:
        for name in classes:
            if "\n" in name or "\r" in name or not name.strip():
                raise UsageProblem(f"the class {name!r} cannot stand in a line of classes.txt; use --format coco")
        if any(item.id == "classes" for item in dataset.images):
            raise UsageProblem("an image called 'classes' would lie where classes.txt does; use --format coco")
        self._classes = classes

    def add(self, found: Found) -> None:
        one, (height, width) = found.detections, found.size
        lines = []
        for i in np.argsort(-one.scores, kind="stable"):
            x0, y0, x1, y1 = (float(value) for value in one.boxes[i])
            shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
            likely = () if one.probabilities is None else (f"{float(one.probabilities[i]):.4f}",)
            lines.append(" ".join((str(int(one.labels[i])), *(f"{value:.6f}" for value in shares), *likely)))
        self._found[found.id] = lines

    def end(self) -> None:
        for name, lines in {**self._found, "classes": list(self._classes)}.items():
            path = inside(self._folder, f"{name}.txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
