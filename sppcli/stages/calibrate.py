"""From detections in images held out to calibration.h5: probabilities of scores, and the threshold of each class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from sppcli.artefacts.calibration import CalibrationFile, HeldOutScores, read_calibration, write_calibration
from sppcli.artefacts.models import check_trunk
from sppcli.artefacts.output import Output
from sppcli.artefacts.overwriting import claim
from sppcli.artefacts.store import Header
from sppcli.datasets.base import Dataset
from sppcli.datasets.formats import require_annotations
from sppcli.detection.held_out import TEST, HeldOut, check_images, check_split, in_folds, in_part, in_split
from sppcli.detection.models import DetectPaths, model_inputs, numbered, read_models
from sppcli.detection.scoring import DetectSettings
from sppcli.detection.split import ImageSplit, SplitData, open_images, open_splits
from sppcli.errors import BadArtefact, BadInput
from sppcli.evaluation.operating_point import Aim, Figures, Matched, figures, matched
from sppcli.learn.calibrate import calibrate
from sppcli.runtime.compiling import announces_compiling
from sppcli.runtime.files import checkpoint_of
from sppcli.runtime.locks import one_at_a_time
from sppcli.runtime.memory import kept_memory
from sppcli.runtime.options import USUAL, RunOptions


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """``at``: what thresholds are chosen for, see `evaluation.operating_point.Aim.of`.

    ``split``: images to detect in, which the detector was not trained on; None: the training's own, in ``folds`` (for a
    network of `spp train-detector`: its validation's, or val). ``held_out``: the share of the training's own that is
    left out of one training anew and detected in, in place of folds or of a split. ``bbox``, ``settings``: as for
    `spp detect`.
    """

    at: str = "f1"
    split: str | None = None
    folds: int = 3
    held_out: float | None = None
    seed: int = 0
    bbox: str = "auto"
    settings: DetectSettings = field(default_factory=DetectSettings)


@dataclass(frozen=True)
class ClassCalibration:
    """One class: how its scores become probabilities, its threshold and the probability there (None where nothing is
    shown), and what the threshold gives on the images held out."""

    name: str
    method: str
    threshold: float
    probability: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    objects: int


@dataclass(frozen=True)
class CalibrateSummary:
    """``overall``: all classes at the one probability that serves them best together; its threshold is that."""

    path: Path
    at: str
    images: int
    split: str
    folds: int
    classes: tuple[ClassCalibration, ...]
    overall: ClassCalibration
    held_out: float | None = None
    up_to_date: bool = False


@one_at_a_time
@kept_memory()
@announces_compiling
def run(
    paths: DetectPaths,
    output: Path,
    config: CalibrateConfig,
    *,
    dataset: Path | None = None,
    options: RunOptions = USUAL,
) -> CalibrateSummary:
    """Detect in images that the detector was not trained on, and fit probabilities and thresholds to what is right.

    The detections are kept in ``output``: another ``at`` costs no detection.

    Raises:
        MissingInput, BadInput: no such file or split, or too few images.
        StaleArtefact: features, models or annotations that do not belong together.
        UsageProblem: an aim that is none, a split that the detector has seen, or the split test.
    """
    aim = Aim.of(config.at)
    if paths.network:
        return _of_network(paths.network, paths, output, config, aim, dataset, options)
    models = read_models(paths.models, config.bbox, ())
    classes, own = models[0].svm.classes, str(models[0].svm.header.config["split"])
    features = [item.features for item in paths.models]
    with open_splits(paths.proposals, features, own, dataset) as splits:
        first = splits[0]
        _prepare(first.dataset, output, paths, options)
        for pair, data in zip(models, splits, strict=True):
            check_images(pair.svm, data)
            for model in pair:
                if model is not None:
                    check_trunk(model, data.features)
        inputs = {
            **model_inputs(models),
            "proposals": first.proposals.fingerprint,
            **numbered("features", [data.features.fingerprint for data in splits]),
        }
        if config.split is None:
            share, folds = config.held_out, 0 if config.held_out else config.folds

            def detect() -> HeldOut:
                if share:
                    return in_part(models, splits, share, config.settings, config.seed, options)
                return in_folds(models, splits, folds, config.settings, config.seed, options)

            header = _header(config, own, folds, inputs, first)
            return _made(output, header, classes, aim, paths, detect, options)
        check_split(first.dataset, config.split, own, models[0].svm.path, "or leave --split out, for cross-validation")
    with open_splits(paths.proposals, features, config.split, dataset) as splits:
        header = _header(config, config.split, 0, inputs, splits[0])
        return _made(
            output, header, classes, aim, paths, lambda: in_split(models, splits, config.settings, options), options
        )


def _of_network(
    network: Path,
    paths: DetectPaths,
    output: Path,
    config: CalibrateConfig,
    aim: Aim,
    dataset: Path | None,
    options: RunOptions,
) -> CalibrateSummary:
    """As `run`, of a network of `spp train-detector`: in a split that it has not seen, or with one trained anew."""
    from sppcli.detection import network_held_out
    from sppcli.detection.detector import NetworkDetector

    detector = NetworkDetector(network, config.settings, device=options.device, progress=options.progress)
    validation = detector.validated_on if detector.validated_on != TEST else None
    split = detector.trained_on if config.held_out else config.split or validation or "val"
    data = open_images(paths.proposals, split, dataset)
    _prepare(data.dataset, output, paths, options)
    if not config.held_out:
        remedy = "train it on less, with --split train, or give --held-out 0.25 in place of --split"
        check_split(data.dataset, split, detector.trained_on, network, remedy)
    inputs = {"network": detector.fingerprint, "proposals": data.proposals.fingerprint}
    header = _header(config, split, 0, inputs, data, "probability")
    # Another aim changes nothing of the training.
    found_by = replace(header, config={**header.config, "at": ""}).fingerprint

    def detect() -> HeldOut:
        if config.held_out:
            return network_held_out.in_part(
                data, detector, config.held_out, config.seed, output, found_by, dataset, options
            )
        return network_held_out.in_split(data, detector.scorer, options)

    summary = _made(output, header, detector.classes, aim, paths, detect, options)
    checkpoint_of(output).unlink(missing_ok=True)
    return summary


def _prepare(dataset: Dataset, output: Path, paths: DetectPaths, options: RunOptions) -> None:
    require_annotations(dataset)
    claim(output, "calibration", inputs=paths.files(), data=dataset, overwrite=options.overwrite)


def _header(
    config: CalibrateConfig,
    split: str,
    folds: int,
    inputs: dict[str, str],
    data: SplitData | ImageSplit,
    scores: str = "margin",
) -> Header:
    """What makes a calibration of the images of ``data``; ``folds`` is 0 where there are none."""
    if not data.images:
        raise BadInput(f"{data.proposals.path} has no image of split {split}; run spp propose on all images")
    made = {
        "at": config.at,
        "split": split,
        "folds": folds,
        "seed": config.seed if folds or config.held_out else 0,
        "scores": scores,
        "settings": asdict(config.settings),
        **({"held_out": config.held_out} if config.held_out else {}),
    }
    source = data.proposals.header.source
    return Header("calibration", made, {**inputs, "annotations": data.annotation_digest()}, source)


def _made(
    output: Path,
    header: Header,
    classes: tuple[str, ...],
    aim: Aim,
    paths: DetectPaths,
    detect: Callable[[], HeldOut],
    options: RunOptions,
) -> CalibrateSummary:
    """``output``, made from what ``detect`` finds, or what it holds of that already."""
    if Output(output, header, paths.files()).is_current(options.force):
        return _summary(read_calibration(output), up_to_date=True)
    known = None if options.force else _kept(output, header)
    if known and known.held_out:
        held, images = known.held_out, int(known.header.summary["images"])
    else:
        found = detect()
        held, images = _scores(found, classes), len(found.truth)
    per_class = {
        name: Matched(*held.of_class(label), objects=int(held.objects[label])) for label, name in enumerate(classes)
    }
    result = calibrate(per_class, aim, logit=header.config["scores"] == "probability")
    for name in result.unreached:
        why = "there is no object of it" if not per_class[name].objects else "the nearest is taken"
        options.progress.warn(f"no threshold of {name} gives {aim} on the images held out: {why}")
    overall = result.overall if np.isfinite(result.overall) else None  # JSON knows no infinity
    summary = {"images": images, "overall": overall, "overall_counts": asdict(result.all_figures)}
    made = replace(header, summary=summary)
    write_calibration(output, made, result.calibration, held)
    return _summary(read_calibration(output))


def _kept(output: Path, header: Header) -> CalibrationFile | None:
    """What ``output`` holds, if it differs from what is to be made in its aim at most."""
    if not output.exists():
        return None
    try:
        found = read_calibration(output)
    except BadArtefact:
        return None
    same = {**found.header.config, "at": header.config["at"]} == header.config and found.header.inputs == header.inputs
    return found if same else None


def _scores(found: HeldOut, classes: tuple[str, ...]) -> HeldOutScores:
    each = matched(found.detections, found.truth, classes)
    return HeldOutScores(
        np.repeat(np.arange(len(classes), dtype=np.int64), [len(one.scores) for one in each.values()]),
        np.concatenate([np.zeros(0, np.float32), *(one.scores for one in each.values())]).astype(np.float32),
        np.concatenate([np.zeros(0, np.bool_), *(one.hits for one in each.values())]),
        np.array([one.objects for one in each.values()], dtype=np.int64),
    )


def _summary(stored: CalibrationFile, up_to_date: bool = False) -> CalibrateSummary:
    calibration, held, config = stored.calibration, stored.held_out, stored.header.config
    assert held is not None
    rows = []
    for k, (name, score_map) in enumerate(zip(calibration.classes, calibration.maps, strict=True)):
        scores, hits = held.of_class(k)
        threshold = float(calibration.thresholds[k])
        probability = float(score_map(np.array([threshold]))[0]) if np.isfinite(threshold) else None
        at = figures(Matched(scores, hits, int(held.objects[k])), threshold)
        rows.append(_row(name, score_map.method, threshold, probability, at))
    summary = stored.header.summary
    overall = float(summary["overall"]) if summary["overall"] is not None else float("inf")
    all_classes = _row("all", "", overall, overall, Figures(**summary["overall_counts"]))
    return CalibrateSummary(
        stored.path,
        stored.aim,
        int(summary["images"]),
        str(config["split"]),
        int(config["folds"]),
        tuple(rows),
        all_classes,
        config.get("held_out"),
        up_to_date,
    )


def _row(name: str, method: str, threshold: float, probability: float | None, at: Figures) -> ClassCalibration:
    return ClassCalibration(name, method, threshold, probability, at.precision, at.recall, at.f1, at.objects)
