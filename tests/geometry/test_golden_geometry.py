"""IoU, projection, scale choice, de-duplication and suppression equal what the release computed, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from sppcli.datasets.voc import from_voc
from sppcli.geometry.boxes import iou
from sppcli.geometry.nms import nms
from sppcli.geometry.projection import CellGrid, choose_scale, clamp_cells, project, response_windows, scale_boxes
from tests.golden_convention import cell_grid, golden, half_open, zero_based

ZF5 = CellGrid(16, 20, 1.5)  # see nets/test_receptive_field.py; the slack is the release's
CANONICAL = 13 * 16  # side of ZF-5's map at 224, times its stride
TYPES = {"f64": np.float64, "f32": np.float32}


def test_the_conversion_is_that_of_the_data_sets():
    boxes = golden("overlap")["b"]
    np.testing.assert_array_equal(half_open(boxes).astype(np.float32), from_voc(boxes))


# --- IoU ---


def test_iou():
    case = golden("overlap")
    ours = iou(half_open(case["a"]), half_open(case["b"]))
    np.testing.assert_array_equal(ours, case["iou_f64"])
    assert 0 < np.count_nonzero(ours) < ours.size  # overlapping and disjoint pairs are both there
    assert np.abs(ours - case["iou_f32"]).max() < 3e-7


def test_iou_of_float32_boxes():
    case = golden("overlap")
    ours = iou(half_open(case["a"]).astype(np.float32), half_open(case["b"]).astype(np.float32))
    assert np.abs(ours - case["iou_f32"]).max() < 3e-7


# --- windows to cells ---


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("net", [0, 1, 2])
def test_mapping(net: int, kind: str):
    case = golden("mapping")
    grid = cell_grid(case["params"][net])
    scaled = zero_based(case["boxes"].astype(TYPES[kind]).astype(np.float64))
    response = response_windows(scaled, grid)
    np.testing.assert_array_equal(response, half_open(case[f"resp_{kind}"][net]))
    size = case["map_hw"][zero_based(case["map_id"])]
    cells = clamp_cells(response, size[:, 0], size[:, 1])
    np.testing.assert_array_equal(cells, half_open(case[f"clamped_{kind}"][net]))
    crossed = (response[:, 2:] <= response[:, :2]).any(axis=1)
    clamped = ((response != cells).any(axis=1)) & ~crossed
    assert crossed.sum() > 10  # the case holds both
    assert clamped.sum() > 50


def test_mapping_params_are_zf5():
    assert cell_grid(golden("mapping")["params"][0]) == ZF5
    assert cell_grid(golden("pooling")["c1_params"]) == ZF5


# --- scale choice ---


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_scale_choice(number: int, kind: str):
    case = golden("scale_choice")
    scales = case[f"scales_{number}"]
    # The release's own rounding of the scaled box: float64 to the last bits, float32 of numbers around 1000.
    tolerance = {"f64": 1e-11, "f32": 4e-4}[kind]
    for image, (height, width) in enumerate(case["image_hw"]):
        mine = case["image_index"] == image
        boxes = half_open(case["boxes"].astype(TYPES[kind])[mine])
        which = choose_scale(boxes, height, width, scales, CANONICAL)
        np.testing.assert_array_equal(which, zero_based(case[f"best_id_{kind}_{number}"][mine]))
        scaled = scale_boxes(boxes, height, width, scales[which].astype(np.float64))
        assert np.abs(scaled - zero_based(case[f"scaled_{kind}_{number}"][mine].astype(np.float64))).max() < tolerance


def test_scale_choice_holds_ties_halves_and_a_box_without_area():
    case = golden("scale_choice")
    finite = np.isfinite(case["expected_f64"])
    distance = np.sort(np.abs(case["scales_1"][None, :] - case["expected_f64"][finite, None]), axis=1)
    assert (distance[:, 0] == distance[:, 1]).sum() == 240
    assert zero_based(case["best_id_f64_1"][~finite]).tolist() == [0] * 5  # one box without area in each image
    boxes, size = half_open(case["boxes"]), case["image_hw"][case["image_index"]]
    side = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    exact = np.divide(CANONICAL * size.min(axis=1), side, out=np.zeros(len(side)), where=side > 0)
    halves = exact % 1 == 0.5
    assert halves.sum() >= 8
    assert (np.floor(exact[halves] + 0.5) == case["expected_f64"][halves]).all()
    assert (np.rint(exact[halves]) != case["expected_f64"][halves]).any()


def test_expected_scale_rounds_halves_up():
    """Scales one apart around each expected value: the choice shows the rounding itself."""
    case = golden("scale_choice")
    finite = np.flatnonzero(np.isfinite(case["expected_f64"]))
    for row in finite:
        height, width = case["image_hw"][case["image_index"][row]]
        wanted = case["expected_f64"][row]
        which = choose_scale(half_open(case["boxes"][[row]]), height, width, wanted + np.arange(-1, 2), CANONICAL)
        assert which.tolist() == [1]


# --- de-duplication ---


def release_keys(boxes: np.ndarray, size: tuple[int, int], scales: np.ndarray) -> np.ndarray:
    """(N, 5): scale and response cells, by which the release knows a window again."""
    which = choose_scale(boxes, *size, scales.tolist(), CANONICAL)
    scaled = scale_boxes(boxes, *size, scales[which].astype(np.float64))
    return np.concatenate([which[:, None], response_windows(scaled, ZF5)], axis=1)


def first_of_each(keys: np.ndarray) -> np.ndarray:
    return np.sort(np.unique(keys, axis=0, return_index=True)[1])


def test_deduplication_keys():
    case = golden("scale_choice")
    height, width = (int(side) for side in case["dd_image_hw"])
    boxes = half_open(case["dd_boxes"])
    keys = release_keys(boxes, (height, width), case["scales_1"])
    np.testing.assert_array_equal(keys[:, 0], zero_based(case["dd_best_id"]))
    np.testing.assert_array_equal(keys[:, 1:], half_open(case["dd_resp"]))
    np.testing.assert_array_equal(first_of_each(keys), zero_based(case["dd_unique_id"]))
    scaled = scale_boxes(boxes, height, width, case["scales_1"][keys[:, 0]].astype(np.float64))
    assert np.abs(scaled - zero_based(case["dd_scaled_f32"].astype(np.float64))).max() < 1e-4


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_deduplication_keeps_the_same_boxes(number: int, kind: str):
    case = golden("scale_choice")
    expected = case[f"dedup_keep_{kind}_{number}"]
    ours = np.zeros(len(expected), dtype=bool)
    for image, (height, width) in enumerate(case["image_hw"]):
        rows = np.flatnonzero(case["image_index"] == image)
        boxes = half_open(case["boxes"].astype(TYPES[kind])[rows])
        keys = release_keys(boxes, (int(height), int(width)), case[f"scales_{number}"])
        ours[rows[first_of_each(keys)]] = True
    np.testing.assert_array_equal(ours, expected)
    assert not expected.all()


# --- the whole chain ---


def test_project_is_the_chain_of_its_steps():
    """Windows of the pooling case: `project` gives the scale and cells that the single steps give."""
    case = golden("pooling")
    height, width = (int(side) for side in case["c1_image_hw"])
    boxes, scales = half_open(case["c1_boxes"]), case["c1_scales"].tolist()
    sizes = [case[f"c1_feat_{i + 1}"].shape[:2] for i in range(len(scales))]
    which, cells = project(boxes, height, width, scales, sizes, ZF5, CANONICAL)
    assert set(which.tolist()) == set(range(5))
    for row in range(len(boxes)):
        scaled = scale_boxes(boxes[[row]], height, width, scales[which[row]])
        one = clamp_cells(response_windows(scaled, ZF5), *sizes[which[row]])
        assert cells[row].tolist() == one[0].tolist()


# --- suppression ---


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("number", range(1, 11))
def test_nms(number: int, kind: str):
    case = golden("nms")
    rows = case[f"boxes_{number}"]
    boxes, scores = half_open(rows[:, :4]).astype(TYPES[kind]), rows[:, 4].astype(TYPES[kind])
    picks = nms(boxes, scores, float(case[f"threshold_{number}"]))
    assert picks.tolist() == zero_based(case[f"pick_{number}"]).tolist()


def test_nms_case_four_would_show_another_inequality():
    """Case 4 holds an IoU of exactly 0.3, which survives: a threshold just below drops one more box."""
    case = golden("nms")
    boxes, scores = half_open(case["boxes_4"][:, :4]), case["boxes_4"][:, 4]
    assert len(nms(boxes, scores, np.nextafter(0.3, 0))) < len(case["pick_4"])


@pytest.mark.parametrize("number", range(1, 5))
def test_nms_of_several_classes(number: int):
    case = golden("nms")
    rows = case["multiclass_boxes"]
    picks = nms(half_open(rows[:, :4]), rows[:, 3 + number], 0.3)
    assert picks.tolist() == zero_based(case[f"multiclass_pick_{number}"]).tolist()
