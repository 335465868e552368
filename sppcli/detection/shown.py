"""What `spp show` draws: detections, region proposals or ground truth, with the data set that they are of."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from sppcli.artefacts.detections import DetectionsFile, read_detections
from sppcli.artefacts.proposals import Proposals, read_proposals
from sppcli.artefacts.store import Header, open_artefact
from sppcli.datasets import Dataset, open_dataset
from sppcli.datasets.base import IMAGE_EXTENSIONS
from sppcli.datasets.reopen import reopen
from sppcli.detection.calibrated import calibration_of_detections, uncalibrated_score
from sppcli.errors import MissingInput, UsageProblem
from sppcli.runtime.progress import Progress
from sppcli.structures import Annotations, BoolArray, Detections

DETECTIONS, PROPOSALS, GROUND_TRUTH = WHATS = ("detections", "proposals", "ground-truth")


@dataclass(frozen=True)
class Source:
    """What is shown, with its data set. ``ids``: its images, in the order that ``detections`` or ``proposals`` have.

    ``shown``: which of the detections are drawn; ``shown_from``: that in words.
    """

    name: str
    what: str
    dataset: Dataset
    ids: tuple[str, ...]
    detections: Detections | None = None
    proposals: Proposals | None = None
    shown: BoolArray | None = None
    shown_from: str = ""

    @cached_property
    def row_of(self) -> dict[str, int]:
        return {image_id: row for row, image_id in enumerate(self.ids)}

    def truth(self, image_id: str) -> Annotations | None:
        """Ground truth; None where there is none, which is an error only if it is what is to be drawn."""
        if not self.dataset.has_annotations:
            return None
        try:
            return self.dataset.annotations(image_id)
        except MissingInput:
            if self.what == GROUND_TRUTH:
                raise
            return None


def open_shown(
    files: Sequence[Path], what: str | None, folder: Path | None, min_score: float | None, progress: Progress
) -> Source:
    """Find what is to be shown among ``files`` and open it with its data set.

    Args:
        files: detections.h5, proposals.h5 or a data set; empty means what the current folder has.
        what: one of `WHATS`; None: what the file holds.
        folder: where the images are, if not where the file says.
        min_score: detections that score less are not shown; None: those that count as no object.

    Raises:
        MissingInput, UsageProblem: there is nothing to show, or nothing of that kind, or too much.
    """
    folders = [path for path in files if path.is_dir()]
    artefacts = [path for path in files if not path.is_dir()]
    if len(folders) > 1 or (folders and folder):
        raise UsageProblem("several data sets are named; name one")
    given = folders[0] if folders else folder
    if given is not None and not artefacts and (what == GROUND_TRUTH or (folders and what is None)):
        dataset = open_dataset([given])
        return _annotated(Source(str(given), GROUND_TRUTH, dataset, tuple(item.id for item in dataset.images)))
    path, kind, header = _pick(artefacts or _defaults(), what)
    proposals = read_proposals(path) if kind == PROPOSALS else None
    stored = None if kind == PROPOSALS else read_detections(path)
    detections = stored.detections if stored else None
    which = _shown(stored, min_score, progress) if stored else (None, "")
    ids = proposals.images.ids if proposals else detections.image_ids if detections else ()
    source = Source(path.name, kind, _dataset(path, header, given), ids, detections, proposals, *which)
    if ids and not set(ids) & {item.id for item in source.dataset.images}:
        raise MissingInput(
            f"{path}: none of its {len(ids)} images is in {source.dataset.root} (they are called {ids[0]} and so on); "
            "name the data set it was made from with --dataset"
        )
    return _annotated(replace(source, what=GROUND_TRUTH)) if what == GROUND_TRUTH else source


def _shown(stored: DetectionsFile, min_score: float | None, progress: Progress) -> tuple[BoolArray, str]:
    """Which detections are drawn: those that count as objects by the detector's calibration, or by ``min_score``."""
    found = stored.detections
    if min_score is None:
        if "calibration" in stored.header.inputs:  # of new images only what counts as an object was kept
            return np.ones(len(found.scores), np.bool_), "above the thresholds of the detector"
        known = calibration_of_detections(stored, progress=progress)
        if known:
            return known.calibration.shown(found.scores, found.label), f"above the thresholds of {known.path.name}"
    least, probable = uncalibrated_score(stored.header.inputs)
    if min_score is None:
        drawn = f"detections {'with a probability of' if probable else 'that score'} {least:g} or more are drawn"
        choice = "--min-score chooses another" if probable else "spp calibrate finds the best threshold of each class"
        progress.say(f"{drawn}; {choice}")
    else:
        least = min_score
    return found.scores >= least, f"{'probabilities' if probable else 'scores'} >= {least:g}"


def _defaults() -> list[Path]:
    found = [path for path in (Path("detections.h5"), Path("proposals.h5")) if path.exists()]
    if not found:
        raise MissingInput(
            "there is neither detections.h5 nor proposals.h5 in this folder; run spp propose, or name a file to show"
        )
    return found


def _pick(paths: Sequence[Path], what: str | None) -> tuple[Path, str, Header]:
    """The one file among ``paths`` that ``what`` is drawn from; without ``what``, detections go before proposals."""
    headers: dict[Path, Header] = {}
    for path in paths:
        if path.suffix.lower() in IMAGE_EXTENSIONS:
            name = shlex.quote(str(path))
            raise UsageProblem(
                f"{path} is an image; spp detect {name} -o found.png draws what a detector finds in it, "
                f"spp show {name} --explain pyramid what the method does with it"
            )
        with open_artefact(path) as artefact:
            headers[path] = artefact.header
    wanted = (what,) if what in (DETECTIONS, PROPOSALS) else (DETECTIONS, PROPOSALS)
    for kind in wanted:
        fitting = [path for path, header in headers.items() if header.kind == kind]
        if len(fitting) > 1:
            raise UsageProblem(f"{' and '.join(map(str, fitting))} both hold {kind}; show one at a time")
        if fitting:
            return fitting[0], kind, headers[fitting[0]]
    held = ", ".join(f"{path} holds {header.kind}" for path, header in headers.items())
    raise UsageProblem(f"{held}: there are no {' or '.join(wanted)} to draw; name a file that has them")


def _dataset(path: Path, header: Header, given: Path | None) -> Dataset:
    return reopen(path, header.source, given, remedy="name the data set with --dataset")


def _annotated(source: Source) -> Source:
    if not source.dataset.has_annotations:
        raise MissingInput(
            f"{source.dataset.root}: has no annotations, so there is no ground truth to show; name another data set"
        )
    return source
