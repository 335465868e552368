"""One-vs-rest training and the choice of C, against scikit-learn on the plain samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from sppcli.learn import probe
from sppcli.learn.probe import SETTINGS, choose_c, fit_probe
from sppcli.learn.svm import SampleSpace

TIGHT = replace(SETTINGS, tolerance=1e-8, max_sweeps=100_000)


def problem(n: int, dimensions: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples of unit length, and labels of 4 classes of which several may hold; some are 0."""
    rng = np.random.default_rng(seed)
    samples = rng.random((n, dimensions)) ** 3
    labels = np.where(samples[:, :4] > np.quantile(samples[:, :4], 0.7), 1, -1)
    labels[rng.random(labels.shape) < 0.1] = 0
    samples += 0.2 * rng.random((n, dimensions))
    return (samples / np.linalg.norm(samples, axis=1, keepdims=True)).astype(np.float32), labels.astype(np.int8)


def slowly(samples: np.ndarray, labels: np.ndarray, c: float) -> list[LinearSVC]:
    models = []
    for column in labels.T:
        used = column != 0
        model = LinearSVC(C=c, loss="hinge", tol=1e-8, max_iter=100_000, random_state=1)
        models.append(model.fit(samples[used].astype(np.float64), column[used] > 0))
    return models


@pytest.mark.parametrize(("n", "dimensions"), [(120, 12), (50, 300)])
def test_scores_are_scikit_learns(n: int, dimensions: int) -> None:
    samples, labels = problem(n, dimensions, n)
    unseen = problem(40, dimensions, n + 1)[0]
    found = fit_probe(SampleSpace(samples), labels, replace(TIGHT, c=3.0))
    expected = np.stack([model.decision_function(unseen) for model in slowly(samples, labels, 3.0)], axis=1)
    assert np.abs(found.scores(unseen) - expected).max() < 2e-3
    assert found.unconverged == ()


@pytest.mark.parametrize(("n", "dimensions"), [(120, 12), (50, 300)])
def test_cross_validation_is_training_on_the_other_folds(n: int, dimensions: int) -> None:
    samples, labels = problem(n, dimensions, n)

    def measure(scores: np.ndarray, truth: np.ndarray) -> float:
        return -float(np.maximum(0, 1 - truth * scores).mean())  # smooth, so that rounding does not decide

    trainings = 0

    def done() -> None:
        nonlocal trainings
        trainings += 1

    grid = (0.3, 3.0, 30.0)
    best, means = choose_c(SampleSpace(samples), labels, measure, TIGHT, 7, grid, 3, done)
    fold = probe._folds(labels, 3, 7)
    for c in grid:
        values = []
        for held in range(3):
            models = slowly(samples[fold != held], labels[fold != held], c)
            scores = np.stack([model.decision_function(samples[fold == held]) for model in models], axis=1)
            values.append(measure(scores, labels[fold == held]))
        assert means[c] == pytest.approx(np.mean(values), abs=2e-3)
    assert best == max(grid, key=lambda c: means[c])
    assert trainings == 9


def test_of_equal_values_the_smallest_c() -> None:
    samples, labels = problem(30, 5, 0)
    assert choose_c(SampleSpace(samples), labels, lambda *_: 0.5, SETTINGS, 0, (10.0, 0.1, 1.0))[0] == 0.1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(2, 5), st.integers(0, 99))
def test_folds_are_even_in_every_class(counts: list[int], folds: int, seed: int) -> None:
    truth = np.repeat(np.arange(len(counts)), counts)
    labels = np.where(truth[:, None] == np.arange(len(counts)), 1, -1).astype(np.int8)
    fold = probe._folds(labels, folds, seed)
    np.testing.assert_array_equal(fold, probe._folds(labels, folds, seed))
    assert np.ptp(np.bincount(fold, minlength=folds)) <= 1
    for label in range(len(counts)):
        assert np.ptp(np.bincount(fold[truth == label], minlength=folds)) <= 1


def test_a_class_of_one_kind() -> None:
    samples, labels = problem(30, 5, 1)
    labels[:, 0], labels[:, 1] = -1, 1
    found = fit_probe(SampleSpace(samples), labels, SETTINGS)
    assert not found.weights[:2].any()
    assert found.biases[:2].tolist() == [-1, 1]
    assert found.weights[2:].any(axis=1).all()


def test_too_few_sweeps_are_told() -> None:
    samples, labels = problem(100, 20, 2)
    found = fit_probe(SampleSpace(samples), labels, replace(TIGHT, c=100.0, max_sweeps=1))
    assert found.unconverged == (0, 1, 2, 3)
