"""Thresholds and what they give, against counting by hand over every possible cut."""

from __future__ import annotations

import numpy as np
import pytest

from sppcli.errors import UsageProblem
from sppcli.evaluation.operating_point import (
    Aim,
    Figures,
    Matched,
    at_threshold,
    calibration_error,
    choose_threshold,
    figures,
    matched,
)
from sppcli.structures import Annotations, Calibration, Detections, ScoreMap, as_boxes


def drawn(seed: int, count: int = 60, objects: int = 40) -> Matched:
    """Detections of which the better ones are hits more often, some with equal scores."""
    rng = np.random.default_rng(seed)
    scores = np.sort(np.round(rng.normal(size=count), 1))[::-1].astype(np.float32)
    return Matched(scores, rng.random(count) < 1 / (1 + np.exp(-2 * scores)), objects)


def every_cut(found: Matched) -> list[Figures]:
    """Of each number of distinct scores shown, from the top."""
    return [figures(found, float(score) - 0.01) for score in np.unique(found.scores)[::-1]]


@pytest.mark.parametrize("seed", range(8))
def test_no_other_threshold_has_a_better_f1(seed: int) -> None:
    found = drawn(seed)
    threshold, reached = choose_threshold(found, Aim.of("f1"))
    assert reached
    assert figures(found, threshold).f1 == max(cut.f1 for cut in every_cut(found) if cut.f1 is not None)
    # It lies between scores, so that no rounding moves a detection across.
    assert np.abs(found.scores - threshold).min() > 1e-4


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("aim", ["precision=0.8", "precision=0.95", "recall=0.3", "recall=0.6"])
def test_an_aim_is_reached_with_the_most_of_the_other(seed: int, aim: str) -> None:
    found, wanted = drawn(seed), Aim.of(aim)
    threshold, reached = choose_threshold(found, wanted)
    own, other = ("precision", "recall") if wanted.kind == "precision" else ("recall", "precision")
    cuts = every_cut(found)
    good = [cut for cut in cuts if getattr(cut, own) >= wanted.value]
    assert reached == bool(good)
    got = figures(found, threshold)
    if wanted.kind == "precision" and good:
        assert got.precision is not None
        assert got.precision >= wanted.value
        assert got.recall == max(getattr(cut, other) for cut in good)
    elif good:
        assert got == good[0]  # the highest threshold that reaches the recall
    else:
        assert getattr(got, own) == max(getattr(cut, own) for cut in cuts)


def test_without_detections_or_objects_there_is_no_threshold() -> None:
    nothing = Matched(np.zeros(0, np.float32), np.zeros(0, np.bool_), 3)
    assert choose_threshold(nothing, Aim()) == (np.inf, False)
    assert choose_threshold(Matched(np.ones(1, np.float32), np.zeros(1, np.bool_), 0), Aim()) == (np.inf, False)
    assert figures(nothing, 0.0) == Figures(0, 0, 3)
    assert (figures(nothing, 0.0).precision, figures(nothing, 0.0).recall, figures(nothing, 0.0).f1) == (None, 0.0, 0.0)


@pytest.mark.parametrize("text", ["", "f2", "precision", "precision=0", "precision=1.1", "recall=much", "f1=0.5"])
def test_an_aim_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem, match=r"write f1, precision=0\.95 or recall=0\.9"):
        Aim.of(text)


def test_expected_calibration_error_by_hand() -> None:
    # Two bins: 4 detections of 0.9, half of them right, and 1 of 0.1 that is wrong: (4 * 0.4 + 0.1) / 5.
    likely = np.array([0.9, 0.9, 0.9, 0.9, 0.1])
    assert calibration_error(likely, np.array([True, True, False, False, False])) == pytest.approx(0.34)
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0.0
    assert calibration_error(np.zeros(0), np.zeros(0, np.bool_)) is None


def test_detections_on_difficult_objects_take_no_part() -> None:
    truth = {
        "a": Annotations(as_boxes([[0, 0, 10, 10], [20, 0, 30, 10]]), ("ant", "ant"), np.array([False, True])),
        "b": Annotations.empty(),
    }
    boxes = as_boxes([[0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 10, 10], [0, 0, 9, 10], [50, 50, 60, 60]])
    image = np.array([0, 0, 1, 0, 2])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 5.0], dtype=np.float32)
    found = Detections(("a", "b", "elsewhere"), ("ant",), image, np.zeros(5, np.int64), boxes, scores)
    one = matched(found, truth, ("ant", "bee"))["ant"]
    assert (one.scores.tolist(), one.hits.tolist()) == ([np.float32(0.9), np.float32(0.7), np.float32(0.6)], [1, 0, 0])
    assert one.objects == 1
    calibration = Calibration(("ant",), (ScoreMap("constant", np.array([[0.0, 0.5]])),), np.array([0.65]))
    at = at_threshold(matched(found, truth, ("ant", "bee")), calibration)
    assert at.figures == {"ant": Figures(2, 1, 1), "bee": Figures(0, 0, 0)}
    assert (at.all_figures, at.error, at.error_shown) == (Figures(2, 1, 1), pytest.approx(1 / 6), 0.0)
