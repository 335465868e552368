"""Box regression equals the release's on its own training set, and a plain solution of the same equations."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from sppcli.geometry.boxes import iou
from sppcli.geometry.regression import decode, encode
from sppcli.learn.ridge import Moments, RidgePlan, Whitening, fit_box_regressor
from tests.golden_convention import golden, half_open

CLASSES = (1, 2, 3)


# --- the release ---
# Its regression takes widths as x2 - x1 of 1-based inclusive corners, without the +1: the one place where it does.
# So its coordinates go into `encode` and `decode` as they stand, and only the overlaps are those of converted boxes.


def golden_examples() -> tuple[dict, np.ndarray]:
    """The arrays, and the rows that are collected as examples: an overlap of at least 0.5 with an object."""
    case = golden("bbox_reg")
    return case, np.flatnonzero(case["overlap"].max(axis=1) >= case["cfg1_min_overlap"])


def features_of(case: dict, rows: np.ndarray | slice, name: str = "feat") -> np.ndarray:
    """Scaled to a mean length of 20, by the factor of the whole set."""
    return case[name][rows] * np.float32(20 / float(case["feat_norm_mean"]))


def objects_of(case: dict, rows: np.ndarray) -> np.ndarray:
    """The row of the object that each box overlaps most, of any class."""
    best = []
    for row in rows:
        objects = np.flatnonzero(case["is_gt"] & (case["image"] == case["image"][row]))
        overlaps = iou(half_open(case["boxes"][[row]]), half_open(case["boxes"][objects]))[0]
        best.append(objects[np.argmax(overlaps)])
    return np.array(best)


def test_targets():
    case, rows = golden_examples()
    objects = objects_of(case, rows)
    np.testing.assert_array_equal(case["gt_class"][objects], case["cfg1_f64_C"])
    ours = encode(case["boxes"][rows], case["boxes"][objects])
    assert ours.shape == (622, 4)
    assert np.abs(ours - case["cfg1_f64_Y"]).max() < 1e-14
    assert np.abs(ours - case["cfg1_f32_Y"]).max() < 2e-6


def used(case: dict, label: int) -> np.ndarray:
    """Mask of the examples that a class is trained on: strictly above the least overlap, unlike when collected."""
    return (case["cfg1_f64_C"] == label) & (case["cfg1_f64_O"] > case["cfg1_min_overlap"])


@pytest.mark.parametrize("label", CLASSES)
def test_regressor(label: int):
    case, rows = golden_examples()
    mask = used(case, label)
    features = features_of(case, rows[mask]).astype(np.float64)
    ours = fit_box_regressor(features, case["cfg1_f64_Y"][mask], float(case["cfg1_lambda"]))
    np.testing.assert_allclose(ours.mean, case[f"cfg1_f64_mu_c{label}"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(ours.unwhiten, case[f"cfg1_f64_T_inv_c{label}"], rtol=0, atol=1e-7)
    whiten = np.linalg.inv(ours.unwhiten.astype(np.float64))
    np.testing.assert_allclose(whiten, case[f"cfg1_f64_T_c{label}"], rtol=0, atol=2e-5)
    beta = np.concatenate([ours.weights.T, ours.bias[None]])
    np.testing.assert_allclose(beta, case[f"cfg1_f64_Beta_c{label}"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(beta, case[f"cfg1_f32_Beta_c{label}"], rtol=0, atol=3e-7)
    predicted = decode(case["test_boxes"], ours.targets(features_of(case, slice(None), "test_feat")))
    np.testing.assert_allclose(predicted, case[f"cfg1_f64_pred_c{label}"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(predicted, case[f"cfg1_f32_pred_c{label}"], rtol=0, atol=1e-4)


# What trains: sums of float32 products, and features that are held in float16. The second rounds features of about 3 to
# 1e-3, weights of 0.04 to 4e-6 and boxes of some hundred pixels to less than a thousandth of a pixel.
@pytest.mark.parametrize(
    ("summed", "weights", "pixels"), [(True, 1e-7, 3e-5), (False, 1e-5, 2e-3)], ids=["summed", "held"]
)
@pytest.mark.parametrize("label", CLASSES)
def test_regressor_in_the_precision_that_trains(label: int, summed: bool, weights: float, pixels: float):
    case, rows = golden_examples()
    mask = used(case, label)
    features, targets = features_of(case, rows[mask]), case["cfg1_f64_Y"][mask]
    moments = Moments()
    moments.add(targets)
    whitening = Whitening(moments)
    system = RidgePlan((summed,), (len(features),)).system(0, features.shape[1])
    for start in range(0, len(features), 50):  # as images bring them
        part = slice(start, start + 50)
        system.add(features[part], whitening.apply(targets[part]))
    ours = whitening.regressor(system.solve(float(case["cfg1_lambda"]))[0])
    beta = np.concatenate([ours.weights.T, ours.bias[None]])
    np.testing.assert_allclose(beta, case[f"cfg1_f64_Beta_c{label}"], rtol=0, atol=weights)
    predicted = decode(case["test_boxes"], ours.targets(features_of(case, slice(None), "test_feat")))
    np.testing.assert_allclose(predicted, case[f"cfg1_f64_pred_c{label}"], rtol=0, atol=pixels)


def test_the_least_overlap_itself_is_not_used():
    """The release's regressors are ours without the two examples of exactly the least overlap, not with them."""
    case, rows = golden_examples()
    exact = case["cfg1_f64_O"] == case["cfg1_min_overlap"]
    assert exact.sum() == 2
    for label in np.unique(case["cfg1_f64_C"][exact]).astype(int):
        mask = used(case, label) | (exact & (case["cfg1_f64_C"] == label))
        ours = fit_box_regressor(features_of(case, rows[mask]), case["cfg1_f64_Y"][mask], float(case["cfg1_lambda"]))
        assert np.abs(ours.weights.T - case[f"cfg1_f64_Beta_c{label}"][:-1]).max() > 1e-5


# --- plain solutions of the same equations ---


def whitened(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Targets centred and decorrelated, and the matrix that undoes the second."""
    centred = targets - targets.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(centred.T, bias=True))
    return centred @ vectors @ np.diag((values + 0.001) ** -0.5) @ vectors.T, (
        vectors @ np.diag((values + 0.001) ** 0.5) @ vectors.T
    )


def problem(seed: int, n: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.random((n, dimensions)).astype(np.float32)
    truth = rng.normal(size=(dimensions, 4)) / np.sqrt(dimensions)
    return features, features @ truth + 0.1 * rng.normal(size=(n, 4))


# On either side of as many examples as dimensions the equations are solved over another side of the matrix.
SHAPES = [(200, 10), (31, 30), (30, 30), (29, 30), (40, 500)]


@pytest.mark.parametrize("ridge", [0.1, 1000.0])
@pytest.mark.parametrize(("n", "dimensions"), SHAPES)
def test_normal_equations(n: int, dimensions: int, ridge: float):
    features, targets = problem(n, n, dimensions)
    ours = fit_box_regressor(features, targets, ridge)
    white, unwhiten = whitened(targets)
    rows = np.concatenate([features.astype(np.float64), np.ones((n, 1))], axis=1)
    solution = np.linalg.solve(rows.T @ rows + ridge * np.eye(dimensions + 1), rows.T @ white)
    size = np.abs(solution).max()
    np.testing.assert_allclose(ours.weights.T, solution[:-1], rtol=0, atol=2e-5 * size)
    np.testing.assert_allclose(ours.bias, solution[-1], rtol=0, atol=2e-5 * size)
    np.testing.assert_allclose(ours.unwhiten, unwhiten, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("n", "dimensions"), [(100, 8), (20, 80)])
def test_ridge_of_scikit_learn(n: int, dimensions: int):
    """A regularised bias is a constant feature to a regression without one."""
    features, targets = problem(1, n, dimensions)
    ours = fit_box_regressor(features, targets, 5.0)
    white, unwhiten = whitened(targets)
    rows = np.concatenate([features, np.ones((n, 1))], axis=1).astype(np.float64)
    theirs = Ridge(alpha=5.0, fit_intercept=False).fit(rows, white)
    unseen = problem(2, 30, dimensions)[0]
    expected = theirs.predict(np.concatenate([unseen, np.ones((30, 1))], axis=1)) @ unwhiten + targets.mean(axis=0)
    np.testing.assert_allclose(ours.targets(unseen), expected, rtol=0, atol=2e-5)
    assert ours.targets(unseen).dtype == np.float32


def test_both_sides_agree():
    """Features that are always 0 change nothing but the side on which the equations are solved."""
    features, targets = problem(3, 40, 30)
    one_side = fit_box_regressor(features, targets, 2.0)
    other_side = fit_box_regressor(np.pad(features, ((0, 0), (0, 20))), targets, 2.0)
    np.testing.assert_allclose(other_side.weights[:, :30], one_side.weights, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(other_side.weights[:, 30:], 0)
    np.testing.assert_allclose(other_side.bias, one_side.bias, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dimensions", [10, 200])
def test_float16_features(dimensions: int):
    features, targets = problem(4, 60, dimensions)
    half = features.astype(np.float16)
    ours = fit_box_regressor(half, targets, 3.0)
    same = fit_box_regressor(half.astype(np.float32), targets, 3.0)
    np.testing.assert_array_equal(ours.weights, same.weights)


def test_a_large_penalty_leaves_the_mean_target():
    features, targets = problem(5, 50, 6)
    predicted = fit_box_regressor(features, targets, 1e12).targets(features)
    np.testing.assert_allclose(predicted, np.tile(targets.mean(axis=0), (50, 1)), atol=1e-5)


def test_targets_that_do_not_vary():
    """Whitening has its 0.001 for them."""
    features = problem(6, 20, 5)[0]
    targets = np.tile([0.1, -0.2, 0.3, 0.0], (20, 1))
    predicted = fit_box_regressor(features, targets, 1.0).targets(features)
    np.testing.assert_allclose(predicted, targets, atol=1e-6)


def test_perfect_linear_targets_are_learnt():
    features, _ = problem(7, 300, 5)
    targets = features @ np.random.default_rng(0).normal(size=(5, 4)) + [1, 2, 3, 4]
    predicted = fit_box_regressor(features, targets, 1e-6).targets(features)
    np.testing.assert_allclose(predicted, targets, atol=1e-4)
