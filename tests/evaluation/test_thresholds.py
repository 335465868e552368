"""Counts and confusions at a threshold: what is left after the detections below it are taken away."""

from __future__ import annotations

import numpy as np
import pytest

from sppcli.evaluation.errors import find_errors
from sppcli.evaluation.thresholds import Tally, confusion, confusion_changes, grid, steps_of, tally
from sppcli.evaluation.verdicts import judge_all
from sppcli.structures import Detections
from tests.evaluation.test_errors import CLASSES, drawn


def above(found: Detections, threshold: float) -> Detections:
    kept = found.scores >= threshold
    return Detections(
        found.image_ids, found.classes, found.image[kept], found.label[kept], found.boxes[kept], found.scores[kept]
    )


@pytest.mark.parametrize("seed", range(8))
def test_counts_are_those_of_the_detections_kept(seed: int) -> None:
    found, truth = drawn(seed, images=6)
    errors = find_errors(judge_all(found, truth, CLASSES))
    thresholds = np.array([-1.0, 0.0, 0.25, 0.5, 0.9, 2.0])
    table = tally(errors.verdicts, thresholds)
    changes = confusion_changes(errors, thresholds)
    for step, threshold in enumerate(thresholds):
        alone = judge_all(above(found, threshold), truth, CLASSES)
        assert table.hits[:, step].tolist() == np.bincount(alone.label[alone.tp], minlength=3).tolist()
        assert table.false[:, step].tolist() == np.bincount(alone.label[alone.fp], minlength=3).tolist()
        matrix = confusion(changes, table.npos, step)
        own = confusion(confusion_changes(find_errors(alone), np.array([-9.0])), table.npos, 0)
        assert matrix.tolist() == own.tolist()
        assert matrix.min() >= 0
        assert matrix.diagonal()[:-1].tolist() == table.hits[:, step].tolist()
        assert matrix[:-1].sum(axis=1).tolist() == table.npos.tolist()
        assert matrix[:, :-1].sum(axis=0).tolist() == (table.hits + table.false)[:, step].tolist()


def test_an_object_is_confused_until_it_is_found() -> None:
    found, truth = drawn(0, images=1)
    name = next(iter(truth))
    truth[name] = type(truth[name])(np.array([[0, 0, 10, 10]], np.float32), ("cat",), np.array([False]))
    found = Detections(
        (name,),
        CLASSES,
        np.zeros(3, dtype=np.int64),
        np.array([1, 2, 0]),
        np.array([[0, 0, 10, 9], [0, 0, 10, 8], [0, 0, 10, 10]], np.float32),
        np.array([0.9, 0.8, 0.3], np.float32),
    )
    errors = find_errors(judge_all(found, truth, CLASSES))
    changes = confusion_changes(errors, np.array([0.0, 0.5]))
    assert confusion(changes, np.array([1, 0, 0]), 1).tolist() == [
        [0, 1, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 1, 0],
    ]
    assert confusion(changes, np.array([1, 0, 0]), 0)[0].tolist() == [1, 0, 0, 0]
    assert confusion(changes, np.array([1, 0, 0]), 0)[3].tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("low", "high", "first", "last", "step"),
    [(-1.1, 3.4, -1.1, 3.4, 0.05), (-3, 2000, -50, 2000, 50), (5, 5, 5, 5, 0)],
)
def test_steps_are_round(low: float, high: float, first: float, last: float, step: float) -> None:
    thresholds = grid(np.array([low, high]))
    assert thresholds[0] == pytest.approx(first)
    assert thresholds[0] <= low
    if step:
        assert np.diff(thresholds) == pytest.approx(np.full(len(thresholds) - 1, step))
        assert thresholds[-1] == pytest.approx(last)
    assert 2 <= len(thresholds) <= 102
    assert 7.345678 in grid(np.array([low, high]), 7.345678)


def test_steps_of_probabilities() -> None:
    for scores in (np.array([0.02, 0.7]), np.zeros(0), np.array([1.0])):
        thresholds = grid(scores, 0.345678)
        assert {0.0, 0.01, 0.345678, 0.5, 0.99, 0.999, 1.0} <= set(thresholds.tolist())
        assert len(thresholds) == 105


def test_a_score_is_kept_at_its_own_value_and_below() -> None:
    thresholds = np.array([0.0, 0.5, 1.0])
    assert steps_of(thresholds, np.array([-0.1, 0.0, 0.49, 0.5, 1.0, 7.0])).tolist() == [-1, 0, 0, 1, 2, 2]


def test_the_best_f1_of_all_classes() -> None:
    table = Tally(
        np.array([0.0, 0.5, 0.9]), np.array([[8, 6, 1], [1, 1, 1]]), np.array([[20, 2, 0], [5, 0, 0]]), np.array([8, 2])
    )
    assert table.best() == 1
    assert table.overall().f1()[0].tolist() == pytest.approx([18 / (9 + 25 + 10), 14 / (7 + 2 + 10), 4 / (2 + 0 + 10)])
    assert table.precision()[1].tolist() == pytest.approx([1 / 6, 1, 1])
    assert np.isnan(Tally(np.zeros(1), np.zeros((1, 1), int), np.zeros((1, 1), int), np.zeros(1, int)).f1()).all()
