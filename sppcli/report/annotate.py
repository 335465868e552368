"""Detections drawn on the images they were found in: pictures to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sppcli.artefacts.overwriting import PICTURE, claim
from sppcli.datasets.base import Dataset
from sppcli.errors import MissingInput, UsageProblem
from sppcli.images import read_image
from sppcli.report.drawing import Mark, class_colours, draw
from sppcli.report.picture_files import write_png
from sppcli.runtime.files import ensure_folder
from sppcli.structures import Boxes, ByteImage, Floats, Found

_LEAST_SIDE = 640


class Annotator:
    """Draws the detections of ``classes`` with a colour for each class."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._colours = class_colours(classes)

    def draw(
        self, image: ByteImage, boxes: Boxes, labels: Sequence[str], sure: Floats, least_side: int = 0
    ) -> ByteImage:
        """``image`` (H, W, 3) with ``boxes`` (N, 4), the surest on top; ``sure`` (N,) probabilities, or scores.

        An image whose longer side has fewer pixels than ``least_side`` is enlarged to it, for labels to be small on it.
        """
        marks = []
        for i in np.argsort(sure, kind="stable"):
            x0, y0, x1, y1 = (float(value) for value in boxes[i])
            number = f"{float(sure[i]):.2f}"
            marks.append(Mark((x0, y0, x1, y1), self._colours[labels[i]], "solid", f"{labels[i]} {number}", number))
        return draw(image, marks, least_side if max(image.shape[:2]) < least_side else None)


class PictureWriter:
    """An annotated PNG of each image as its detections come: one file, or one in a folder for each image.

    ``output``: the file, or a folder, which is made if its parent is there; ``overwrite``: replace files that spp did
    not make.
    """

    def __init__(self, output: Path, is_folder: bool, overwrite: bool = False) -> None:
        self._output, self._is_folder, self._overwrite = output, is_folder, overwrite
        self._paths: dict[str, Path] = {}
        self._names: dict[str, Path] = {}
        self._taken: set[str] = set()

    def begin(self, dataset: Dataset, split: str, classes: tuple[str, ...]) -> None:
        """Plan a file for each image of ``split``.

        Raises:
            UsageProblem: several images for one file, or a file that is not to be replaced.
            MissingInput: the folder above is not there.
        """
        wanted = set(dataset.split(split))
        self._paths = {item.id: item.path for item in dataset.images if item.id in wanted}
        if not self._is_folder and len(self._paths) > 1:
            raise UsageProblem(
                f"-o {self._output} is one picture, for {len(self._paths)} images; name a folder with a / at its end"
            )
        self.begin_stream(classes)
        for name in self._paths:
            self._claim(self._target(name))

    def begin_stream(self, classes: tuple[str, ...]) -> None:
        """As `begin`, of images that nobody knows yet."""
        self._classes, self._annotator = classes, Annotator(classes)
        if not self._is_folder:
            ensure_folder(self._output)
            return
        if self._output.exists() and not self._output.is_dir():
            raise UsageProblem(f"-o {self._output} is a file, where a folder for the pictures is meant")
        if not self._output.absolute().parent.is_dir():
            raise MissingInput(
                f"-o {self._output}: the folder {self._output.absolute().parent} does not exist; create it"
            )
        self._output.mkdir(exist_ok=True)

    def add(self, found: Found) -> None:
        path = self._paths.get(found.id, Path(found.path))
        target = self._target(found.id)
        if found.id not in self._paths:
            self._claim(target)
        one = found.detections
        sure = one.scores if one.probabilities is None else one.probabilities
        labels = [self._classes[label] for label in one.labels]
        write_png(target, self._annotator.draw(read_image(path), one.boxes, labels, sure, _LEAST_SIDE))

    def end(self) -> None:
        """Every picture is written."""

    def _claim(self, target: Path) -> None:
        claim(target, PICTURE, images=self._paths.values(), overwrite=self._overwrite)

    def _target(self, image_id: str) -> Path:
        """The picture of an image; ids may hold slashes, and must not lead out of the folder."""
        if not self._is_folder:
            return self._output
        if image_id not in self._names:
            name = base = image_id.replace("/", "__").replace("\\", "__").lstrip(".")[-200:] or "image"
            number = 1
            while name.lower() in self._taken:
                number += 1
                name = f"{base}-{number}"
            self._taken.add(name.lower())
            self._names[image_id] = self._output / f"{name}.png"
        return self._names[image_id]
