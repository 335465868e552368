"""AP and accuracy of classification by hand, and AP against a slow version of the devkit's formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.evaluation.image_classes import accuracy, class_accuracies, class_ap, mean_known


def slowly(scores: np.ndarray, labels: np.ndarray) -> float:
    """For each recall k/10 the best precision among all cut-offs that reach it, in whole numbers."""
    kept = [(score, label) for score, label in zip(scores.tolist(), labels.tolist(), strict=True) if label]
    kept.sort(key=lambda item: -item[0])
    positives = sum(label == 1 for _, label in kept)
    curve = []
    for cut in range(1, len(kept) + 1):
        hits = sum(label == 1 for _, label in kept[:cut])
        curve.append((hits, hits / cut))
    return sum(max((p for hits, p in curve if hits * 10 >= k * positives), default=0.0) for k in range(11)) / 11


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.sampled_from([1, 0, -1])), min_size=1, max_size=30))
def test_ap_against_the_formula(rows: list[tuple[int, int]]) -> None:
    scores = np.array([row[0] for row in rows], dtype=np.float32)
    labels = np.array([row[1] for row in rows], dtype=np.int8)
    found = class_ap(scores, labels)
    if (labels == 1).any():
        assert found == pytest.approx(slowly(scores, labels))
    else:
        assert found is None


def test_ap_of_perfect_and_reversed_order() -> None:
    labels = np.array([1, 1, -1, -1, 0], dtype=np.int8)
    assert class_ap(np.array([4.0, 3, 2, 1, 9]), labels) == 1
    # 1/3 up to recall 1/2, 2/4 at recall 1: the best from there on is 1/2 everywhere.
    assert class_ap(np.array([1.0, 2, 3, 4, 9]), labels) == pytest.approx(0.5)


def test_accuracies() -> None:
    truth, predicted = np.array([0, 0, 0, 1, 1, 3]), np.array([0, 1, 0, 1, 0, 3])
    assert class_accuracies(predicted, truth, 4) == [2 / 3, 1 / 2, None, 1]
    assert accuracy(predicted, truth) == pytest.approx(4 / 6)
    assert mean_known([2 / 3, 1 / 2, None, 1]) == pytest.approx(13 / 18)
    assert mean_known([None]) is None
