"""One linear SVM on one set of samples, with the release's loss, weights and bias; and many on the same samples."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from sppcli.paper import DEFAULT
from sppcli.structures import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from sklearn.svm import LinearSVC

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SvmSettings:
    """Minimises 1/2 |w|^2 + 1/2 (b / bias_feature)^2 + c (positive_weight * sum of positives' hinge + negatives').

    ``tolerance``: liblinear's stopping criterion; ``max_sweeps``: the most passes over the samples.
    """

    c: float = DEFAULT.c
    positive_weight: float = DEFAULT.positive_weight
    bias_feature: float = DEFAULT.bias_feature
    tolerance: float = 0.001
    max_sweeps: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class LinearModel:
    """Score of x: ``weights @ x + bias``. ``converged`` is False when the sweeps ran out."""

    weights: FloatArray
    bias: float
    converged: bool = True


def fit_svm(samples: npt.NDArray[np.floating], positive: BoolArray, settings: SvmSettings) -> LinearModel:
    """Train scikit-learn's LinearSVC on ``samples`` (N, D), any float type, with ``positive`` (N,) bool.

    Golden case ``svm``. liblinear takes float64, of which a copy is made here, and keeps 16 bytes for each number that
    is not 0: `learn.budget.TRAINED` counts both. Not to be run in several threads of a process: liblinear shuffles with
    one generator for all, so that the result would depend on the others; see `fit_svms`.

    Raises:
        ValueError: only one of the two kinds of samples, or samples that are not finite numbers.
    """
    _both_kinds(positive)
    model, converged = _solve(samples.astype(np.float64, copy=False), positive, settings)
    return LinearModel(model.coef_[0].astype(np.float32), float(model.intercept_[0]), converged)


@dataclass(frozen=True)
class Problem:
    """The samples of one SVM: ``positives`` (P, D) and ``negatives`` (N, D), any float type."""

    positives: npt.NDArray[np.floating]
    negatives: npt.NDArray[np.floating]

    def fit(self, settings: SvmSettings) -> LinearModel:
        samples = np.empty((len(self.positives) + len(self.negatives), self.positives.shape[1]), np.float64)
        samples[: len(self.positives)] = self.positives
        samples[len(self.positives) :] = self.negatives
        return fit_svm(samples, np.arange(len(samples)) < len(self.positives), settings)


def fit_svms(problems: Sequence[Problem], settings: SvmSettings, processes: int = 1) -> Iterator[LinearModel]:
    """Train the models of ``problems`` and yield them in order; they do not depend on the number of ``processes``."""
    if processes == 1:
        yield from (problem.fit(settings) for problem in problems)
        return
    from joblib import Parallel, delayed

    # joblib hands large arrays over in memory that all processes map.
    pool = Parallel(processes, return_as="generator")
    yield from pool(delayed(Problem.fit)(problem, settings) for problem in problems)


@dataclass(frozen=True)
class SpaceModel:
    """Score of row i of a `SampleSpace`: ``points[i] @ direction + bias``; ``direction`` is float64."""

    direction: Float64
    bias: float
    converged: bool


class SampleSpace:
    """Samples (N, D) in coordinates fit for training, worked out once for any number of SVMs on them or some of them.

    ``points`` (N, M) float64: the samples themselves, or with fewer samples than dimensions the factor L of their inner
    products (M = N): with K = X X^T = L L^T, training on the rows of L has the same optimum as on those of X, and
    w = X^T L^-T v. What is trained on some rows scores all the others too. That pays for many trainings on the same
    samples (`learn.probe`: classes times folds times values of C); one alone is faster by `fit_svm`.
    """

    def __init__(self, samples: npt.NDArray[np.floating]) -> None:
        self._samples = samples
        self._spanned = len(samples) < samples.shape[1]
        self.points: Float64 = _span(samples) if self._spanned else samples.astype(np.float64)

    def fit(self, positive: BoolArray, settings: SvmSettings, rows: IntArray | None = None) -> SpaceModel:
        """Train on ``rows`` (all by default); ``positive`` (bool) says for each row whether it is a positive.

        Raises:
            ValueError: only one of the two kinds of samples.
        """
        _both_kinds(positive)
        model, converged = _solve(self.points if rows is None else self.points[rows], positive, settings)
        return SpaceModel(model.coef_[0], float(model.intercept_[0]), converged)

    def weights(self, directions: Float64) -> FloatArray:
        """``directions`` (K, M) as weights (K, D) float32 on the samples' own numbers."""
        if not self._spanned:
            return directions.astype(np.float32)
        combination = scipy.linalg.solve_triangular(
            self.points, directions.T, trans="T", lower=True, check_finite=False
        ).T
        weights = np.zeros((len(directions), self._samples.shape[1]), dtype=np.float64)
        for start in range(0, len(self._samples), 1024):
            block = slice(start, start + 1024)
            weights += combination[:, block] @ self._samples[block].astype(np.float64)
        return weights.astype(np.float32)


def _both_kinds(positive: BoolArray) -> None:
    if positive.all() or not positive.any():
        raise ValueError("an SVM needs both positive and negative samples")


def _solve(samples: Float64, positive: BoolArray, settings: SvmSettings) -> tuple[LinearSVC, bool]:
    # scikit-learn takes a second or more to import, for which a model that is up to date need not wait.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    model = LinearSVC(
        C=settings.c,
        loss="hinge",
        dual=True,
        class_weight={0: 1.0, 1: settings.positive_weight},
        intercept_scaling=settings.bias_feature,
        tol=settings.tolerance,
        max_iter=settings.max_sweeps,
        random_state=settings.seed,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(samples, positive.astype(np.int64))
    return model, not any(issubclass(item.category, ConvergenceWarning) for item in caught)


def _span(samples: npt.NDArray[np.floating]) -> Float64:
    """Lower-triangular L (N, N) with L L^T = X X^T, but for a millionth of its mean diagonal against dependent rows."""
    n = len(samples)
    for kind in (np.float32, np.float64):
        gram = np.empty((n, n), dtype=np.float64)
        block = 2048
        for i in range(0, n, block):
            left: Any = samples[i : i + block].astype(kind, copy=False)
            for j in range(0, i + 1, block):
                right = left if i == j else samples[j : j + block].astype(kind, copy=False)
                gram[i : i + block, j : j + block] = left @ right.T
        gram[np.diag_indices(n)] += 1e-6 * np.trace(gram) / n
        try:
            # Only the lower triangle is read, and overwritten by the factor.
            lower: Float64 = scipy.linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            # Samples so much alike that float32's rounding outweighs what was added are factored again in float64.
            continue
        return lower
    raise ValueError("the samples are not finite numbers")
