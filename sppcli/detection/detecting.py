"""What detection in a split and in new images share: its options, where detections go, what is told at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from sppcli.artefacts.detections import write_detections
from sppcli.artefacts.overwriting import COCO, JSONL, TABLE, claim
from sppcli.artefacts.store import Header
from sppcli.datasets import Dataset
from sppcli.detection.scoring import DetectSettings
from sppcli.errors import UsageProblem
from sppcli.paper import DEFAULT
from sppcli.runtime.options import RunOptions
from sppcli.runtime.progress import Progress
from sppcli.structures import Detections, Found, Skipped


class Sink(Protocol):
    """Takes detections as they are found: see `datasets.results.writers.ResultWriter`."""

    def begin(self, dataset: Dataset, split: str, classes: tuple[str, ...]) -> None: ...

    def add(self, found: Found) -> None: ...


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    """``bbox``: "auto" takes the file if it is there, "none" never, "file" insists on it. ``svd``: ranks to truncate
    the fc layers to, of models that were trained on whole ones; () for none.
    """

    settings: DetectSettings = field(default_factory=DetectSettings)
    split: str = "test"
    bbox: str = "auto"
    recipe: str = DEFAULT.name
    svd: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What decides the detections, for fingerprints and `recorded`."""
        return {name: value for name, value in asdict(self).items() if name != "svd" or value}


@dataclass(frozen=True)
class ResultsFile:
    """What a `Sink` writes, and its ``format``: jsonl, coco, csv, voc, yolo or pictures."""

    path: Path
    format: str


@dataclass(frozen=True)
class Shown:
    """What counts as an object in a new image.

    ``calibration``: the file of `spp calibrate`; None: calibration.h5 beside the models if it is there; False: none.
    ``thresholds``: whether those of the calibration decide, where there is one, in place of the least score asked for.
    """

    calibration: Path | Literal[False] | None = None
    thresholds: bool = True


_KINDS = {"coco": COCO, "jsonl": JSONL, "csv": TABLE}


@dataclass(frozen=True)
class DetectSummary:
    """``output`` is None when the detections went to a sink only."""

    output: Path | None
    images: int
    detections: int
    classes: tuple[str, ...]
    corrected: bool
    skipped: tuple[Skipped, ...] = ()
    up_to_date: bool = False


def claim_outputs(
    output: Path | None, results: ResultsFile | None, dataset: Dataset, inputs: Sequence[Path], options: RunOptions
) -> None:
    """Refuse to write over what is not to be lost: see `overwriting.claim`; VOC's and YOLO's results are folders."""
    if results and results.format == "pictures":
        return  # see `report.annotate.PictureWriter`
    if results and results.format in ("voc", "yolo"):
        if results.path.exists() and not results.path.is_dir():
            kind = results.format
            raise UsageProblem(
                f"-o {results.path} is a file; --format {kind} writes a folder of files, so name a folder"
            )
        return
    targets = [(output, "detections"), (results.path, _KINDS[results.format])] if results else [(output, "detections")]
    for path, kind in targets:
        if path:
            claim(path, kind, inputs=inputs, data=dataset, overwrite=options.overwrite)


def gather(coming: Iterable[Found], images: int, progress: Progress, sink: Sink | None = None) -> list[Found]:
    """All of the detections in ``images`` images; ``sink`` is told of each as it comes."""
    progress.start(images, "images")
    found = []
    for item in coming:
        if sink:
            sink.add(item)
        found.append(item)
        progress.advance()
    return found


def write_found(output: Path, header: Header, found: Sequence[Found], classes: tuple[str, ...]) -> None:
    """Write detections.h5."""
    sizes = np.array([item.size for item in found], dtype=np.int64).reshape(-1, 2)
    detections = Detections.of_images(found, classes)
    write_detections(output, header, detections, tuple(item.path for item in found), sizes)


def summary_of(
    output: Path | None,
    found: Sequence[Found],
    classes: tuple[str, ...],
    corrected: bool,
    skipped: Sequence[Skipped] = (),
) -> DetectSummary:
    count = sum(len(item.detections.scores) for item in found)
    return DetectSummary(output, len(found), count, classes, corrected, tuple(skipped))
