"""What `tests.ties` asks of a suppression is what the greedy one does, and nothing else but among equals."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ties import assert_suppressed

# The first overlaps the second by 0.82, the second the third by 0.54; the first and the third overlap by 0.43.
SCORED = np.array([[0, 0, 10, 10, 3.0], [1, 0, 11, 10, 2.0], [4, 0, 14, 10, 1.0], [50, 0, 60, 10, -2.0]])


def test_the_greedy_choice() -> None:
    assert assert_suppressed(SCORED[[0, 2, 3]], SCORED, 0.5) == [0, 2, 3]
    assert assert_suppressed(SCORED[[0, 2]], SCORED, 0.5, least=0) == [0, 2]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([0, 1, 2, 3], "were both kept"),
        ([1, 3], "was dropped"),  # a worse box in place of a better one
        ([0, 3], "was dropped"),  # suppressed by one that was not kept
        ([0, 2], "was dropped"),
        ([0, 2, 2, 3], "kept twice"),
    ],
)
def test_any_other_choice_is_noticed(rows: list[int], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        assert_suppressed(SCORED[rows], SCORED, 0.5)


def test_another_score_and_one_below_the_least_are_noticed() -> None:
    with pytest.raises(AssertionError, match="was not scored"):
        assert_suppressed(SCORED[[0, 2, 3]] + [0, 0, 0, 0, 1e-3], SCORED, 0.5)
    with pytest.raises(AssertionError, match="no more than 0"):
        assert_suppressed(SCORED[[0, 2, 3]], SCORED, 0.5, least=0)


def test_of_equal_scores_either_may_go() -> None:
    scored = SCORED.copy()
    scored[0, 4] = scored[1, 4] + 1e-7
    for first in ([0, 2, 3], [1, 3]):
        assert_suppressed(scored[first], scored, 0.5)
