"""Projection and scale choice against slow versions written from the paper, and the laws that windows keep."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.geometry.projection import CellGrid, choose_scale, clamp_cells, project, response_windows, scale_boxes

laws = settings(max_examples=150, deadline=None)
ENDS = st.tuples(st.integers(-200, 1400), st.integers(0, 900)).map(lambda v: (v[0], v[0] + v[1]))
BOXES = st.lists(
    st.tuples(ENDS, ENDS).map(lambda e: (e[0][0], e[1][0], e[0][1], e[1][1])), min_size=1, max_size=10
).map(lambda rows: np.array(rows, dtype=np.float64))
GRIDS = st.builds(
    CellGrid,
    stride=st.sampled_from([1.0, 4.0, 8.0, 12.0, 16.0, 32.0]),
    centre=st.integers(-8, 80).map(lambda halves: halves / 2),
    slack=st.integers(0, 6).map(lambda halves: halves / 2),
)


def appendix_a(start: int, end: int, stride: int) -> tuple[int, int]:
    """First and last cell of a window's side, in integers: floor(x / S) + 1 and ceil(x / S) - 1."""
    return start // stride + 1, -(-end // stride) - 1


def cells_inside(start: float, end: float, grid: CellGrid) -> list[int]:
    """Units whose centre lies strictly inside the widened side, by looking at every unit there could be."""
    low, high = start - grid.slack, end + grid.slack
    some = range(math.floor((low - grid.centre) / grid.stride) - 2, math.ceil((high - grid.centre) / grid.stride) + 3)
    return [k for k in some if low < grid.centre + grid.stride * k < high]


@laws
@given(BOXES, st.sampled_from([1, 2, 12, 16, 32]))
def test_appendix_a_is_the_grid_without_slack(boxes: np.ndarray, stride: int):
    """Padding floor(k / 2) in every layer puts the first unit's centre at pixel 0."""
    ours = response_windows(boxes, CellGrid(stride, 0.0))
    for (x0, y0, x1, y1), cells in zip(boxes.astype(int).tolist(), ours.tolist(), strict=True):
        (left, right), (top, bottom) = appendix_a(x0, x1, stride), appendix_a(y0, y1, stride)
        assert cells == [left, top, right + 1, bottom + 1]


@laws
@given(BOXES, GRIDS)
def test_a_window_takes_the_centres_inside_it(boxes: np.ndarray, grid: CellGrid):
    for (x0, y0, x1, y1), cells in zip(boxes.tolist(), response_windows(boxes, grid).tolist(), strict=True):
        for start, end, first, past in ((x0, x1, cells[0], cells[2]), (y0, y1, cells[1], cells[3])):
            inside = cells_inside(start, end, grid)
            if inside:
                assert (first, past) == (inside[0], inside[-1] + 1)
            else:
                assert past <= first


@laws
@given(BOXES, GRIDS, st.integers(1, 80), st.integers(1, 80))
def test_settled_windows_are_never_empty_and_inside_the_map(boxes: np.ndarray, grid: CellGrid, height: int, width: int):
    cells = clamp_cells(response_windows(boxes, grid), height, width)
    assert (cells[:, :2] >= 0).all()
    assert (cells[:, 2:] > cells[:, :2]).all()
    assert (cells[:, 2:] <= [width, height]).all()


@laws
@given(BOXES, GRIDS)
def test_settling_leaves_windows_that_are_inside(boxes: np.ndarray, grid: CellGrid):
    response = response_windows(boxes, grid)
    inside = (response[:, :2] >= 0).all(axis=1) & (response[:, 2:] <= [40, 30]).all(axis=1)
    inside &= (response[:, 2:] > response[:, :2]).all(axis=1)
    np.testing.assert_array_equal(clamp_cells(response, 30, 40)[inside], response[inside])


@laws
@given(st.integers(0, 1000), st.integers(0, 12), st.sampled_from([8, 12, 16, 32]), st.integers(0, 40))
def test_a_window_without_a_centre_gives_the_cell_below_it(start: int, side: int, stride: int, centre: int):
    grid = CellGrid(stride, centre)
    end = start + side
    if cells_inside(start, end, grid):
        return
    box = np.array([[start, start, end, end]], dtype=np.float64)
    cells = clamp_cells(response_windows(box, grid), 1000, 1000)[0].tolist()
    assert cells[2] - cells[0] == 1
    assert cells[3] - cells[1] == 1
    # Of the two units beside the window, the lower one; before the first unit, the first.
    assert cells[0] == cells[1] == max(0, (start - centre) // stride)


def test_settling_by_hand():
    grid = CellGrid(16, 20)  # centres 20, 36, 52 ...
    boxes = np.array(
        [[22, 22, 30, 30], [0, 0, 5, 5], [900, 900, 950, 950], [-90, -80, -60, -50], [20, 19, 36, 37]], float
    )
    cells = clamp_cells(response_windows(boxes, grid), 10, 12)
    # Between two centres: the lower cell. Beyond the map: its border cells. Centres on the edge are outside.
    assert cells.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [11, 9, 12, 10], [0, 0, 1, 1], [0, 0, 1, 2]]


def test_each_window_has_its_own_map():
    response = np.array([[0, 0, 99, 99], [0, 0, 99, 99]])
    assert clamp_cells(response, np.array([5, 7]), np.array([6, 3])).tolist() == [[0, 0, 6, 5], [0, 0, 3, 7]]


# --- scale choice ---

SCALES = st.lists(st.integers(1, 1300), min_size=1, max_size=6)
SIDES = st.integers(1, 600)


def slow_scale(box: list[int], height: int, width: int, scales: list[int], input_size: int) -> int:
    """In whole numbers: n - 1/2 <= c m / sqrt(A) is (2 n - 1)^2 A <= (2 c m)^2; ties go to the first scale."""
    size = max(0, box[2] - box[0]) * max(0, box[3] - box[1])
    if size == 0:
        return 0
    wanted = (math.isqrt((2 * input_size * min(height, width)) ** 2 // size) + 1) // 2
    best = 0
    for index, scale in enumerate(scales):
        if abs(scale - wanted) < abs(scales[best] - wanted):
            best = index
    return best


@laws
@given(BOXES, SIDES, SIDES, SCALES, st.sampled_from([180, 208, 224]))
def test_scale_choice(boxes: np.ndarray, height: int, width: int, scales: list[int], input_size: int):
    ours = choose_scale(boxes, height, width, scales, input_size)
    assert ours.dtype == np.int64
    expected = [slow_scale(box, height, width, scales, input_size) for box in boxes.astype(int).tolist()]
    assert ours.tolist() == expected


def test_scale_choice_by_hand():
    # An image of 500 x 375; a window of 224 x 224 pixels is input_size at its own size, 375.
    boxes = np.array([[0, 0, 224, 224], [0, 0, 112, 112], [0, 0, 448, 112], [7, 7, 7, 30]], dtype=np.float32)
    assert choose_scale(boxes, 375, 500, (375, 750, 1125)).tolist() == [0, 1, 0, 0]
    assert choose_scale(boxes[:1], 375, 500, (376, 374)).tolist() == [0]  # a tie
    assert choose_scale(boxes[:1], 375, 500, (374, 376)).tolist() == [0]
    assert choose_scale(boxes[:0], 375, 500, (374, 376)).shape == (0,)


# --- scaled boxes ---


def test_corner_pixels_stay_corner_pixels():
    """The last pixel of the shorter side goes to the last pixel of the scaled one."""
    assert scale_boxes(np.array([[0, 0, 500, 375]]), 375, 500, 688.0)[0, [0, 1, 3]].tolist() == [0, 0, 687]
    assert scale_boxes(np.array([[0, 0, 375, 500]]), 500, 375, 688.0)[0, [0, 1, 2]].tolist() == [0, 0, 687]


def test_scale_one_a_box():
    boxes = np.array([[10, 10, 21, 31], [10, 10, 21, 31]])
    np.testing.assert_allclose(
        scale_boxes(boxes, 101, 300, np.array([101.0, 201.0])), [[10, 10, 20, 30], [20, 20, 40, 60]], atol=1e-12
    )


def test_an_image_one_pixel_high():
    scaled = scale_boxes(np.array([[0, 0, 40, 1]]), 1, 40, 480.0)
    assert np.isfinite(scaled).all()
    which, cells = project(np.array([[0, 0, 40, 1]]), 1, 40, [480], [(30, 1200)], CellGrid(16, 0))
    assert which.tolist() == [0]
    assert (cells[:, 2:] > cells[:, :2]).all()


def exact_cells(pixels: np.ndarray, shorter: int, scale: int, grid: CellGrid) -> tuple[np.ndarray, np.ndarray]:
    """First cell after each pixel and the cell past the last before it, in whole numbers of 1 / (2 (m - 1)) pixels."""
    unit = 2 * (shorter - 1)
    at = 2 * pixels * (scale - 1) - int(unit * grid.centre)
    slack, step = int(unit * grid.slack), int(unit * grid.stride)
    return (at - slack) // step + 1, -(-(at + slack) // step)


@pytest.mark.parametrize("grid", [CellGrid(16, 20, 1.5), CellGrid(16, 20), CellGrid(16, 0), CellGrid(12, 14.5, 1.5)])
def test_every_whole_coordinate_finds_the_centres_strictly_inside(grid: CellGrid):
    """All pixels of images with shorter sides of 2 to 900, at the scales of the paper and the release."""
    checked = 0
    for shorter in range(2, 901):
        pixels = np.arange(shorter * 4 // 3)
        for scale in (480, 576, 688, 864, 874, 1200):
            # Both ends are this pixel: a half-open box ends one further.
            boxes = np.stack([pixels, pixels, pixels + 1, pixels + 1], axis=1)
            cells = response_windows(scale_boxes(boxes, shorter, shorter * 4 // 3, float(scale)), grid)
            first, past = exact_cells(pixels, shorter, scale, grid)
            np.testing.assert_array_equal(cells[:, 0], first)
            np.testing.assert_array_equal(cells[:, 2], past)
            checked += len(pixels)
    assert checked > 3 * 10**6


def test_an_end_on_a_centre_is_outside():
    """Pixel 462 of 277 goes to 462 * 575 / 276 = 962.5 exactly, which plus the slack is 964, the centre of cell 59."""
    _, cells = project([[100, 100, 463, 200]], 277, 500, [576], [(36, 64)], CellGrid(16, 20, 1.5), 208, "side")
    assert cells[0, 2] == 59


@laws
@given(BOXES, st.integers(1, 600), SCALES, st.sampled_from([180, 208, 224]))
def test_scale_choice_by_pixel_counts(boxes: np.ndarray, shorter: int, scales: list[int], input_size: int):
    ours = choose_scale(boxes, shorter, 700, scales, input_size, "pixels")
    for (x0, y0, x1, y1), choice in zip(boxes.astype(int).tolist(), ours.tolist(), strict=True):
        counts = [Fraction((x1 - x0) * (y1 - y0) * scale**2, shorter**2) for scale in scales]
        distances = [abs(count - input_size**2) for count in counts]
        assert choice == distances.index(min(distances))


def test_a_tie_of_pixel_counts_goes_to_the_first_scale():
    # 61 * 98 * (480^2 + 576^2) = 2 * (224 * 183)^2: one scale gives too few pixels by as much as the other too many.
    box = np.array([[0, 0, 61, 98]])
    assert choose_scale(box, 183, 300, (480, 576), 224, "pixels").tolist() == [0]
    assert choose_scale(box, 183, 300, (576, 480), 224, "pixels").tolist() == [0]


@laws
@given(BOXES, st.integers(2, 600), st.integers(2, 600), GRIDS)
def test_projected_windows_can_be_pooled(boxes: np.ndarray, height: int, width: int, grid: CellGrid):
    sizes = [(20, 31), (4, 5), (1, 1)]
    which, cells = project(boxes, height, width, (480, 100, 10), sizes, grid)
    limits = np.array(sizes)[which][:, ::-1]
    assert (cells[:, :2] >= 0).all()
    assert (cells[:, 2:] > cells[:, :2]).all()
    assert (cells[:, 2:] <= limits).all()


@pytest.mark.parametrize("size", [(480, 640), (640, 480)])
def test_the_whole_image_is_the_whole_map(size: tuple[int, int]):
    """With centres on every 16th pixel from 8, a window over the whole image holds all of them."""
    height, width = size
    box = np.array([[0, 0, width, height]])
    _, cells = project(box, height, width, [480], [(height // 16, width // 16)], CellGrid(16, 8))
    assert cells.tolist() == [[0, 0, width // 16, height // 16]]
