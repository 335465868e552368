"""Top-k errors against sorting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppcli.evaluation.topk import top_k_error


@given(st.integers(1, 20), st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))
def test_it_is_what_sorting_gives(count: int, classes: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, size=(count, classes)) / 4  # with many ties
    labels = rng.integers(0, classes, size=count)
    wrong = 0
    for row, label in zip(scores, labels, strict=True):
        best = sorted(range(classes), key=lambda i: (-row[i], i))[:k]
        wrong += label not in best
    assert top_k_error(scores, labels, k) == pytest.approx(wrong / count)


def test_nothing_to_judge() -> None:
    with pytest.raises(ValueError, match="nothing to judge"):
        top_k_error(np.zeros((0, 3)), np.zeros(0, dtype=np.int64), 1)
