"""The search of `spp tune`: one option after the other, each value trained and evaluated on cached maps.

The trials are the commands themselves, run in a folder of their own, so that a value found here means the same in
``spp.toml``. What has been trained there already is not trained again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from sppcli.cli import chain

Values = Mapping[str, str]

GRID = {
    "pyramid": ("6,3,2,1", "3,2,1", "2,1", "4,2,1"),
    "c": ("0.001", "0.003", "0.01", "0.03", "0.1"),
    "nms": ("0.2", "0.3", "0.4", "0.5"),
}
"""Option -> values to try, in the order of the search: what the next ones depend on first."""
SECTIONS = {"pyramid": ("train-svm", "train-bbox"), "c": ("train-svm",), "nms": ("detect",)}
"""Option -> sections of spp.toml that it stands in."""


@dataclass(frozen=True)
class Trial:
    """One set of values and the mAP that it reached on the validation split."""

    values: Values
    score: float


@dataclass(frozen=True)
class Tuner:
    """Trains on ``train`` and evaluates on ``validation`` by ``protocol``, keeping files in ``folder``."""

    root: click.Context
    folder: Path
    train: str
    validation: str
    protocol: str

    def score(self, values: Values) -> float:
        """mAP with ``values``: SVMs and box regression are trained, or taken from an earlier trial."""
        levels = values["pyramid"].replace(",", "-")
        svm = self.folder / f"svm-{levels}-c{values['c']}.h5"
        bbox = self.folder / f"bbox-{levels}.h5"
        found = self.folder / "detections.h5"
        train = ("--split", self.train, "--pyramid", values["pyramid"])
        chain.quietly(self.root, "train-svm", [*train, "--c", values["c"], "-o", str(svm)])
        chain.quietly(self.root, "train-bbox", [*train, "-o", str(bbox)])
        models = ("--svm", str(svm), "--bbox", str(bbox), "--nms", values["nms"])
        chain.quietly(self.root, "detect", [*models, "--split", self.validation, "-o", str(found)])
        arguments = [
            "--detections",
            str(found),
            "--split",
            self.validation,
            f"--{self.protocol}",
            "--json",
            "--log",
            "off",
        ]
        return float(json.loads(chain.quietly(self.root, "evaluate", arguments))["mAP"])


def trials_of(grid: Mapping[str, Sequence[str]]) -> int:
    """Number of trials that `search` makes at most."""
    return 1 + sum(len(values) for values in grid.values())


def search(
    score: Callable[[Values], float],
    start: Values,
    grid: Mapping[str, Sequence[str]],
    tried: Callable[[str, Trial], None],
) -> Trial:
    """Improve ``start`` one option at a time, and return the best.

    Of equal scores the first stays, so that nothing changes without a gain. ``tried`` is told of each trial and the
    option it varies.
    """
    best = Trial(start, score(start))
    tried("", best)
    for option, values in grid.items():
        for value in values:
            if value == best.values[option]:
                continue
            trial = Trial({**best.values, option: value}, 0.0)
            trial = Trial(trial.values, score(trial.values))
            tried(option, trial)
            if trial.score > best.score:
                best = trial
    return best
