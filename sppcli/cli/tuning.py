"""The search of `spp tune`: one option after the other, each value trained and evaluated on cached maps.

The trials are the commands themselves, run in a folder of their own, so that a value found here means the same in
``spp.toml``. What has been trained there already is not trained again.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sppcli.cli import chain

if TYPE_CHECKING:
    from sppcli.stages.calibrate import CalibrateSummary

Values = Mapping[str, str]


@dataclass(frozen=True)
class Varied:
    """An option that can be searched: the commands that take it, and the ``usual`` values; none: only if asked for."""

    commands: tuple[str, ...]
    usual: tuple[str, ...] = ()


OPTIONS = {
    "features": Varied(("train-svm", "train-bbox", "detect", "calibrate")),
    "layer": Varied(("train-svm", "train-bbox")),
    "pyramid": Varied(("train-svm", "train-bbox"), ("6,3,2,1", "3,2,1", "2,1", "4,2,1")),
    "flip": Varied(("train-svm", "train-bbox")),
    "jitter": Varied(("train-svm",)),
    "c": Varied(("train-svm",), ("0.001", "0.003", "0.01", "0.03", "0.1")),
    "nms": Varied(("detect",), ("0.2", "0.3", "0.4", "0.5")),
}
"""In the order of the search: what the next ones depend on first."""
GRID = {name: option.usual for name, option in OPTIONS.items() if option.usual}
"""Option -> values to try, unless the user says others."""
FLAGS = {"flip": {"no": (), "yes": ("--flip",)}}
"""Options that are on or off: value -> arguments."""


@dataclass(frozen=True)
class Trial:
    """One set of values and the mAP that it reached on the validation images, the mean over seeds.

    ``spread``: the standard deviation over seeds; None of one seed.
    """

    values: Values
    score: float
    spread: float | None = None


@dataclass(frozen=True)
class Effect:
    """What an option did to mAP while the others stayed: ``points`` of (value, mAP, spread), in the order tried."""

    option: str
    points: tuple[tuple[str, float, float | None], ...]
    chosen: str

    @property
    def size(self) -> float:
        """Between the best and the worst value."""
        scores = [score for _, score, _ in self.points]
        return max(scores) - min(scores)


@dataclass(frozen=True)
class Tuner:
    """Trains on ``train`` and evaluates on ``validation`` by ``protocol``, keeping files in ``folder``.

    With ``folds`` there is no ``validation``: each part of ``train`` is detected in by models of the other parts.
    """

    root: click.Context
    folder: Path
    train: str
    validation: str
    protocol: str
    folds: int = 0
    seeds: tuple[int, ...] = (0,)
    spreads: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)

    def score(self, values: Values) -> float:
        """mAP with ``values``, the mean over the seeds: models are trained, or taken from an earlier trial."""
        scores = [self._folds_score(values, seed) if self.folds else self._score(values, seed) for seed in self.seeds]
        if len(scores) > 1:
            self.spreads[tuple(values.items())] = statistics.stdev(scores)
        return statistics.fmean(scores)

    def spread(self, values: Values) -> float | None:
        return self.spreads.get(tuple(values.items()))

    def _file(self, kind: str, values: Values, seed: int) -> Path:
        """Where what is made of ``values`` is kept, so that a later trial or run finds it."""
        told = "-".join(f"{key}{value}" for key, value in values.items())
        return self.folder / f"{kind}-{re.sub(r'[^A-Za-z0-9.]+', '-', told)}-seed{seed}.h5"

    def _models(self, values: Values, seed: int) -> tuple[Path, Path]:
        """SVMs and box regression of ``values``."""
        made = []
        for command, name in (("train-svm", "svm"), ("train-bbox", "bbox")):
            mine = {key: value for key, value in values.items() if command in OPTIONS[key].commands}
            if not pools(values):
                mine.pop("pyramid")
            path = self._file(name, mine, seed)
            arguments = ("--split", self.train, "--seed", str(seed), *arguments_of(mine), "-o", str(path))
            chain.quietly(self.root, command, arguments)
            made.append(path)
        return made[0], made[1]

    def _score(self, values: Values, seed: int) -> float:
        svm, bbox = self._models(values, seed)
        found = self.folder / "detections.h5"
        mine = {key: value for key, value in values.items() if "detect" in OPTIONS[key].commands}
        arguments = ("--svm", str(svm), "--bbox", str(bbox), *arguments_of(mine), "--split", self.validation)
        chain.quietly(self.root, "detect", [*arguments, "-o", str(found)])
        asked = ("--detections", str(found), "--split", self.validation, f"--{self.protocol}", "--json", "--log", "off")
        return float(json.loads(chain.quietly(self.root, "evaluate", asked))["mAP"])

    def _folds_score(self, values: Values, seed: int) -> float:
        from sppcli.artefacts.calibration import read_calibration
        from sppcli.evaluation.voc_ap import ap_11point, ap_area

        held = read_calibration(self.calibrated(values, seed).path).held_out
        assert held is not None
        aps = []
        for label, objects in enumerate(held.objects.tolist()):
            if objects:
                hits = held.of_class(label)[1]
                measure = ap_11point if self.protocol == "voc2007" else ap_area
                aps.append(measure(hits, ~hits, objects))
        return statistics.fmean(aps)

    def calibrated(self, values: Values, seed: int) -> CalibrateSummary:
        """The threshold of each class for the best F1, and what it gives, on the images that models were not made of.

        Raises:
            as `stages.calibrate.run`.
        """
        from sppcli.detection.models import DetectPaths, ModelPaths
        from sppcli.detection.scoring import DetectSettings
        from sppcli.runtime.options import RunOptions
        from sppcli.stages import calibrate

        svm, bbox = self._models(values, seed)
        detect = chain.steps(self.root, ["detect"])[0].values
        names = ("nms_again", "second_pass", "max_per_image", "min_score")
        settings = DetectSettings(nms=float(values["nms"]), **{name: self._of_detect(detect, name) for name in names})
        features = Path(values.get("features", str(detect["features"])))
        config = calibrate.CalibrateConfig(
            split=None if self.folds else self.validation,
            folds=self.folds or 3,
            seed=seed,
            bbox="file",
            settings=settings,
        )
        paths = DetectPaths(detect["proposals"], (ModelPaths(features, svm, bbox),), None)
        options = RunOptions(device=detect["device"])
        output = self._file("calibration", values, seed)
        return calibrate.run(paths, output, config, dataset=detect["dataset"], options=options)

    @staticmethod
    def _of_detect(values: Mapping[str, Any], name: str) -> Any:
        from sppcli.paper import RECIPES

        given = values.get(name)
        return getattr(RECIPES[values["recipe"]], name) if given is None else given


def pools(values: Values) -> bool:
    """Whether the pyramid is free: fc layers read that of their network."""
    return values.get("layer", "pool5") == "pool5"


def arguments_of(values: Values) -> list[str]:
    """Values as a command takes them."""
    found: list[str] = []
    for name, value in values.items():
        found += FLAGS[name][value] if name in FLAGS else (f"--{name}", value)
    return found


def in_toml(name: str, value: str) -> Any:
    """A value as spp.toml has it."""
    if name in FLAGS:
        return value == "yes"
    if name in ("c", "nms"):
        return float(value)
    return int(value) if name == "jitter" else value


def trials_of(grid: Mapping[str, Sequence[str]]) -> int:
    """Number of trials that `search` makes at most."""
    return 1 + sum(len(values) for values in grid.values())


def search(
    score: Callable[[Values], float],
    start: Values,
    grid: Mapping[str, Sequence[str]],
    tried: Callable[[str, Trial], None],
    spread: Callable[[Values], float | None] = lambda values: None,
) -> Trial:
    """Improve ``start`` one option at a time, and return the best.

    Of equal scores the first stays, so that nothing changes without a gain. ``tried`` is told of each trial and the
    option it varies.
    """

    def trial_of(values: Values) -> Trial:
        return Trial(values, score(values), spread(values))

    best = trial_of(start)
    tried("", best)
    for option, values in grid.items():
        for value in values:
            if value == best.values[option] or (option == "pyramid" and not pools(best.values)):
                continue
            trial = trial_of({**best.values, option: value})
            tried(option, trial)
            if trial.score > best.score:
                best = trial
    return best


def effects(rows: Iterable[tuple[str, Trial]]) -> list[Effect]:
    """What each option that was varied did, the largest first; ``rows`` of `search`, in its order.

    All trials of an option differ in nothing else: what was best before, and the values tried since.
    """
    found: dict[str, dict[str, Trial]] = {}
    best: Trial | None = None
    for option, trial in rows:
        if option and best:
            tried = found.setdefault(option, {best.values[option]: best})
            tried[trial.values[option]] = trial
        if best is None or trial.score > best.score:
            best = trial
    made = []
    for option, trials in found.items():
        points = tuple((value, trial.score, trial.spread) for value, trial in trials.items())
        chosen = max(trials.values(), key=lambda trial: trial.score).values[option]
        made.append(Effect(option, points, chosen))
    return sorted(made, key=lambda effect: -effect.size)
