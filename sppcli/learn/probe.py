"""One-vs-rest linear SVMs on one set of samples, and the choice of their C by cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sppcli.learn.svm import SampleSpace, SvmSettings
from sppcli.structures import FloatArray, IntArray

Labels = npt.NDArray[np.int8]
Float64 = npt.NDArray[np.float64]
Measure = Callable[[Float64, Labels], float]
"""A measure of scores (N, K) against labels (N, K); higher is better."""

GRID = (0.01, 0.1, 1.0, 10.0, 100.0)
FOLDS = 3
SETTINGS = SvmSettings(positive_weight=1.0, bias_feature=1.0, tolerance=0.01)
"""Settings for samples of mean length 1: the weight of positives and the bias feature have no effect."""


@dataclass(frozen=True)
class LinearProbe:
    """Scores of x (N, D): ``x @ weights.T + biases``; ``weights`` (K, D), ``biases`` (K,), float32.

    ``unconverged``: classes (indices) whose training ran out of sweeps.
    """

    weights: FloatArray
    biases: FloatArray
    unconverged: tuple[int, ...]

    def scores(self, samples: FloatArray) -> FloatArray:
        return np.asarray(samples @ self.weights.T + self.biases, dtype=np.float32)


def fit_probe(space: SampleSpace, labels: Labels, settings: SvmSettings) -> LinearProbe:
    """Train one SVM per class on all samples of ``space``.

    ``labels`` (N, K) int8: 1 for positives, -1 for negatives; samples of 0 are left out of that class. A class without
    one of the two kinds gets no weights and a bias of its only side.
    """
    directions, biases, unconverged = _fit(space, labels, settings, np.arange(len(labels)))
    return LinearProbe(space.weights(directions), biases.astype(np.float32), unconverged)


def choose_c(
    space: SampleSpace,
    labels: Labels,
    measure: Measure,
    settings: SvmSettings,
    seed: int,
    grid: Sequence[float] = GRID,
    folds: int = FOLDS,
    done: Callable[[], None] = lambda: None,
) -> tuple[float, dict[float, float]]:
    """Choose the C of ``grid`` with the best mean of ``measure`` over held-out folds; returns it with all means.

    Of equal ones the smallest C is taken. Folds are drawn by ``seed``, as even as they can be in each class. The
    samples' space serves every fold. ``done`` is called after each training of all classes, ``len(grid) * folds``
    times.
    """
    fold = _folds(labels, folds, seed)
    means: dict[float, float] = {}
    for c in sorted(grid):
        values = []
        for held in range(folds):
            directions, biases, _ = _fit(space, labels, replace(settings, c=c), np.flatnonzero(fold != held))
            rows = np.flatnonzero(fold == held)
            values.append(measure(space.points[rows] @ directions.T + biases, labels[rows]))
            done()
        means[c] = float(np.mean(values))
    return max(means, key=lambda c: (means[c], -c)), means


def _fit(
    space: SampleSpace, labels: Labels, settings: SvmSettings, rows: IntArray
) -> tuple[Float64, Float64, tuple[int, ...]]:
    directions = np.zeros((labels.shape[1], space.points.shape[1]))
    biases = np.zeros(labels.shape[1])
    unconverged = []
    for label in range(labels.shape[1]):
        used = rows[labels[rows, label] != 0]
        positive = labels[used, label] > 0
        if positive.any() and not positive.all():
            model = space.fit(positive, settings, used)
            directions[label], biases[label] = model.direction, model.bias
            if not model.converged:
                unconverged.append(label)
        else:
            biases[label] = 1.0 if positive.any() else -1.0
    return directions, biases, tuple(unconverged)


def _folds(labels: Labels, folds: int, seed: int) -> IntArray:
    """Fold (N,) of each sample; the samples of a class (the first one shown) are dealt out in turn, in random order."""
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(np.argmax(labels[order], axis=1), kind="stable")]
    fold = np.empty(len(labels), dtype=np.int64)
    fold[by_class] = np.arange(len(labels)) % folds
    return fold
