"""Probabilities fitted to scores whose true probabilities are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppcli.evaluation.operating_point import Aim, Figures, Matched, calibration_error
from sppcli.learn.calibrate import FEWEST, ISOTONIC_FROM, calibrate, fit_score_map
from sppcli.structures import BoolArray, FloatArray, ImageDetections


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def drawn(count: int, seed: int, slope: float = 3.0, intercept: float = -1.0) -> tuple[FloatArray, BoolArray]:
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.normal(size=count))[::-1].astype(np.float32)
    return scores, rng.random(count) < sigmoid(slope * scores + intercept)


@pytest.mark.parametrize(("count", "method"), [(150, "sigmoid"), (4000, "isotonic")])
def test_new_detections_are_as_likely_as_the_map_says(count: int, method: str) -> None:
    score_map = fit_score_map(*drawn(count, 0))
    assert score_map is not None
    assert score_map.method == method
    scores, hits = drawn(20000, 1)
    error = calibration_error(score_map(scores), hits)
    assert error is not None
    assert error < 0.05
    assert error < calibration_error(np.clip(scores, 0, 1), hits) / 3  # type: ignore[operator]


@given(st.integers(0, 200), st.sampled_from([40, 300, 5000]))
def test_a_higher_score_is_never_less_likely(seed: int, count: int) -> None:
    scores, hits = drawn(count, seed)
    score_map = fit_score_map(scores, hits)
    assert score_map is not None
    beyond = np.concatenate([scores, np.linspace(-9, 9, 50)])
    likely = score_map(np.sort(beyond))
    assert (np.diff(likely) >= 0).all()
    assert likely.min() >= 0
    assert likely.max() <= 1


def test_isotonic_from_so_many_of_both_kinds_on() -> None:
    for short, method in ((1, "sigmoid"), (0, "isotonic")):
        hits = np.arange(3 * ISOTONIC_FROM) < ISOTONIC_FROM - short
        score_map = fit_score_map(np.linspace(2, -2, len(hits)).astype(np.float32), hits)
        assert score_map is not None
        assert score_map.method == method
    assert fit_score_map(np.arange(9, dtype=np.float32)[::-1], np.arange(9) < FEWEST - 1) is None
    # Where higher scores are less likely there is nothing that rises.
    assert fit_score_map(np.linspace(2, -2, 40).astype(np.float32), np.arange(40) > 20) is None


def test_probabilities_as_scores_are_fitted_by_their_log_odds() -> None:
    """A softmax that is twice too sure: its log-odds halved are the truth."""
    rng = np.random.default_rng(3)
    true = rng.random(150)
    scores = sigmoid(2 * np.log(true / (1 - true))).astype(np.float32)
    score_map = fit_score_map(scores, rng.random(150) < true, logit=True)
    assert score_map is not None
    assert score_map.logit
    assert score_map.slope == pytest.approx(0.5, abs=0.15)
    assert score_map(np.array([0.0, 1.0])) == pytest.approx([0, 1], abs=0.01)  # finite at the ends


def test_a_class_with_few_detections_takes_that_of_all() -> None:
    scores, hits = drawn(5000, 5)
    rare = Matched(np.array([2.0, 1.0, -2.0], dtype=np.float32), np.array([True, True, False]), 2)
    never = Matched(np.zeros(0, np.float32), np.zeros(0, np.bool_), 0)
    result = calibrate({"often": Matched(scores, hits, int(hits.sum())), "rare": rare, "never": never}, Aim())
    calibration = result.calibration
    assert [one.method for one in calibration.maps] == ["isotonic", "shared", "shared"]
    # Shown from the probability that serves all classes best.
    at = calibration.maps[1](np.array([calibration.thresholds[1] + 0.01]))[0]
    assert at == pytest.approx(result.overall, abs=0.05)
    assert calibration.thresholds[1] == calibration.thresholds[2]
    assert result.figures[1] == Figures(2, 2, 2)
    found = ImageDetections(
        np.zeros((4, 4), np.float32), np.array([2.0, 1.0, -2.0, -2.0], dtype=np.float32), np.array([1, 1, 1, 2])
    )
    shown, every = calibration.applied(found), calibration.applied(found, thresholds=False)
    assert shown.scores.tolist() == [2, 1]
    assert every.probabilities is not None
    assert len(every.probabilities) == 4


def test_a_detector_that_found_nothing_shows_nothing() -> None:
    nothing = Matched(np.zeros(0, np.float32), np.zeros(0, np.bool_), 7)
    result = calibrate({"ant": nothing}, Aim())
    assert result.calibration.thresholds.tolist() == [np.inf]
    assert result.all_figures == Figures(0, 0, 7)
