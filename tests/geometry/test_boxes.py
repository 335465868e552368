"""Laws of area, IoU, clipping and flipping, and a few numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.errors import BadInput
from sppcli.geometry.boxes import area, clip, covered, flip, iou
from sppcli.structures import as_boxes

# Eighths of a pixel: sums and differences are exact in float32, so the laws hold to the last bit.
COORDINATE = st.integers(0, 8 * 600).map(lambda eighths: eighths / 8)
laws = settings(max_examples=150, deadline=None)


@st.composite
def boxes(draw: st.DrawFn, least: int = 0, most: int = 12) -> np.ndarray:
    rows = draw(st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE), min_size=least, max_size=most))
    corners = np.array(rows, dtype=np.float32).reshape(-1, 2, 2)
    return np.sort(corners, axis=1).reshape(-1, 4)


def slow_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Of integer boxes, by counting pixels."""
    pixels = [{(x, y) for x in range(int(x0), int(x1)) for y in range(int(y0), int(y1))} for x0, y0, x1, y1 in (a, b)]
    both = len(pixels[0] | pixels[1])
    return len(pixels[0] & pixels[1]) / both if both else 0.0


@laws
@given(boxes(), boxes())
def test_iou_is_symmetric_and_between_0_and_1(a: np.ndarray, b: np.ndarray):
    ours = iou(a, b)
    assert ours.shape == (len(a), len(b))
    assert ours.dtype == np.float64
    np.testing.assert_array_equal(ours, iou(b, a).T)
    assert ((ours >= 0) & (ours <= 1)).all()


@laws
@given(boxes(least=1))
def test_iou_with_itself_is_1(a: np.ndarray):
    own = np.diag(iou(a, a))
    np.testing.assert_array_equal(own, (area(a) > 0).astype(float))  # a box without area overlaps nothing


@laws
@given(boxes(), boxes(), COORDINATE, COORDINATE)
def test_iou_does_not_depend_on_the_place(a: np.ndarray, b: np.ndarray, dx: float, dy: float):
    shift = np.array([dx, dy, dx, dy], dtype=np.float32)
    np.testing.assert_array_equal(iou(a, b), iou(a + shift, b + shift))


CORNER = st.tuples(*[st.integers(0, 9)] * 4).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1:]))
)


@laws
@given(CORNER, CORNER)
def test_iou_is_that_of_pixels(a: tuple[int, ...], b: tuple[int, ...]):
    assert iou(np.array([a], float), np.array([b], float))[0, 0] == pytest.approx(slow_iou(a, b), abs=1e-15)


def test_iou_by_hand():
    a = as_boxes([[0, 0, 4, 4]])
    b = as_boxes([[2, 2, 6, 6], [4, 0, 8, 4], [0, 0, 2, 4], [1, 1, 3, 3], [9, 9, 9, 9]])
    np.testing.assert_array_equal(iou(a, b), [[4 / 28, 0, 0.5, 0.25, 0]])  # touching boxes do not overlap


def test_iou_of_nothing():
    some = as_boxes([[0, 0, 1, 1]])
    assert iou(as_boxes([]), some).shape == (0, 1)
    assert iou(some, as_boxes([])).shape == (1, 0)


def test_area_by_hand():
    np.testing.assert_array_equal(area(as_boxes([[1, 2, 4, 7], [3, 3, 3, 9]])), [15, 0])


@laws
@given(boxes(), st.integers(1, 700))
def test_flip_is_its_own_inverse(a: np.ndarray, width: int):
    flipped = flip(a, width)
    np.testing.assert_array_equal(flip(flipped, width), a)
    np.testing.assert_array_equal(area(flipped), area(a))
    np.testing.assert_array_equal(flipped[:, [1, 3]], a[:, [1, 3]])


def test_flip_follows_the_pixels():
    image = np.zeros((5, 9), dtype=bool)
    image[1:3, 2:6] = True
    (x0, y0, x1, y1) = flip(as_boxes([[2, 1, 6, 3]]), 9)[0].astype(int)
    mirrored = image[:, ::-1]
    assert mirrored[y0:y1, x0:x1].all()
    assert mirrored.sum() == (x1 - x0) * (y1 - y0)


def test_flip_leaves_its_input():
    a = as_boxes([[1, 2, 3, 4]])
    flip(a, 10)
    assert a.tolist() == [[1, 2, 3, 4]]


@laws
@given(boxes(), st.integers(1, 500), st.integers(1, 500))
def test_clip_is_inside_and_changes_nothing_that_is(a: np.ndarray, height: int, width: int):
    inside = clip(a, height, width)
    assert inside.dtype == np.float32
    assert (inside >= 0).all()
    assert (inside <= [width, height, width, height]).all()
    np.testing.assert_array_equal(clip(inside, height, width), inside)
    already = (a <= [width, height, width, height]).all(axis=1)
    np.testing.assert_array_equal(inside[already], a[already])


def test_clip_by_hand():
    assert clip(as_boxes([[-3, -2, 50, 4]]), 6, 10).tolist() == [[0, 0, 10, 4]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1, 2, 3]], "shape"),
        ([1, 2, 3, 4], "shape"),
        ([[0, 0, np.nan, 1]], "finite"),
        ([[0, 0, np.inf, 1]], "finite"),
        ([[0, 0, 1, 1], [5, 0, 4, 1]], "box 1 ends before it starts"),
        ([[0, 9, 1, 1]], "box 0 ends before it starts"),
    ],
)
def test_bad_boxes_are_named(values: list, message: str):
    with pytest.raises(BadInput, match=f"proposals: .*{message}"):
        as_boxes(values, "proposals")


def test_no_boxes_are_boxes():
    assert as_boxes([]).shape == (0, 4)
    assert as_boxes(np.zeros((0, 4))).dtype == np.float32


@laws
@given(boxes(), boxes())
def test_iou_follows_from_what_each_covers_of_the_other(a: np.ndarray, b: np.ndarray):
    inter = covered(a, b) * area(a)[:, None]
    np.testing.assert_allclose(inter, (covered(b, a) * area(b)[:, None]).T, rtol=1e-12)
    union = area(a)[:, None] + area(b)[None, :] - inter
    np.testing.assert_allclose(iou(a, b) * union, inter, rtol=1e-12)


def test_a_window_inside_a_crowd_is_covered_though_its_iou_is_small():
    crowd, window = as_boxes([[0, 0, 100, 100]]), as_boxes([[10, 10, 20, 20], [95, 0, 105, 10], [200, 0, 201, 1]])
    assert covered(window, crowd)[:, 0].tolist() == [1.0, 0.5, 0.0]
    assert iou(window, crowd)[0, 0] == 0.01
