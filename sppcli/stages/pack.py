"""A trained detector as one file to hand over: networks, SVMs or one network, box regression, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sppcli.artefacts.calibration import CalibrationFile
from sppcli.artefacts.overwriting import PACK, claim
from sppcli.detection.calibrated import calibration_folder, calibration_of_models, uncalibrated_score
from sppcli.detection.models import DetectPaths, model_inputs, read_models
from sppcli.runtime.options import USUAL, RunOptions


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """``bbox``: as for `spp detect`; ``weights``: where the network is now; ``licence``: a text that the file carries.

    ``calibration``: the file; None: calibration.h5 beside the models if it is there; False: none.
    """

    bbox: str = "auto"
    weights: str | None = None
    licence: str = ""
    calibration: Path | Literal[False] | None = None


@dataclass(frozen=True)
class PackSummary:
    """``calibrated``: what its thresholds were chosen for, "" without calibration."""

    path: Path
    bytes: int
    classes: tuple[str, ...]
    corrected: bool
    calibrated: str
    licence: str


def run(paths: DetectPaths, output: Path, config: PackConfig, *, options: RunOptions = USUAL) -> PackSummary:
    """Write ``output``, which detects on any machine what `spp detect IMAGE` finds here.

    Raises:
        MissingInput, BadInput: a file, or the network's weights, are not there or not readable.
        StaleArtefact: files that do not belong together.
        UsageProblem: region proposals that need another file, or that were imported.
    """
    from sppcli.detection.detector import Detector, NetworkDetector
    from sppcli.detection.packing import save_joint, save_models
    from sppcli.detection.scoring import DetectSettings
    from sppcli.nets.detector import load_detector

    read = [paths.network] if paths.network else [path for item in paths.models for path in (item.svm, item.bbox)]
    claim(output, PACK, inputs=read, overwrite=options.overwrite)
    if paths.network:
        joint = load_detector(paths.network)
        detector: Detector = NetworkDetector(paths.network, DetectSettings(), loaded=joint, device="cpu").prepare()
        known = _calibration(paths, config, {"network": str(joint[2]["fingerprint"])}, options)
        save_joint(output, joint, known, config.licence)
        return _summary(output, detector.classes, True, known, config)
    models = read_models(paths.models, config.bbox, ())
    # Checks that the network is the one they were trained on, and that new images can be searched.
    detector = Detector(models, DetectSettings(), weights=config.weights, device="cpu", progress=options.progress)
    known = _calibration(paths, config, model_inputs(models), options)
    save_models(output, models, detector.networks, known, config.licence)
    return _summary(output, detector.classes, detector.corrects, known, config)


def _calibration(
    paths: DetectPaths, config: PackConfig, inputs: dict[str, str], options: RunOptions
) -> CalibrationFile | None:
    if config.calibration is False:
        return None
    known = calibration_of_models(inputs, calibration_folder(paths), config.calibration, options.progress)
    if known is None:
        least, probable = uncalibrated_score(inputs)
        options.progress.warn(
            f"without calibration: whoever uses the file sees what has a probability of {least:g} or more"
            if probable
            else "without calibration: whoever uses the file sees what scores above 0; spp calibrate finds thresholds"
        )
    return known


def _summary(
    output: Path, classes: Sequence[str], corrected: bool, known: CalibrationFile | None, config: PackConfig
) -> PackSummary:
    aim = known.aim if known else ""
    return PackSummary(output, output.stat().st_size, tuple(classes), corrected, aim, config.licence)
