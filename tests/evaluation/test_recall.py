"""Recall: an independent slow loop, laws, and average recall against its integral."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.evaluation.recall import THRESHOLDS, reach
from sppcli.proposals.union import falling, unite
from sppcli.structures import Annotations, as_boxes

COUNTS = (1, 2, 3, 5, 8)


def random_boxes(rng, count):
    corners = np.sort(rng.integers(0, 12, (count, 2, 2)), axis=1).reshape(count, 4)
    corners[:, 2:] += 1
    return as_boxes(corners)


def random_case(seed, images=3):
    rng = np.random.default_rng(seed)
    windows, truth = {}, {}
    for name in map(str, range(images)):
        windows[name] = random_boxes(rng, int(rng.integers(0, 10)))
        count = int(rng.integers(0, 4))
        labels = tuple(rng.choice(["cat", "dog"], count).tolist())
        truth[name] = Annotations(random_boxes(rng, count), labels, rng.random(count) < 0.25)
    return windows, truth


def slow_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = float(width * height)
    return shared / (float((a[2] - a[0]) * (a[3] - a[1])) + float((b[2] - b[0]) * (b[3] - b[1])) - shared)


def slow_recall(windows, truth, label, count, threshold):
    hits = total = 0
    for name, here in truth.items():
        for box, its_label, difficult in zip(here.boxes, here.labels, here.difficult, strict=True):
            if difficult or label not in (None, its_label):
                continue
            total += 1
            hits += any(slow_iou(box, window) >= threshold for window in windows.get(name, [])[:count])
    return hits / total if total else None


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_recall_is_the_slow_one(seed: int) -> None:
    windows, truth = random_case(seed)
    found = reach(windows, truth, COUNTS)
    for label in (None, *found.classes):
        table = (found if label is None else found.of_class(label)).recall()
        for row, threshold in enumerate(THRESHOLDS):
            for column, count in enumerate((*COUNTS, 10**6)):
                expected = slow_recall(windows, truth, label, count, threshold)
                if expected is None:
                    assert np.isnan(table[row, column])
                else:
                    assert table[row, column] == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_recall_rises_with_windows_and_falls_with_iou(seed: int) -> None:
    found = reach(*random_case(seed), COUNTS)
    if found.labels:
        table = found.recall(np.linspace(0.05, 1, 20))
        assert (np.diff(table, axis=1) >= 0).all()
        assert (np.diff(table, axis=0) <= 0).all()
        assert (np.diff(found.average_recall()) >= 0).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_union_recalls_at_least_what_each_part_does(seed: int) -> None:
    first, truth = random_case(seed)
    second, _ = random_case(seed + 1)
    both = {name: unite([(part[name], falling(len(part[name]))) for part in (first, second)])[0] for name in first}
    union = reach(both, truth, COUNTS)
    for part in (first, second):
        alone = reach(part, truth, COUNTS)
        if alone.labels:
            assert (union.recall()[:, -1] >= alone.recall()[:, -1]).all()
            assert union.average_recall()[-1] >= alone.average_recall()[-1]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_average_recall_is_twice_the_area_under_recall(seed: int) -> None:
    found = reach(*random_case(seed), COUNTS)
    if found.labels:
        middles = 0.5 + (np.arange(20000) + 0.5) / 40000
        area = found.recall(middles).mean(axis=0) * 0.5
        np.testing.assert_allclose(found.average_recall(), 2 * area, atol=1e-4)


def test_by_hand() -> None:
    """One object, a window of IoU 0.6 after one that misses it: recalled from the second on, AR 2 * 0.1."""
    truth = {"a": Annotations(as_boxes([[0, 0, 10, 10]]), ("cat",), np.array([False]))}
    found = reach({"a": as_boxes([[20, 20, 30, 30], [0, 0, 10, 6]])}, truth, (1, 2))
    np.testing.assert_allclose(found.overlap, [[0, 0.6, 0.6]])
    assert found.recall((0.5, 0.6, 0.7)).tolist() == [[0, 1, 1], [0, 1, 1], [0, 0, 0]]
    np.testing.assert_allclose(found.average_recall(), [0, 0.2, 0.2])
    assert found.windows == 2


def test_an_image_without_windows_has_its_objects_missed() -> None:
    truth = {
        "a": Annotations(as_boxes([[0, 0, 10, 10]]), ("cat",), np.array([False])),
        "b": Annotations(as_boxes([[0, 0, 10, 10]]), ("cat",), np.array([False])),
    }
    found = reach({"a": as_boxes([[0, 0, 10, 10]])}, truth, (1,))
    assert found.recall((0.5,)).tolist() == [[0.5, 0.5]]
    assert found.windows == 0.5
