"""Ridge regression of whitened box targets (R-CNN, appendix C; golden case ``bbox_reg``).

The same solution has two forms. `NormalEquations` sum X^T X and X^T Y as examples stream by: (D + 1)^2 float64
whatever their number N, N D^2 / 2 multiply-adds and D^3 / 6 for the factor. `HeldExamples` keep features in float16,
2 N D bytes, and solve over their N x N inner products: less work and memory where N <= D. `plan_ridge` chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from sppcli.structures import FloatArray

Float64 = npt.NDArray[np.float64]

# How many rows are multiplied at a time, and how many columns of the products are made at a time.
_BLOCK = 1024

MINIMUM_EXAMPLES = 10
"""From fewer examples a regressor of thousands of numbers learns nothing."""


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


class Moments:
    """Accumulates count, sum (4,) and products (4, 4) of targets."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Float64 = np.zeros(4)
        self.products: Float64 = np.zeros((4, 4))

    def add(self, targets: Float64) -> None:
        """``targets`` (N, 4) as `geometry.regression.encode` makes them."""
        self.count += len(targets)
        self.total += targets.sum(axis=0)
        self.products += targets.T @ targets

    def error(self) -> float:
        """Root mean square of all targets: the error of uncorrected boxes."""
        return float(np.sqrt(np.trace(self.products) / (4 * self.count)))


class Whitening:
    """Targets centred and decorrelated: T = V diag(1 / sqrt(e + 0.001)) V^T of their covariance (divided by N)."""

    def __init__(self, moments: Moments) -> None:
        self.mean: Float64 = moments.total / moments.count
        covariance = moments.products / moments.count - np.outer(self.mean, self.mean)
        values, vectors = np.linalg.eigh(covariance)
        # Rounding may leave a tiny negative number where the targets do not vary.
        values = np.maximum(values, 0)
        self.whiten: Float64 = vectors @ np.diag(1 / np.sqrt(values + 0.001)) @ vectors.T
        self.unwhiten: Float64 = vectors @ np.diag(np.sqrt(values + 0.001)) @ vectors.T

    def apply(self, targets: Float64) -> Float64:
        """Whitened ``targets`` (N, 4)."""
        white: Float64 = (targets - self.mean) @ self.whiten
        return white

    def regressor(self, solution: Float64) -> BoxRegressor:
        """Make the regressor of the solution (D + 1, 4) for whitened targets, with the constant's weights last."""
        return BoxRegressor(
            np.ascontiguousarray(solution[:-1].T, dtype=np.float32),
            solution[-1].astype(np.float32),
            self.unwhiten.astype(np.float32),
            self.mean.astype(np.float32),
        )

    def error(self, residuals: Float64, count: int) -> float:
        """Root mean square of the residuals, from the products (4, 4) of the whitened ones."""
        left = np.trace(self.unwhiten.T @ residuals @ self.unwhiten) / (4 * count)
        return float(np.sqrt(max(left, 0.0)))


class NormalEquations:
    """Accumulates X^T X and X^T Y of examples, with a constant feature of 1 last: (D + 1)^2 float64.

    Products of a block of rows are made in ``kind``, float32 or float64, and summed in float64.
    """

    def __init__(self, dimensions: int, kind: Any = np.float32) -> None:
        self._size = dimensions + 1
        # The lower triangle is filled.
        self._system: Float64 = np.zeros((self._size, self._size))
        self._right: Float64 = np.zeros((self._size, 4))
        self._squares: Float64 = np.zeros((4, 4))
        self._rows = np.ones((_BLOCK, self._size), dtype=kind)
        self._white: Float64 = np.zeros((_BLOCK, 4))
        self._waiting = 0

    def add(self, features: npt.NDArray[np.floating], white: Float64) -> None:
        """``features`` (N, D), any float type, and whitened targets (N, 4)."""
        start = 0
        while start < len(features):
            count = min(len(features) - start, _BLOCK - self._waiting)
            place, part = slice(self._waiting, self._waiting + count), slice(start, start + count)
            self._rows[place, :-1] = features[part]
            self._white[place] = white[part]
            self._waiting += count
            start += count
            if self._waiting == _BLOCK:
                self._sum()

    def _sum(self) -> None:
        rows, white = self._rows[: self._waiting], self._white[: self._waiting]
        for j in range(0, self._size, _BLOCK):
            columns, below = slice(j, j + _BLOCK), slice(j + _BLOCK, None)
            # numpy computes one triangle of an array's product with itself (BLAS's syrk) and mirrors it.
            self._system[columns, columns] += rows[:, columns].T @ rows[:, columns]
            self._system[below, columns] += rows[:, below].T @ rows[:, columns]
        self._right += rows.T @ white.astype(rows.dtype)
        self._squares += white.T @ white
        self._waiting = 0

    def solve(self, ridge: float) -> tuple[Float64, Float64]:
        """Return the solution (D + 1, 4) and the products (4, 4) of its residuals; the sums are overwritten."""
        self._sum()
        solution = _solve(self._system, self._right, ridge)
        # With (X^T X + ridge) B = R, the residuals' products Y^T Y - 2 R^T B + B^T X^T X B become this.
        return solution, self._squares - self._right.T @ solution - ridge * solution.T @ solution


class HeldExamples:
    """Up to ``count`` examples with their features in float16, solved over their inner products."""

    def __init__(self, dimensions: int, count: int, kind: Any = np.float16) -> None:
        self._features = np.empty((count, dimensions), dtype=kind)
        self._white: Float64 = np.empty((count, 4))
        self._held = 0

    def add(self, features: npt.NDArray[np.floating], white: Float64) -> None:
        """As `NormalEquations.add`."""
        place = slice(self._held, self._held + len(features))
        self._features[place] = features
        self._white[place] = white
        self._held += len(features)

    def solve(self, ridge: float) -> tuple[Float64, Float64]:
        """As `NormalEquations.solve`."""
        features = self._features[: self._held]
        combination = _solve(_gram(features), self._white[: self._held], ridge)
        solution = np.zeros((features.shape[1] + 1, 4))
        for start in range(0, len(features), _BLOCK):
            part = combination[start : start + _BLOCK]
            solution[:-1] += features[start : start + _BLOCK].astype(np.float32).T @ part.astype(np.float32)
            solution[-1] += part.sum(axis=0)
        # Y - K a = ridge a.
        return solution, ridge**2 * combination.T @ combination


def fit_box_regressor(features: npt.NDArray[np.floating], targets: Float64, ridge: float) -> BoxRegressor:
    """Fit to ``features`` (N, D), any float type, and ``targets`` (N, 4) as `geometry.regression.encode` makes them.

    Targets are whitened. A constant feature of 1 learns the bias and is penalised with the rest; ``ridge`` multiplies
    the plain sum of squares. Solved over the smaller of the two sides of the feature matrix, by Cholesky, in float64.
    """
    moments = Moments()
    moments.add(targets)
    whitening = Whitening(moments)
    count, dimensions = features.shape
    system = (
        NormalEquations(dimensions, np.float64)
        if count > dimensions
        else HeldExamples(dimensions, count, features.dtype)
    )
    system.add(features, whitening.apply(targets))
    return whitening.regressor(system.solve(ridge)[0])


@dataclass(frozen=True)
class RidgePlan:
    """Whether each class's normal equations are accumulated, and how many of its examples are used."""

    summed: tuple[bool, ...]
    used: tuple[int, ...]

    def system(self, label: int, dimensions: int) -> NormalEquations | HeldExamples:
        """Make the system that takes the examples of class ``label``."""
        return NormalEquations(dimensions) if self.summed[label] else HeldExamples(dimensions, self.used[label])


def plan_ridge(counts: Sequence[int], dimensions: int, memory: int) -> RidgePlan:
    """Choose the form of each class, which has ``counts`` examples, within ``memory`` bytes for all.

    Classes with more examples than dimensions are accumulated and use every example. The largest come first, as long as
    the memory that is left suffices for the others or is half of all. The examples of the other classes are held. Where
    there is no room for all of these, each class has at most an equal part, which is drawn.
    """
    large = sorted((k for k, count in enumerate(counts) if count > dimensions), key=lambda k: (-counts[k], k))
    one = (dimensions + 1) ** 2 * 8 + _BLOCK * (dimensions + 1) * 8
    rest = list(range(len(counts)))
    summed: list[int] = []
    left = memory
    for size in range(len(large), -1, -1):
        summed = large[:size]
        rest = [k for k in range(len(counts)) if k not in summed]
        left = memory - size * one
        if left >= min(_held_bytes(counts, rest, dimensions, max(counts, default=0)), memory // 2):
            break
    low, high = MINIMUM_EXAMPLES, max(MINIMUM_EXAMPLES, *counts)
    while low < high:
        middle = (low + high + 1) // 2
        if _held_bytes(counts, rest, dimensions, middle) <= left:
            low = middle
        else:
            high = middle - 1
    used = [count if k in summed else min(count, low) for k, count in enumerate(counts)]
    return RidgePlan(tuple(k in summed for k in range(len(counts))), tuple(used))


def _held_bytes(counts: Sequence[int], classes: Sequence[int], dimensions: int, share: int) -> int:
    """Bytes of up to ``share`` examples per class, the inner products of one class, and two blocks in
    multiplication."""
    numbers = [min(counts[k], share) for k in classes]
    if not numbers:
        return 0
    largest = max(numbers)
    return 2 * dimensions * sum(numbers) + 8 * largest**2 + 8 * min(largest, _BLOCK) * dimensions


def _gram(features: npt.NDArray[np.floating]) -> Float64:
    """Compute (X 1)(X 1)^T by blocks, the lower triangle only."""
    n = len(features)
    gram = np.zeros((n, n))
    for i in range(0, n, _BLOCK):
        left = features[i : i + _BLOCK].astype(np.float32, copy=False)
        for j in range(0, i, _BLOCK):
            right = features[j : j + _BLOCK].astype(np.float32, copy=False)
            gram[i : i + _BLOCK, j : j + _BLOCK] = left @ right.T
        gram[i : i + _BLOCK, i : i + _BLOCK] = left @ left.T
        gram[i : i + _BLOCK, : i + _BLOCK] += 1
    return gram


def _solve(system: Float64, right: Float64, ridge: float) -> Float64:
    """Solve (system + ridge) x = right from the lower triangle of ``system``, which its factor overwrites."""
    system[np.diag_indices(len(system))] += ridge
    # LAPACK has columns where numpy has rows: the transpose is the same memory, with the upper triangle.
    factor, failed = lapack.dpotrf(system.T, lower=0, clean=0, overwrite_a=1)
    if failed:
        raise np.linalg.LinAlgError("the examples are not finite numbers, or --ridge is too small for them")
    solved: Float64 = lapack.dpotrs(factor, right, lower=0)[0]
    return solved
