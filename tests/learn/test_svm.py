"""The SVM is the release's problem solved to its optimum, in either of the two spaces it may be solved in."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from sppcli.learn.svm import LinearModel, SvmSettings, fit_svm
from sppcli.paper import RELEASE
from tests.golden_convention import golden

TIGHT = {"tolerance": 1e-9, "max_sweeps": 200_000}


def objective(weights: np.ndarray, bias: float, samples: np.ndarray, positive: np.ndarray, s: SvmSettings) -> float:
    """1/2 |w|^2 + 1/2 (b / bias_feature)^2 + c (positive_weight * positives' hinge + negatives' hinge)."""
    hinge = np.maximum(0, 1 - np.where(positive, 1, -1) * (samples @ weights + bias))
    loss = s.positive_weight * hinge[positive].sum() + hinge[~positive].sum()
    return float(weights @ weights / 2 + (bias / s.bias_feature) ** 2 / 2 + s.c * loss)


def problem(seed: int, n: int, dimensions: int, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds of non-negative numbers, a fifth of them positive."""
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 5 == 0
    samples = rng.random((n, dimensions)) * scale
    samples[positive, : dimensions // 4] += 0.4 * scale
    return samples.astype(np.float32), positive


def directly(samples: np.ndarray, positive: np.ndarray, s: SvmSettings) -> LinearSVC:
    model = LinearSVC(
        C=s.c,
        loss="hinge",
        dual=True,
        class_weight={False: 1.0, True: s.positive_weight},
        intercept_scaling=s.bias_feature,
        tol=s.tolerance,
        max_iter=s.max_sweeps,
        random_state=1,
    )
    return model.fit(samples.astype(np.float64), positive)


# --- the release ---


def golden_problem() -> tuple[dict, SvmSettings]:
    case = golden("svm")
    settings = SvmSettings(
        c=float(case["C"]), positive_weight=float(case["w1"]), bias_feature=float(case["bias_mult"]), **TIGHT
    )
    return case, settings


def release_vector(model: LinearModel, settings: SvmSettings) -> np.ndarray:
    """Weights and, last, the weight of the constant feature, as liblinear gives them."""
    return np.append(model.weights, model.bias / settings.bias_feature)


def test_the_releases_problem():
    case, settings = golden_problem()
    model = fit_svm(case["X"], case["y"] > 0, settings)
    assert model.converged
    ours = release_vector(model, settings)
    assert np.abs(ours - case["w_eps1e_8"]).max() < 1e-7
    assert np.abs(ours - case["w_eps1e_3"]).max() < 1e-4
    assert np.abs(ours - case["w_original"]).max() < 3e-3  # liblinear's own stop at 0.1 is that far from the optimum


def test_the_recipe_holds_the_releases_settings():
    case, settings = golden_problem()
    default = SvmSettings(c=RELEASE.c, positive_weight=RELEASE.positive_weight, bias_feature=RELEASE.bias_feature)
    assert (default.c, default.positive_weight, default.bias_feature) == (
        settings.c,
        settings.positive_weight,
        settings.bias_feature,
    )
    model = fit_svm(case["X"], case["y"] > 0, default)
    assert model.converged
    assert np.abs(release_vector(model, default) - case["w_eps1e_8"]).max() < 2e-3  # closer than the release's own stop


def test_another_setting_is_another_answer():
    """Or the test above would not show that C, the weight and the bias feature arrive."""
    case, settings = golden_problem()
    for change in ({"c": 0.002}, {"positive_weight": 1.0}, {"bias_feature": 1.0}):
        other = SvmSettings(**{**settings.__dict__, **change})
        model = fit_svm(case["X"], case["y"] > 0, other)
        assert np.abs(np.append(model.weights, model.bias / 10) - case["w_eps1e_8"]).max() > 1e-4


# --- both spaces ---

SHAPES = [(200, 20), (60, 60), (40, 300), (25, 4000)]


@pytest.mark.parametrize(("n", "dimensions"), SHAPES)
def test_no_other_weights_are_better(n: int, dimensions: int):
    samples, positive = problem(n, n, dimensions)
    settings = SvmSettings(c=0.01, **TIGHT)
    model = fit_svm(samples, positive, settings)
    weights = model.weights.astype(np.float64)
    best = objective(weights, model.bias, samples, positive, settings)
    rng = np.random.default_rng(0)
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(20):
            other = weights + size * np.abs(weights).max() * rng.standard_normal(dimensions)
            bias = model.bias + size * rng.standard_normal()
            assert objective(other, bias, samples, positive, settings) > best - 1e-9
    for bias in (model.bias - 0.01, model.bias + 0.01):
        assert objective(weights, bias, samples, positive, settings) > best - 1e-9
    assert best < objective(np.zeros(dimensions), 0.0, samples, positive, settings)


@pytest.mark.parametrize(("n", "dimensions"), SHAPES)
def test_as_scikit_learn_solves_it_directly(n: int, dimensions: int):
    samples, positive = problem(n + 1, n, dimensions)
    settings = SvmSettings(c=0.01, **TIGHT)
    ours, theirs = fit_svm(samples, positive, settings), directly(samples, positive, settings)
    assert np.abs(ours.weights - theirs.coef_[0]).max() < 1e-3 * np.abs(theirs.coef_).max()
    unseen = problem(n + 2, 50, dimensions)[0]
    scores = unseen @ ours.weights + ours.bias
    assert np.abs(scores - theirs.decision_function(unseen)).max() < 1e-3


def test_dependent_samples():
    """The same sample many times, and empty ones: the space they span has fewer dimensions than samples."""
    samples, positive = problem(7, 20, 100)
    samples = np.concatenate([samples, samples, np.zeros((5, 100), np.float32)])
    positive = np.concatenate([positive, positive, np.zeros(5, bool)])
    settings = SvmSettings(c=0.01, **TIGHT)
    ours, theirs = fit_svm(samples, positive, settings), directly(samples, positive, settings)
    difference = samples @ (ours.weights - theirs.coef_[0]) + ours.bias - theirs.intercept_[0]
    assert np.abs(difference).max() < 2e-3


@pytest.mark.parametrize("dimensions", [10, 200])
def test_float16_samples(dimensions: int):
    samples, positive = problem(8, 50, dimensions)
    half = samples.astype(np.float16)
    ours = fit_svm(half, positive, SvmSettings(**TIGHT))
    same = fit_svm(half.astype(np.float32), positive, SvmSettings(**TIGHT))
    np.testing.assert_array_equal(ours.weights, same.weights)
    assert ours.weights.dtype == np.float32
    assert ours.bias == same.bias


@pytest.mark.parametrize("dimensions", [1, 50])
def test_the_bias(dimensions: int):
    """Two clouds around 9 and 11 are told apart at 10: that takes a bias of -10 times the weight."""
    samples = np.zeros((20, dimensions), np.float32)
    samples[:, 0] = np.repeat([9, 11], 10)
    model = fit_svm(samples, samples[:, 0] > 10, SvmSettings(c=100, **TIGHT, bias_feature=1000))
    assert -model.bias / model.weights[0] == pytest.approx(10, abs=0.05)  # the bias is regularised, if little
    assert samples @ model.weights + model.bias == pytest.approx(np.repeat([-1, 1], 10), abs=0.05)


@pytest.mark.parametrize("dimensions", [5, 100])
def test_the_same_seed_the_same_weights(dimensions: int):
    samples, positive = problem(9, 40, dimensions)
    first, second = (fit_svm(samples, positive, SvmSettings(seed=3)) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)
    assert first.bias == second.bias


@pytest.mark.parametrize("dimensions", [20, 300])
def test_too_few_sweeps_are_told(dimensions: int):
    samples, positive = problem(10, 100, dimensions)
    assert not fit_svm(samples, positive, SvmSettings(c=100, tolerance=1e-9, max_sweeps=1)).converged
    assert fit_svm(samples, positive, SvmSettings()).converged


@pytest.mark.parametrize("kind", [True, False])
def test_one_kind_of_samples(kind: bool):
    with pytest.raises(ValueError, match="both positive and negative"):
        fit_svm(np.ones((4, 2), np.float32), np.full(4, kind), SvmSettings())


def test_samples_that_are_much_alike() -> None:
    """Their products in float32 are not positive definite; the answer is that of the plain problem all the same."""
    rng = np.random.default_rng(0)
    samples = np.sqrt(np.abs(rng.normal(size=(300, 20))) @ np.abs(rng.normal(size=(20, 2000))))
    samples = (20 * samples / np.linalg.norm(samples, axis=1, keepdims=True)).astype(np.float32)
    positive = np.arange(300) < 10
    settings = SvmSettings(c=1e-4, **TIGHT)
    ours, theirs = fit_svm(samples, positive, settings), directly(samples, positive, settings)
    difference = samples @ (ours.weights - theirs.coef_[0]) + ours.bias - theirs.intercept_[0]
    assert np.abs(difference).max() < 5e-3
