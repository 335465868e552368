"""The detector that the options of `spp detect` name, for new images and videos, and what counts as an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sppcli.artefacts.calibration import CalibrationFile
from sppcli.detection.calibrated import calibration_folder, calibration_of_models, uncalibrated_score
from sppcli.detection.detecting import DetectConfig, Shown
from sppcli.detection.detector import Detector, NetworkDetector
from sppcli.detection.models import DetectPaths, model_inputs, read_models
from sppcli.detection.packing import load_pack
from sppcli.proposals.propose import SELECTIVE_SEARCH
from sppcli.proposals.selective_search.warm_up import prepare
from sppcli.runtime.options import RunOptions


def warm_up(detector: Detector, options: RunOptions) -> None:
    """Compile what the search for region proposals needs, before the first image."""
    if SELECTIVE_SEARCH in detector.proposing.methods:
        prepare(detector.proposing.engine, options.jobs, options.progress)


def detector_of(
    paths: DetectPaths,
    config: DetectConfig,
    weights: str | None,
    shown: Shown,
    options: RunOptions,
) -> tuple[Detector, dict[str, str]]:
    """The detector of new images, and the fingerprints of what it was loaded from."""
    progress = options.progress
    if paths.pack:
        packed = load_pack(paths.pack)
        known = packed.calibration if shown.calibration is None else None
        _say_what_counts(known, shown, config, options, packed.joint is not None, packed=True)
        return Detector.of_pack(
            packed,
            config.settings,
            device=options.device,
            calibrated=shown.calibration is None,
            thresholds=shown.thresholds,
            svd=config.svd,
            progress=progress,
        ), {"detector": packed.fingerprint} | _fingerprint(known)
    if paths.network:
        network = NetworkDetector(paths.network, config.settings, device=options.device, progress=progress)
        inputs = {"network": network.fingerprint}
        known = _calibration(paths, inputs, shown, config, options)
        return network.calibrated(known, thresholds=shown.thresholds).prepare(), inputs | _fingerprint(known)
    models = read_models(paths.models, config.bbox, config.svd)
    inputs = model_inputs(models)
    known = _calibration(paths, inputs, shown, config, options)
    settings = replace(config.settings, min_score=known.min_score) if known and shown.thresholds else config.settings
    detector = Detector(
        models,
        settings,
        weights=weights,
        device=options.device,
        svd=config.svd,
        calibration=known.calibration if known else None,
        thresholds=shown.thresholds,
        progress=progress,
    )
    return detector, inputs | _fingerprint(known)


def _calibration(
    paths: DetectPaths,
    inputs: Mapping[str, str],
    shown: Shown,
    config: DetectConfig,
    options: RunOptions,
) -> CalibrationFile | None:
    """The calibration of new images, and a line that says what counts as an object."""
    folder = calibration_folder(paths)
    given = shown.calibration
    known = None if given is False else calibration_of_models(inputs, folder, given, options.progress)
    _say_what_counts(known, shown, config, options, uncalibrated_score(inputs)[1])
    return known


def _say_what_counts(
    known: CalibrationFile | None,
    shown: Shown,
    config: DetectConfig,
    options: RunOptions,
    probable: bool,
    packed: bool = False,
) -> None:
    """``probable``: scores are probabilities, as of a network; ``packed``: the detector was handed over."""
    if known and shown.thresholds:
        options.progress.say(f"{known.path}: probabilities, and the threshold of each class for {known.aim}")
    elif shown.thresholds and shown.calibration is None:
        what = "has a probability above" if probable else "scores above"
        choice = (
            "--min-score chooses another"
            if probable or packed
            else "spp calibrate finds the best threshold of each class, and probabilities"
        )
        options.progress.say(f"objects are what {what} {config.settings.min_score:g}; {choice}")


def _fingerprint(known: CalibrationFile | None) -> dict[str, str]:
    return {"calibration": known.header.fingerprint} if known else {}
