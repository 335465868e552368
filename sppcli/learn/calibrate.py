"""Probabilities from scores: isotonic regression where a class has many hits, Platt's sigmoid where it has few.

Isotonic regression (Zadrozny and Elkan 2002) finds the best map that never falls, whatever its shape, and needs data
for it; Platt's method (Platt 1999) fits the two numbers of a sigmoid. Both are scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from sppcli.evaluation.operating_point import Aim, Figures, Matched, choose_threshold, figures, together
from sppcli.structures import BoolArray, Calibration, Floats, ScoreMap

ISOTONIC, SIGMOID, CONSTANT, SHARED = "isotonic", "sigmoid", "constant", "shared"
ISOTONIC_FROM = 1000
"""From this many hits, and as many misses, on isotonic regression is fitted.

scikit-learn's guide names that number, and on BCCD with 900 hits the sigmoid is the better one (docs/performance.md).
"""
FEWEST = 5
"""With fewer hits or misses than this a class has no map of its own."""


@dataclass(frozen=True)
class Calibrated:
    """What `calibrate` found.

    ``overall``: the probability above which all classes together serve the aim best; ``figures``: of each class at its
    threshold, on the detections that it was chosen on; ``all_figures``: of all classes at ``overall``; ``unreached``:
    classes that the aim cannot be reached for.
    """

    calibration: Calibration
    overall: float
    figures: tuple[Figures, ...]
    all_figures: Figures
    unreached: tuple[str, ...]


def calibrate(found: Mapping[str, Matched], aim: Aim, *, logit: bool = False) -> Calibrated:
    """Fit probabilities and choose thresholds for all classes.

    A class with too few hits or misses for a map of its own has that of all classes' detections, and is shown from the
    probability ``overall`` on.

    Args:
        found: of each class, in the order of the detector's labels, its detections in images held out.
        logit: see `fit_score_map`.
    """
    classes = list(found.values())
    every = together(classes, [np.asarray(one.scores, dtype=np.float64) for one in classes])
    share = float(every.hits.mean()) if len(every.hits) else 0.0
    shared = replace(fit_score_map(every.scores, every.hits, logit=logit) or constant_map(share), method=SHARED)
    own = [fit_score_map(one.scores, one.hits, logit=logit) for one in classes]
    maps = [one or shared for one in own]
    likely = together(classes, [one(matched.scores) for one, matched in zip(maps, classes, strict=True)])
    overall, _ = choose_threshold(likely, aim)
    thresholds, unreached = [], []
    for name, score_map, matched in zip(found, own, classes, strict=True):
        threshold, reached = choose_threshold(matched, aim)
        if score_map is None:
            # Just below the least score of any class that is likely enough.
            least = shared.lowest(overall, every.scores)
            threshold, reached = (float(np.nextafter(least, -np.inf)) if np.isfinite(least) else least), True
        thresholds.append(threshold)
        unreached += [] if reached else [name]
    at = tuple(figures(matched, threshold) for matched, threshold in zip(classes, thresholds, strict=True))
    calibration = Calibration(tuple(found), tuple(maps), np.array(thresholds, dtype=np.float64))
    return Calibrated(calibration, overall, at, figures(likely, overall), tuple(unreached))


def fit_score_map(scores: Floats, hits: BoolArray, *, logit: bool = False) -> ScoreMap | None:
    """Fit the map from ``scores`` (N,) of detections that were not trained on to the probability of being a hit.

    Args:
        hits: (N,) whether each was one.
        logit: the scores are probabilities, whose log-odds the sigmoid takes.

    Returns None where there are too few of either to fit anything, or where higher scores are no likelier hits.
    """
    right = int(hits.sum())
    least = min(right, len(hits) - right)
    if least < FEWEST:
        return None
    return _isotonic(scores, hits) if least >= ISOTONIC_FROM else _sigmoid(scores, hits, logit)


def constant_map(share: float) -> ScoreMap:
    """Every score has the probability ``share``."""
    return ScoreMap(CONSTANT, np.array([[0.0, share]]))


def _isotonic(scores: Floats, hits: BoolArray) -> ScoreMap:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0.0, y_max=1.0, increasing=True, out_of_bounds="clip")
    model.fit(np.asarray(scores, dtype=np.float64), hits.astype(np.float64))
    return ScoreMap(ISOTONIC, np.stack([model.X_thresholds_, model.y_thresholds_], axis=1))


def _sigmoid(scores: Floats, hits: BoolArray, logit: bool) -> ScoreMap | None:
    from sklearn.linear_model import LogisticRegression

    values = np.asarray(scores, dtype=np.float64)
    if logit:
        inside = np.clip(values, 1e-7, 1 - 1e-7)
        values = np.log(inside / (1 - inside))
    right = int(hits.sum())
    # Platt's targets are a little inside 0 and 1: each sample stands as a hit and as a miss, weighted by its target.
    target = np.where(hits, (right + 1) / (right + 2), 1 / (len(hits) - right + 2))
    both = np.concatenate([values, values])[:, None]
    labels = np.repeat([1, 0], len(values))
    model = LogisticRegression(C=1e6, max_iter=1000).fit(both, labels, np.concatenate([target, 1 - target]))
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return ScoreMap(SIGMOID, np.zeros((0, 2)), slope, intercept, logit) if slope > 0 else None
