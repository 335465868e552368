"""Ridge regression of whitened box targets (R-CNN, appendix C; golden case ``bbox_reg``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from sppcli.structures import FloatArray

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BoxRegressor:
    """Targets of x: ``(weights @ x + bias) @ unwhiten + mean``; dx/w, dy/h, log dw, log dh."""

    weights: FloatArray
    bias: FloatArray
    unwhiten: FloatArray
    mean: FloatArray

    def targets(self, features: FloatArray) -> FloatArray:
        """(N, 4) float32 of ``features`` (N, D)."""
        white = features @ self.weights.T + self.bias
        return np.asarray(white @ self.unwhiten + self.mean, dtype=np.float32)


def fit_box_regressor(features: npt.NDArray[np.floating], targets: Float64, ridge: float) -> BoxRegressor:
    """Fit to ``features`` (N, D), any float type, and ``targets`` (N, 4) as `geometry.regression.encode` makes them.

    Targets are centred and decorrelated: T = V diag(1 / sqrt(e + 0.001)) V^T of their covariance (divided by N). A
    constant feature of 1 learns the bias and is penalised with the rest; ``ridge`` multiplies the plain sum of squares.
    Solved over the smaller of the two sides of the feature matrix, by Cholesky, in float64.
    """
    mean = targets.mean(axis=0)
    centred = targets - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(targets))
    whiten = vectors @ np.diag(1 / np.sqrt(values + 0.001)) @ vectors.T
    unwhiten = vectors @ np.diag(np.sqrt(values + 0.001)) @ vectors.T
    white = centred @ whiten
    n, dimensions = features.shape
    if n > dimensions:
        system = np.zeros((dimensions + 1, dimensions + 1))
        right = np.zeros((dimensions + 1, 4))
        for start in range(0, n, 1024):
            block = _with_constant(features[start : start + 1024])
            system += block.T @ block
            right += block.T @ white[start : start + 1024]
        solution = _solve(system, right, ridge)
    else:
        combination = _solve(_gram(features), white, ridge)
        solution = np.zeros((dimensions + 1, 4))
        for start in range(0, n, 1024):
            solution += _with_constant(features[start : start + 1024]).T @ combination[start : start + 1024]
    return BoxRegressor(
        np.ascontiguousarray(solution[:-1].T, dtype=np.float32),
        solution[-1].astype(np.float32),
        unwhiten.astype(np.float32),
        mean.astype(np.float32),
    )


def _gram(features: npt.NDArray[np.floating]) -> Float64:
    """(X 1)(X 1)^T by blocks, lower triangle only."""
    n = len(features)
    gram = np.zeros((n, n))
    single = features.astype(np.float32, copy=False)
    block = 2048
    for i in range(0, n, block):
        for j in range(0, i + 1, block):
            gram[i : i + block, j : j + block] = single[i : i + block] @ single[j : j + block].T + np.float32(1)
    return gram


def _solve(system: Float64, right: Float64, ridge: float) -> Float64:
    system[np.diag_indices(len(system))] += ridge
    factor = scipy.linalg.cholesky(system, lower=True, overwrite_a=True, check_finite=False)
    solved: Float64 = scipy.linalg.cho_solve((factor, True), right, check_finite=False)
    return solved


def _with_constant(rows: npt.NDArray[np.floating]) -> Float64:
    return np.concatenate([rows.astype(np.float64), np.ones((len(rows), 1))], axis=1)
