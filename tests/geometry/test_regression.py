"""Box regression targets: ``decode(encode(b)) = b`` on random boxes, and the targets of R-CNN by hand."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.geometry.regression import decode, encode

PLACE = st.floats(0, 1000, width=32)
SIDE = st.floats(1, 1000, width=32)
BOX = st.tuples(PLACE, PLACE, SIDE, SIDE).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
PAIRS = st.lists(st.tuples(BOX, BOX), min_size=0, max_size=10)
laws = settings(max_examples=150, deadline=None)


def split(pairs: list) -> tuple[np.ndarray, np.ndarray]:
    values = np.array(pairs, dtype=np.float64).reshape(-1, 2, 4)
    return values[:, 0], values[:, 1]


@laws
@given(PAIRS)
def test_decode_undoes_encode(pairs: list):
    windows, truth = split(pairs)
    np.testing.assert_allclose(decode(windows, encode(windows, truth)), truth, rtol=0, atol=1e-9)


@laws
@given(PAIRS, st.integers(-3, 5), st.integers(-500, 500))
def test_targets_do_not_depend_on_place_and_scale(pairs: list, power: int, shift: int):
    windows, truth = split(pairs)
    moved = encode(windows * 2.0**power + shift, truth * 2.0**power + shift)
    np.testing.assert_allclose(moved, encode(windows, truth), rtol=1e-6, atol=1e-6)


@laws
@given(PAIRS)
def test_no_target_no_change(pairs: list):
    windows, _ = split(pairs)
    np.testing.assert_allclose(decode(windows, np.zeros_like(windows)), windows, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(encode(windows, windows), np.zeros_like(windows))


def test_targets_by_hand():
    window, truth = np.array([[10.0, 20, 30, 60]]), np.array([[15.0, 10, 55, 30]])
    # centres (20, 40) and (35, 20), sides (20, 40) and (40, 20)
    expected = [[15 / 20, -20 / 40, math.log(2), math.log(0.5)]]
    np.testing.assert_allclose(encode(window, truth), expected, rtol=0, atol=1e-15)


def test_decoded_by_hand():
    window = np.array([[10.0, 20, 30, 60]], dtype=np.float32)
    moved = decode(window, np.array([[0.5, 0.25, math.log(3), 0]], dtype=np.float64))
    np.testing.assert_allclose(moved, [[0, 30, 60, 70]], rtol=0, atol=1e-12)  # centre (30, 50), sides (60, 40)
    assert moved.dtype == np.float64


def test_of_nothing():
    nothing = np.zeros((0, 4))
    assert encode(nothing, nothing).shape == (0, 4)
    assert decode(nothing, nothing).shape == (0, 4)
