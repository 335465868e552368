"""Training of linear models: SVMs on mined regions, the scores of a mining pass, box regression."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import Ridge

from sppcli.bench.measure import Machine, Row, alternated
from sppcli.learn.ridge import HeldExamples, NormalEquations
from sppcli.learn.svm import SvmSettings, fit_svm
from sppcli.structures import BoolArray, FloatArray

STAGE = "train"
RIDGE = 1000.0


def rows(
    machine: Machine,
    samples: int = 3000,
    dimensions: int = 12_800,
    windows: int = 2000,
    classes: int = 20,
    examples: int = 6000,
    pooled: int = 2048,
    repeat: int = 2,
) -> list[Row]:
    """Measure one class's SVM, the scores of one image for all classes, and one class's box regressor in both forms.

    SVM and scores are of ``dimensions`` numbers (50 bins of 256 channels); ``examples`` of ``pooled`` numbers are
    summed to normal equations, half of ``pooled`` of ``dimensions`` are held. One thread trains; products use all.
    """
    random = np.random.default_rng(0)
    features, positive = drawn_windows(random, samples, dimensions)
    result = [svm_row(machine, features, positive, repeat)]
    features = drawn_windows(random, windows, dimensions)[0]
    weights = random.standard_normal((classes, dimensions)).astype(np.float32)
    result.append(_scoring_row(machine, features, weights, repeat))
    features = drawn_windows(random, examples, pooled)[0]
    result.append(ridge_row(machine, features, random.standard_normal((examples, 4)), repeat))
    features = drawn_windows(random, pooled // 2, dimensions)[0]
    result.append(ridge_row(machine, features, random.standard_normal((pooled // 2, 4)), repeat))
    return result


def drawn_windows(random: np.random.Generator, count: int, dimensions: int) -> tuple[FloatArray, BoolArray]:
    """Features (N, D) float32 as sqrt-l2 leaves them, 20 long and not negative, and a tenth positives (N,).

    They mix 60 patterns, as regions of the same objects do, positives more of the first ten.
    """
    positive = np.arange(count) % 10 == 0
    patterns = random.standard_exponential((60, dimensions), dtype=np.float32)
    mix = random.standard_exponential((count, 60), dtype=np.float32)
    mix[positive, :10] *= 8
    values = mix @ patterns + 8 * random.standard_exponential((count, dimensions), dtype=np.float32)
    np.sqrt(values, out=values)
    values *= (20 / np.sqrt(np.einsum("ij,ij->i", values, values)))[:, None]
    return values, positive


def svm_row(machine: Machine, features: FloatArray, positive: BoolArray, repeat: int) -> Row:
    seconds = alternated({"ours": lambda: fit_svm(features, positive, SvmSettings())}, repeat, warm=False)
    count, dimensions = features.shape
    return Row(
        STAGE,
        f"SVM of one class, {count:,} x {dimensions:,}",
        seconds["ours"],
        machine.floor(moved=(features.itemsize + 8 + 8 + 16) * features.size),
        "the copies that liblinear asks for",
    )


def _scoring_row(machine: Machine, features: FloatArray, weights: FloatArray, repeat: int) -> Row:
    seconds = alternated(
        {"ours": lambda: features @ weights.T, "peer": lambda: [features @ row for row in weights]}, 3 * repeat
    )
    count, dimensions = features.shape
    return Row(
        STAGE,
        f"scores of {count:,} regions, {len(weights)} classes, {dimensions:,} numbers",
        seconds["ours"],
        machine.floor(count * dimensions * len(weights), features.nbytes + weights.nbytes),
        "the product, or reading the features",
        "one product per class",
        seconds["peer"],
    )


def ridge_row(machine: Machine, features: FloatArray, white: npt.NDArray[np.float64], repeat: int) -> Row:
    """Summed to normal equations with more examples than numbers, else held."""
    count, dimensions = features.shape
    side = min(count, dimensions)
    with_constant = np.concatenate([features, np.ones((count, 1), np.float32)], axis=1)
    seconds = alternated(
        {
            "ours": partial(ridge_of, features, white),
            "peer": lambda: Ridge(RIDGE, fit_intercept=False, solver="cholesky").fit(with_constant, white),
        },
        repeat,
        warm=False,
    )
    return Row(
        STAGE,
        f"box regressor, {count:,} x {dimensions:,}, {'summed' if count > dimensions else 'held'}",
        seconds["ours"],
        machine.floor(count * dimensions * side / 2 + side**3 / 6),
        "half of the products of all pairs, and the factor",
        "scikit-learn's Ridge, cholesky",
        seconds["peer"],
    )


def ridge_of(features: FloatArray, white: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The solution (D + 1, 4) by the form that the numbers of rows and columns call for."""
    count, dimensions = features.shape
    system = NormalEquations(dimensions) if count > dimensions else HeldExamples(dimensions, count)
    system.add(features, white)
    return system.solve(RIDGE)[0]
