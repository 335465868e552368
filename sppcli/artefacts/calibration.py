"""calibration.h5: probabilities and thresholds of a detector, and the detections in held-out images behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sppcli.artefacts.store import Header, create, described, open_artefact
from sppcli.artefacts.validity import checked_values
from sppcli.structures import BoolArray, Calibration, FloatArray, IntArray, ScoreMap


@dataclass(frozen=True)
class HeldOutScores:
    """Detections in images that their detector was not trained on: right or wrong, those on difficult objects left out.
    ``label`` (N,) index into the classes; ``scores`` (N,) float32, by class, best first; ``hits`` (N,) bool whether it
    is right; ``objects`` (K,) objects of each class there were to find.
    """

    label: IntArray
    scores: FloatArray
    hits: BoolArray
    objects: IntArray

    def of_class(self, label: int) -> tuple[FloatArray, BoolArray]:
        """Scores and hits of one class, best first."""
        rows = self.label == label
        return self.scores[rows], self.hits[rows]


@dataclass(frozen=True)
class CalibrationFile:
    """``aim``: what the thresholds were chosen for, as `spp calibrate --at` reads it; ``held_out``: None if packed."""

    path: Path
    header: Header
    calibration: Calibration
    held_out: HeldOutScores | None

    @property
    def aim(self) -> str:
        return str(self.header.config["at"])

    @property
    def min_score(self) -> float:
        """What the detections that it was made from scored above: others have no probability."""
        return float(self.header.config["settings"]["min_score"])


def read_calibration(path: Path) -> CalibrationFile:
    with open_artefact(path, "calibration") as artefact:
        of = checked_values(artefact)
        with described(artefact):
            logit = artefact.header.config["scores"] == "probability"
            for name in ("at", "settings"):
                _ = artefact.header.config[name]
        held = HeldOutScores(of["label"], of["scores"], of["hits"], of["objects"])
        return CalibrationFile(path, artefact.header, calibration_of(of["classes"], of["methods"], of, logit), held)


def arrays_of(calibration: Calibration) -> dict[str, npt.NDArray[Any]]:
    """The numbers of ``calibration`` under the names of `schema`; see `calibration_of`."""
    maps = calibration.maps
    return {
        "thresholds": calibration.thresholds,
        "slopes": np.array([one.slope for one in maps], dtype=np.float64),
        "intercepts": np.array([one.intercept for one in maps], dtype=np.float64),
        "offsets": np.cumsum([0, *(len(one.knots) for one in maps)], dtype=np.int64),
        "knots": np.concatenate([np.zeros((0, 2)), *(one.knots for one in maps)]),
    }


def calibration_of(
    classes: Sequence[str], methods: Sequence[str], arrays: Mapping[str, npt.NDArray[Any]], logit: bool
) -> Calibration:
    """The calibration whose numbers are ``arrays``, as `arrays_of` made them."""
    cuts = arrays["offsets"]
    rows = zip(methods, cuts[:-1], cuts[1:], arrays["slopes"], arrays["intercepts"], strict=True)
    maps = tuple(
        ScoreMap(method, arrays["knots"][first:end], float(slope), float(intercept), logit)
        for method, first, end, slope, intercept in rows
    )
    return Calibration(tuple(classes), maps, arrays["thresholds"])


def write_calibration(path: Path, header: Header, calibration: Calibration, held: HeldOutScores) -> None:
    with create(path, header) as writer:
        writer.strings("classes", calibration.classes)
        writer.strings("methods", [one.method for one in calibration.maps])
        for name, values in arrays_of(calibration).items():
            writer.array(name, values)
        writer.array("objects", held.objects)
        writer.array("label", held.label)
        writer.array("scores", held.scores)
        writer.array("hits", held.hits)
