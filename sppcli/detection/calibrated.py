"""Which calibration belongs to a detector or to its detections: the one place where that is decided.

`spp detect IMAGE`, `sppcli.Detector`, `spp evaluate`, `spp show` and every report ask here, so that all show the same
detections with the same probabilities. What is returned has ``calibration.shown(scores, labels)``, which detections
count as objects, and ``calibration.probabilities(scores, labels)``; labels are indices into its ``classes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sppcli.artefacts.calibration import CalibrationFile, read_calibration
from sppcli.artefacts.detections import DetectionsFile
from sppcli.detection.models import DetectPaths
from sppcli.errors import StaleArtefact
from sppcli.runtime.progress import NoProgress, Progress

CALIBRATION = "calibration.h5"
"""The default name, beside the SVMs or the network."""

NEW_IMAGE_SCORE = 0.5
"""Without calibration: detections of a network that are more likely than this count as objects."""


def calibration_of_models(
    inputs: Mapping[str, str], folder: Path, given: Path | None = None, progress: Progress | None = None
) -> CalibrationFile | None:
    """The calibration of the models with the fingerprints ``inputs`` (`models.model_inputs`, or a network's).

    Args:
        folder: where calibration.h5 is looked for, which need not be there. One that is for a network is left alone
            where SVMs detect, and the other way round.
        given: the file to take instead.

    Raises:
        MissingInput, BadArtefact: ``given`` is not there, or the file is damaged.
        StaleArtefact: it was made for other models.
    """
    path = given or folder / CALIBRATION
    if given is None and not path.exists():
        return None
    found = read_calibration(path)
    made_for = found.header.inputs
    if given is None and ("network" in made_for) != ("network" in inputs):
        return None
    wrong = _differing(made_for, inputs, ("network", "svm"))
    if wrong:
        raise StaleArtefact(
            f"{path} was made for another {wrong} than is used here; run spp calibrate again, or go on without it by "
            "--no-calibration"
        )
    if _differing(made_for, inputs, ("bbox",)) and progress:
        progress.warn(f"{path} was made with other box regression than is used here: its probabilities are less sure")
    return found


def calibration_of_detections(
    stored: DetectionsFile, given: Path | None = None, progress: Progress | None = None
) -> CalibrationFile | None:
    """The calibration of the models that ``stored`` was made with.

    Args:
        given: the file to take; by default calibration.h5 beside those models, beside ``stored``, or here. One that was
            made for other models is then left out, with a warning.

    Raises:
        MissingInput, BadArtefact: ``given`` is not there, or a file is damaged.
        StaleArtefact: ``given`` was made for other models.
    """
    inputs = stored.header.inputs
    if given:
        return calibration_of_models(inputs, Path(), given, progress)
    folders = [stored.path.parent, Path()]
    if "inputs" in stored.header.source:
        folders.insert(0, calibration_folder(DetectPaths.from_json(stored.header.source["inputs"])))
    problem: StaleArtefact | None = None
    for folder in dict.fromkeys(folders):
        try:
            found = calibration_of_models(inputs, folder, progress=NoProgress())
        except StaleArtefact as error:
            problem = problem or error
        else:
            if found:
                return found
    if problem and progress:
        progress.warn(f"thresholds are left out: {str(problem).partition(';')[0]}; run spp calibrate again")
    return None


def calibration_folder(paths: DetectPaths) -> Path:
    """Where the calibration of a detector lies by default: beside its file, of several networks in this folder."""
    if paths.network:
        return paths.network.parent
    return paths.models[0].svm.parent if len(paths.models) == 1 else Path()


def uncalibrated_score(inputs: Mapping[str, str]) -> tuple[float, bool]:
    """From which score on a detection counts as an object without calibration; whether scores are probabilities.

    Args:
        inputs: of the header of the detections, or of the models that make them.
    """
    probable = any(kind.split(" ")[0] == "network" for kind in inputs)
    return (NEW_IMAGE_SCORE, True) if probable else (0.0, False)


def _differing(one: Mapping[str, str], other: Mapping[str, str], kinds: tuple[str, ...]) -> str:
    """The first of ``kinds`` of files whose fingerprints differ between two headers; "" if none does."""
    for kind in kinds:
        mine, theirs = ({k: v for k, v in values.items() if k.split(" ")[0] == kind} for values in (one, other))
        if mine != theirs:
            return "network" if kind == "network" else f"{kind}.h5"
    return ""
