"""Dual coordinate descent for a linear SVM with hinge loss, compiled: liblinear's algorithm on rows of float32.

Hsieh, Chang, Lin, Keerthi, Sundararajan, "A Dual Coordinate Descent Method for Large-scale Linear SVM" (ICML 2008),
with its shrinking and its stopping rule. liblinear itself, through scikit-learn, takes a float64 copy of dense samples
and 16 bytes more a number; here the samples are read where they lie. The GIL is released meanwhile.

Counting: a visit of a row reads its D numbers, 4 D bytes, so that a training takes visits * 4 D bytes over the rate at
which the memory gives them. The inner products of all pairs, N^2 D / 2 multiply-adds, would cost several times that.
Starting where an earlier training on some of the samples ended was tried: on mined windows it saved from nothing to a
third of the visits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sppcli.compiled import njit
from sppcli.structures import BoolArray, FloatArray

Float64 = npt.NDArray[np.float64]

# Sums may be taken in another order, several numbers at a time; NaN and infinity stay what they are.
_SUMS = {"reassoc", "contract", "nsz"}


@njit(fastmath=_SUMS)
def _dot(row: npt.NDArray[np.floating], weights: Float64) -> float:
    total = 0.0
    for j in range(len(row)):
        total += row[j] * weights[j]
    return total


@njit(fastmath=_SUMS)
def _square(row: npt.NDArray[np.floating]) -> float:
    total = 0.0
    for j in range(len(row)):
        total += np.float64(row[j]) * row[j]
    return total


@njit(fastmath=_SUMS)
def _add(weights: Float64, factor: float, row: npt.NDArray[np.floating]) -> None:
    for j in range(len(row)):
        weights[j] += factor * row[j]


@njit()
def _descend(
    samples: npt.NDArray[np.floating],
    signs: Float64,
    upper: Float64,
    constant: float,
    weights: Float64,
    tolerance: float,
    max_sweeps: int,
    seed: int,
) -> tuple[float, int, int]:
    """Changes ``weights`` in place; the weight of the constant, sweeps and visits (-1: not finite)."""
    n = len(samples)
    # Knuth's linear congruential generator (MMIX): its upper bits draw the order of the rows.
    state = np.uint64(seed)
    squares = np.empty(n)
    bias = 0.0
    for i in range(n):
        squares[i] = constant * constant + _square(samples[i])
        if not np.isfinite(squares[i]):
            return 0.0, 0, -1
    alphas = np.zeros(n)
    order = np.arange(n)
    active = n
    visits = 0
    # The largest and least projected gradient of the sweep before: what lies outside is set aside.
    highest, lowest = np.inf, -np.inf
    for sweep in range(max_sweeps):
        for k in range(active):
            state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
            other = k + np.int64((state >> np.uint64(33)) % np.uint64(active - k))
            order[k], order[other] = order[other], order[k]
        new_highest, new_lowest = -np.inf, np.inf
        k = 0
        while k < active:
            i = order[k]
            visits += 1
            gradient = signs[i] * (_dot(samples[i], weights) + constant * bias) - 1.0
            at_zero, at_upper = alphas[i] == 0.0, alphas[i] == upper[i]
            if (at_zero and gradient > highest) or (at_upper and gradient < lowest):
                active -= 1
                order[k], order[active] = order[active], order[k]
                continue
            projected = gradient
            if (at_zero and gradient > 0.0) or (at_upper and gradient < 0.0):
                projected = 0.0
            new_highest, new_lowest = max(new_highest, projected), min(new_lowest, projected)
            if abs(projected) > 1e-12:
                changed = min(max(alphas[i] - gradient / squares[i], 0.0), upper[i])
                step = (changed - alphas[i]) * signs[i]
                alphas[i] = changed
                _add(weights, step, samples[i])
                bias += step * constant
            k += 1
        if active == 0 or new_highest - new_lowest <= tolerance:
            if active == n:
                return bias, sweep + 1, visits
            # Once more over all, those set aside too.
            active = n
            highest, lowest = np.inf, -np.inf
            continue
        highest = new_highest if new_highest > 0 else np.inf
        lowest = new_lowest if new_lowest < 0 else -np.inf
    return bias, max_sweeps + 1, visits


@njit()
def _score_rows(samples: npt.NDArray[np.floating], weights: Float64, bias: float, out: FloatArray) -> None:
    for i in range(len(samples)):
        out[i] = _dot(samples[i], weights) + bias


def descend(
    samples: npt.NDArray[np.floating],
    positive: BoolArray,
    upper: Float64,
    constant: float,
    tolerance: float,
    max_sweeps: int,
    seed: int,
) -> tuple[Float64, float, int, bool]:
    """Train on ``samples`` (N, D) float32 or float64; no copy is made of C-contiguous ones.

    Args:
        positive: (N,) which side each is on.
        upper: (N,) the largest dual variable of each, C times its weight.
        constant: a feature of that value is added to every sample.

    Returns:
        Weights (D,), the weight of the constant, how many times a row was visited, and whether the largest minus the
        least projected gradient came down to ``tolerance``.

    Raises:
        ValueError: samples that are not finite numbers.
    """
    weights = np.zeros(samples.shape[1])
    signs = np.where(positive, 1.0, -1.0)
    rows = np.ascontiguousarray(samples)
    bias, sweeps, visits = _descend(rows, signs, upper, float(constant), weights, tolerance, max_sweeps, seed % 2**32)
    if visits < 0:
        raise ValueError("the samples are not finite numbers")
    return weights, bias, visits, sweeps <= max_sweeps


def score_rows(samples: npt.NDArray[np.floating], weights: FloatArray, bias: float) -> FloatArray:
    """``samples @ weights + bias`` (N,) float32, summed in float64; in the calling thread alone, unlike a product."""
    out = np.empty(len(samples), dtype=np.float32)
    _score_rows(np.ascontiguousarray(samples), weights.astype(np.float64), float(bias), out)
    return out
