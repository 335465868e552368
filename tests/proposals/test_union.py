"""Unions of windows: laws, with random boxes that often coincide."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sppcli.proposals.union import distinct, falling, unite
from sppcli.structures import Boxes

box = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(3, 4), st.integers(3, 4))
sources = st.lists(st.lists(box, max_size=12, unique=True), min_size=2, max_size=4)


def as_array(rows: list[tuple[int, int, int, int]]) -> Boxes:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


@given(sources)
def test_a_union_is_the_set_of_all_in_turns(rows: list[list[tuple[int, int, int, int]]]) -> None:
    boxes, scores = unite([(as_array(source), falling(len(source))) for source in rows])
    taken: list[tuple[int, ...]] = []
    for turn in range(max(map(len, rows), default=0)):
        for source in rows:
            if turn < len(source) and source[turn] not in taken:
                taken.append(source[turn])
    assert [tuple(map(int, one)) for one in boxes] == taken
    assert len(scores) == len(boxes)
    assert (np.diff(scores) < 0).all()
    assert (scores > 0).all()


@given(st.lists(box, max_size=20))
def test_distinct_keeps_the_first_of_each_in_order(rows: list[tuple[int, int, int, int]]) -> None:
    assert [tuple(map(int, one)) for one in distinct(as_array(rows))] == list(dict.fromkeys(rows))


def test_a_single_source_keeps_its_scores() -> None:
    boxes, scores = as_array([(0, 0, 3, 3), (1, 1, 4, 4)]), np.array([7, 2], dtype=np.float32)
    assert unite([(boxes, scores)]) == (boxes, scores)


def test_nothing_united_is_nothing() -> None:
    boxes, scores = unite([])
    assert boxes.shape == (0, 4)
    assert len(scores) == 0
