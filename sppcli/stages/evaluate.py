"""Average precision of detections.h5, or of VOC result files, against the annotations."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sppcli.artefacts.calibration import CalibrationFile
from sppcli.artefacts.detections import DetectionsFile
from sppcli.datasets import open_dataset
from sppcli.datasets.base import Dataset
from sppcli.datasets.coco import CocoDataset
from sppcli.datasets.formats import require_annotations
from sppcli.datasets.ilsvrc import IlsvrcDataset
from sppcli.datasets.results.coco import read_coco_results
from sppcli.datasets.results.localisation import read_localisation_results
from sppcli.datasets.results.voc import read_results, result_classes
from sppcli.detection.against import coco_truth, data_of, nothing_shown
from sppcli.detection.calibrated import calibration_of_detections
from sppcli.errors import UsageProblem
from sppcli.evaluation.coco_ap import CocoResult, evaluate_coco
from sppcli.evaluation.ilsvrc import IlsvrcResult, evaluate_ilsvrc
from sppcli.evaluation.localisation import LocalisationErrors, localisation_error
from sppcli.evaluation.operating_point import AT_IOU, AtThreshold, at_threshold, matched
from sppcli.evaluation.registry import PROTOCOLS
from sppcli.evaluation.voc_ap import Evaluate, Points, VocResult
from sppcli.runtime.options import USUAL, RunOptions
from sppcli.runtime.progress import Progress
from sppcli.structures import Annotations, Detections, WrittenDetections


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """``protocol``: a name of `evaluation.registry.PROTOCOLS`, but COCO's and ILSVRC's. ``iou``: a detection is a hit
    at this overlap or more; ``points``: see `evaluation.voc_ap.ap_11point`.
    """

    protocol: str = "voc2007"
    split: str = "test"
    iou: float = 0.5
    points: Points = "exact"


@dataclass(frozen=True)
class EvaluateSummary:
    """``at_threshold``: what counts as an object by the calibration of the detector, if it has one."""

    result: VocResult
    images: int
    split: str
    source: Path
    at_threshold: AtThreshold | None = None


@dataclass(frozen=True)
class IlsvrcSummary:
    """``blacklisted``: pairs of image and class that the data set's blacklist names, in all its splits."""

    result: IlsvrcResult
    images: int
    split: str
    blacklisted: int
    at_threshold: AtThreshold | None = None


@dataclass(frozen=True)
class CocoSummary:
    result: CocoResult
    images: int
    split: str
    at_threshold: AtThreshold | None = None


def run(
    stored: DetectionsFile,
    config: EvaluateConfig,
    *,
    dataset: Path | None = None,
    calibration: Path | None = None,
    options: RunOptions = USUAL,
) -> EvaluateSummary:
    """Score detections against the annotations of the data set it was made of.

    AP is that of all detections. Precision, recall and F1 are of those above the thresholds of ``calibration``, by
    default of the file that belongs to the detector (see `calibrated.calibration_of_detections`), if there is one.

    Raises:
        MissingInput: no detections, no data set, no such split, or an image that nothing was looked for in.
        BadInput: no annotations.
        StaleArtefact: ``calibration`` was made for another detector.
    """
    progress = options.progress
    opened, wanted = data_of(stored, config.split, dataset, progress)
    known = calibration_of_detections(stored, calibration, progress)
    summary = _evaluate(stored.detections, opened, wanted, config, stored.path, progress)
    at = _at_threshold(stored, opened, wanted, tuple(summary.result.ap), known, config.iou)
    return replace(summary, at_threshold=at)


def _at_threshold(
    stored: DetectionsFile,
    opened: Dataset,
    wanted: tuple[str, ...],
    classes: tuple[str, ...],
    known: CalibrationFile | None,
    iou: float = AT_IOU,
    blacklist: Collection[tuple[str, str]] = (),
) -> AtThreshold | None:
    """What the thresholds of a calibration give, without pairs of image and class on ``blacklist``."""
    if known is None:
        return None
    truth = {image_id: opened.annotations(image_id) for image_id in wanted}
    found, out = stored.detections, set(blacklist)
    if out:
        names = [
            (found.image_ids[image], found.classes[label])
            for image, label in zip(found.image, found.label, strict=True)
        ]
        found = found.only(np.array([name not in out for name in names], dtype=np.bool_))
        truth = {
            image_id: one.only([(image_id, name) not in out for name in one.labels]) for image_id, one in truth.items()
        }
    return at_threshold(matched(found, truth, classes, iou), known.calibration)


def run_coco(
    stored: DetectionsFile,
    split: str,
    *,
    dataset: Path | None = None,
    calibration: Path | None = None,
    options: RunOptions = USUAL,
) -> CocoSummary:
    """As `run`, by COCO's rules: AP over IoU 0.50:0.95, by size, and AR; what the thresholds give is at IoU 0.5.

    Raises:
        MissingInput, BadInput, StaleArtefact: as `run`.
    """
    progress = options.progress
    opened, wanted = data_of(stored, split, dataset, progress)
    known = calibration_of_detections(stored, calibration, progress)
    summary = _coco(stored.detections, opened, wanted, split, progress)
    return replace(summary, at_threshold=_at_threshold(stored, opened, wanted, tuple(summary.result.ap), known))


def run_coco_on_results(dataset: Path, results: Path, split: str, *, options: RunOptions = USUAL) -> CocoSummary:
    """Score a COCO result file against the COCO data set ``dataset``, by COCO's rules.

    Raises:
        UsageProblem: another kind of data set, whose images and classes have no COCO ids.
        MissingInput, BadInput: no such split or file, or one that cannot be read.
    """
    progress = options.progress
    opened = open_dataset([dataset], images_needed=False)
    if not isinstance(opened, CocoDataset):
        raise UsageProblem(f"{dataset} is no COCO data set, whose ids {results} could name; spp convert makes it one")
    wanted = opened.labelled(opened.split(split))
    return _coco(read_coco_results(results, opened, split), opened, wanted, split, progress)


def _coco(
    detections: Detections | WrittenDetections,
    opened: Dataset,
    wanted: tuple[str, ...],
    split: str,
    progress: Progress,
) -> CocoSummary:
    truth = {image_id: coco_truth(opened, image_id) for image_id in wanted}
    for warning in opened.remarks():
        progress.warn(warning)
    shown = {label for image in truth.values() for label in image.labels}
    if not shown:
        raise nothing_shown(opened, split)
    result = evaluate_coco(detections, truth, tuple(sorted(shown | set(detections.classes))))
    return CocoSummary(result, len(wanted), split)


def run_ilsvrc(
    stored: DetectionsFile,
    split: str,
    *,
    dataset: Path | None = None,
    calibration: Path | None = None,
    options: RunOptions = USUAL,
) -> IlsvrcSummary:
    """As `run`, by the rules of ILSVRC's detection task; what the thresholds give is at IoU 0.5.

    Raises:
        MissingInput, BadInput, StaleArtefact: as `run`.
    """
    progress = options.progress
    opened, wanted = data_of(stored, split, dataset, progress)
    known = calibration_of_detections(stored, calibration, progress)
    truth, shown = _truth(opened, wanted, split, progress)
    blacklist = opened.blacklist if isinstance(opened, IlsvrcDataset) else frozenset()
    found = stored.detections
    result = evaluate_ilsvrc(found, truth, tuple(sorted(shown | set(found.classes))), blacklist)
    at = _at_threshold(stored, opened, wanted, tuple(result.ap), known, blacklist=blacklist)
    return IlsvrcSummary(result, len(wanted), split, len(blacklist), at)


def run_localisation(
    localisations: Path, split: str, dataset: Path, *, options: RunOptions = USUAL
) -> LocalisationErrors:
    """Score five localisations per image (`datasets.localisations`) against the objects of ``dataset``.

    Raises:
        MissingInput, BadInput: no annotations or objects in the split, or localisations that cannot be read.
    """
    progress = options.progress
    opened = open_dataset([dataset], images_needed=False)
    require_annotations(opened)
    wanted = opened.labelled(opened.split(split))
    names = {number: name for name, number in opened.wordnet.items()} if isinstance(opened, IlsvrcDataset) else {}
    found = read_localisation_results(localisations, wanted, names)
    truth, _ = _truth(opened, wanted, split, progress)
    return localisation_error(found, truth)


def _truth(
    dataset: Dataset, ids: tuple[str, ...], split: str, progress: Progress
) -> tuple[dict[str, Annotations], set[str]]:
    """Annotations of the images, and the classes that they show, of which there is at least one."""
    truth = {image_id: dataset.annotations(image_id) for image_id in ids}
    for warning in dataset.remarks():
        progress.warn(warning)
    shown = {label for annotations in truth.values() for label in annotations.labels}
    if not shown:
        raise nothing_shown(dataset, split)
    return truth, shown


def run_on_results(
    dataset: Path, results: Path, config: EvaluateConfig, *, options: RunOptions = USUAL
) -> EvaluateSummary:
    """Score VOC result files (``comp4_det_<split>_<class>.txt`` in ``results``) against ``dataset``.

    Raises:
        MissingInput: no such folder, split or result file.
        BadInput: no annotations, or a line that cannot be read.
    """
    progress = options.progress
    opened = open_dataset([dataset], images_needed=False)
    require_annotations(opened)
    wanted = opened.labelled(opened.split(config.split))
    found = read_results(results, config.split, image_ids=wanted)
    known = set(opened.classes)
    foreign = [name for name in result_classes(results, config.split) if name not in known]
    if foreign:
        progress.warn(f"no object of {', '.join(foreign)} in {opened.root}: these results are left out of mAP")
    return _evaluate(found, opened, wanted, config, results, progress)


def _evaluate(
    detections: Detections,
    dataset: Dataset,
    ids: tuple[str, ...],
    config: EvaluateConfig,
    source: Path,
    progress: Progress,
) -> EvaluateSummary:
    truth, _ = _truth(dataset, ids, config.split, progress)
    classes = tuple(sorted(set(dataset.classes) | set(detections.classes)))
    evaluate: Evaluate = PROTOCOLS[config.protocol].load()
    result = evaluate(detections, truth, classes, iou=config.iou, points=config.points)
    return EvaluateSummary(result, len(ids), config.split, source)
