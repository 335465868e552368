"""Boxes around shapes, against the shapes' own points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppcli.datasets.shapes import around, ellipse, ordered, pairs, turned_box

coordinates = st.floats(-500, 500)
sides = st.floats(0.5, 300)
angles = st.floats(-720, 720)


@given(coordinates, coordinates, sides, sides, angles, st.booleans())
def test_a_turned_box_is_the_box_around_its_turned_corners(
    x: float, y: float, width: float, height: float, degrees: float, about_corner: bool
) -> None:
    box = (x, y, x + width, y + height)
    pivot = (x, y) if about_corner else (x + width / 2, y + height / 2)
    turn = np.exp(1j * math.radians(degrees))  # with y downwards this is clockwise
    corners = np.array([complex(a, b) for a in box[::2] for b in box[1::2]])
    turned = complex(*pivot) + (corners - complex(*pivot)) * turn
    wanted = (turned.real.min(), turned.imag.min(), turned.real.max(), turned.imag.max())
    assert turned_box(box, degrees, pivot if about_corner else None) == pytest.approx(wanted, abs=1e-6)


@given(coordinates, coordinates, sides, sides, angles)
def test_an_ellipse_touches_each_side_of_its_box(cx: float, cy: float, rx: float, ry: float, degrees: float) -> None:
    along = np.linspace(0, 2 * np.pi, 20_001)
    rim = (rx * np.cos(along) + 1j * ry * np.sin(along)) * np.exp(1j * math.radians(degrees)) + complex(cx, cy)
    wanted = (rim.real.min(), rim.imag.min(), rim.real.max(), rim.imag.max())
    assert ellipse(cx, cy, rx, ry, degrees) == pytest.approx(wanted, abs=1e-3)


def test_quarter_turns_are_exact() -> None:
    assert turned_box((10, 10, 30, 20), 90) == (15, 5, 25, 25)
    assert turned_box((10, 10, 30, 20), 180) == (10, 10, 30, 20)
    assert turned_box((10, 10, 30, 20), -90, (10, 10)) == (10, -10, 20, 10)
    assert turned_box((10, 10, 30, 20), 360) == (10, 10, 30, 20)


def test_points() -> None:
    assert around([(3, 4), (1, 9), (2, 2)]) == (1, 2, 3, 9)
    assert pairs([1, 2, 3, 4, 5]) == [(1, 2), (3, 4)]
    assert ordered((9, 1, 2, 8)) == (2, 1, 9, 8)
