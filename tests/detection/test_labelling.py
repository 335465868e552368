"""The matcher of region proposals to ground truth beside one written out pair by pair, and its rules by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.detection.labelling import Matches, match
from sppcli.structures import Annotations, as_boxes

CLASSES = ("cat", "cow", "dog")
# Few places, so that equal overlaps are frequent.
ENDS = st.tuples(st.integers(0, 6), st.integers(1, 4)).map(lambda v: (v[0], v[0] + v[1]))
BOX = st.tuples(ENDS, ENDS).map(lambda e: (e[0][0], e[1][0], e[0][1], e[1][1]))
OBJECT = st.tuples(BOX, st.sampled_from([*CLASSES, "other"]), st.booleans(), st.booleans())


def annotations(objects: list[tuple[tuple[int, ...], str, bool, bool]]) -> Annotations:
    return Annotations(
        as_boxes([box for box, _, _, _ in objects]),
        tuple(label for _, label, _, _ in objects),
        np.array([difficult for _, _, difficult, _ in objects], dtype=bool),
        np.array([crowd for _, _, _, crowd in objects], dtype=bool),
    )


def area(box: tuple[int, ...]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0


def overlap(a: tuple[int, ...], b: tuple[int, ...]) -> Fraction:
    return Fraction(common(a, b), area(a) + area(b) - common(a, b))


@settings(max_examples=300, deadline=None)
@given(st.lists(BOX, max_size=6), st.lists(OBJECT, max_size=6))
def test_every_pair_looked_at(boxes: list[tuple[int, ...]], objects: list[tuple[tuple[int, ...], str, bool, bool]]):
    found = match(as_boxes(boxes), annotations(objects), CLASSES)
    assert found.overlap.shape == found.in_crowd.shape == (len(boxes), len(CLASSES))
    for n, box in enumerate(boxes):
        best, label, which = Fraction(0), -1, -1
        for k, name in enumerate(CLASSES):
            mine = [
                (i, overlap(box, other))
                for i, (other, its, _, crowd) in enumerate(objects)
                if its == name and not crowd
            ]
            greatest = max((value for _, value in mine), default=Fraction(0))
            assert found.overlap[n, k] == float(greatest)
            for i, value in mine:
                if value > best:
                    best, label, which = value, k, i
            crowds = [other for other, its, _, crowd in objects if its == name and crowd]
            assert found.in_crowd[n, k] == any(2 * common(box, other) >= area(box) for other in crowds)
        assert (found.iou[n], found.label[n], found.match[n]) == (float(best), label, which)


def rules() -> Matches:
    """One object of each of two classes on the same box, a crowd of cows, and proposals in rows."""
    truth = annotations(
        [
            ((0, 0, 10, 10), "dog", False, False),
            ((0, 0, 10, 10), "cat", True, False),
            ((40, 0, 80, 40), "cow", False, True),
        ]
    )
    boxes = as_boxes(
        [
            [0, 0, 10, 10],  # both objects
            [0, 0, 10, 5],  # half of them
            [0, 0, 2, 5],  # a tenth
            [45, 5, 50, 10],  # inside the crowd
            [35, 0, 45, 10],  # half in it
            [34, 0, 45, 10],  # less than half in it
            [90, 90, 99, 99],  # nothing
        ]
    )
    return match(boxes, truth, CLASSES)


def test_equal_overlaps_go_to_the_lowest_class_whatever_the_order_of_objects():
    found = rules()
    assert found.label.tolist() == [0, 0, 0, -1, -1, -1, -1]
    assert found.match.tolist() == [1, 1, 1, -1, -1, -1, -1]


def test_each_range_is_closed_below_and_open_above():
    found = rules()
    assert found.positives(0.5).tolist() == [0, 1]
    assert found.positives(0.5, strict=True).tolist() == [0]
    assert found.background(0.1, 0.5).tolist() == [2]
    assert found.negatives(0.5)[:3, 0].tolist() == [False, False, True]
    assert found.negatives(0.1)[:3, 0].tolist() == [False, False, False]


def test_what_lies_in_a_crowd_is_no_negative_of_its_class_and_no_background():
    found = rules()
    negative = found.negatives(0.3)
    assert negative[3:, CLASSES.index("cow")].tolist() == [False, False, True, True]
    assert negative[3:, CLASSES.index("cat")].tolist() == [True] * 4
    assert found.background(0.0, 0.5).tolist() == [2, 5, 6]
    # And a crowd is nobody's object.
    assert found.positives(0.0).tolist() == [0, 1, 2]


@pytest.mark.parametrize("classes", [(), CLASSES])
def test_without_objects_or_classes_nothing_is_matched(classes: tuple[str, ...]):
    found = match(as_boxes([[0, 0, 5, 5]]), Annotations.empty(), classes)
    assert found.label.tolist() == found.match.tolist() == [-1]
    assert found.iou.tolist() == [0]
    assert found.negatives(0.3).tolist() == [[True] * len(classes)]
    assert not len(found.positives(0.0))
