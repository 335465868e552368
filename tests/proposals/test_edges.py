"""Edge maps: an independent slow thinning, edges whose direction is known, and models that are none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.errors import BadInput, MissingInput, StaleArtefact
from sppcli.images import digest
from sppcli.proposals.edge_boxes import edge_boxes
from sppcli.proposals.edges import forest_edges, gradient_edges, open_forest, thin
from tests.proposals.forest import write_forest


def slow_thin(strength, orientation, radius):
    height, width = strength.shape
    out = np.zeros_like(strength)
    for row in range(height):
        for column in range(width):
            here, angle = strength[row, column], float(orientation[row, column])
            stays = True
            for step in range(-radius, radius + 1):
                if step:
                    x = min(max(column + step * math.cos(angle), 0), width - 1)
                    y = min(max(row + step * math.sin(angle), 0), height - 1)
                    stays = stays and here >= at(strength, y, x) - 1e-6
            out[row, column] = here if stays else 0
    return out


def at(values, y, x):
    top, left = math.floor(y), math.floor(x)
    total = 0.0
    for row, share_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, share_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            if share_x * share_y:
                total += share_x * share_y * float(values[row, column])
    return total


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_thinning_is_the_slow_one(seed: int, height: int, width: int, radius: int) -> None:
    rng = np.random.default_rng(seed)
    strength = rng.random((height, width)).astype(np.float32)
    strength[rng.random((height, width)) < 0.3] = 0
    orientation = (rng.random((height, width)) * math.pi).astype(np.float32)
    np.testing.assert_array_equal(thin(strength, orientation, radius), slow_thin(strength, orientation, radius))


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 120, 165])
def test_a_straight_edge_is_thin_and_faces_along_its_normal(degrees: int) -> None:
    angle = math.radians(degrees)
    y, x = np.mgrid[:81, :81] - 40
    side = x * math.cos(angle) + y * math.sin(angle)
    image = np.where(side > 0, 220, 60).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    strength, orientation = gradient_edges(image)
    rows, columns = np.nonzero(strength[15:66, 15:66] > 0.5)
    assert len(rows) >= 40  # the edge crosses the middle from side to side
    # At most two pixels wide, and on the step itself.
    assert np.abs(side[15:66, 15:66][rows, columns]).max() <= 1.5
    turned = orientation[15:66, 15:66][rows, columns] - angle
    assert np.abs(np.mod(turned + math.pi / 2, math.pi) - math.pi / 2).max() < math.radians(8)


def test_the_steepest_channel_counts() -> None:
    image = np.full((40, 60, 3), 100, dtype=np.uint8)
    image[:, 30:, 2] = 250
    strength, _ = gradient_edges(image)
    assert strength[20, 29:31].max() == 1
    assert strength[:, :15].max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2), (31, 31), (32, 33), (100, 4)])
@pytest.mark.parametrize("kind", ["black", "noise"])
def test_images_of_any_size_have_edges_and_windows(shape: tuple[int, int], kind: str) -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((*shape, 3), np.uint8) if kind == "black" else rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    strength, orientation = gradient_edges(image)
    assert strength.shape == orientation.shape == shape
    assert strength.dtype == orientation.dtype == np.float32
    assert 0 <= strength.min() <= strength.max() <= 1
    assert 0 <= orientation.min() <= orientation.max() < np.float32(math.pi)
    boxes, scores = edge_boxes(image, max_proposals=20, max_side=640)
    assert boxes.shape == (len(scores), 4)
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes >= 0).all()
    assert (boxes <= [shape[1], shape[0]] * 2).all()
    if kind == "black":
        assert strength.max() == 0
        assert len(boxes) == 0


def test_a_lone_square_is_the_best_window_wherever_it_is() -> None:
    for left, top in ((50, 60), (20, 100)):
        image = np.full((200, 240, 3), 180, np.uint8)
        image[top : top + 80, left : left + 90] = 40
        boxes, scores = edge_boxes(image, max_proposals=50, max_side=640)
        assert (np.diff(scores) <= 0).all()
        assert len(np.unique(boxes, axis=0)) == len(boxes)
        middle = (boxes[0, :2] + boxes[0, 2:]) / 2
        np.testing.assert_allclose(middle, [left + 45, top + 40], atol=6)


def test_windows_start_at_the_first_pixel() -> None:
    """OpenCV counts corners from 1: as it gives them, no box would start at 0."""
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    boxes, _ = edge_boxes(image, max_proposals=500, max_side=640)
    assert boxes.min(axis=0)[:2].tolist() == [0, 0]


def test_a_larger_image_is_searched_small() -> None:
    image = np.full((400, 480, 3), 180, np.uint8)
    image[120:280, 100:280] = 40
    small, _ = edge_boxes(np.ascontiguousarray(image[::2, ::2]), max_proposals=20, max_side=640)
    large, _ = edge_boxes(image, max_proposals=20, max_side=240)
    np.testing.assert_array_equal(large, 2 * small)


def test_a_forest_marks_the_edges_it_was_made_for(tmp_path: Path) -> None:
    model = write_forest(tmp_path / "model.yml.gz")
    image = np.full((200, 240, 3), 180, np.uint8)
    image[60:140, 50:170] = 40
    edges, orientation = forest_edges(image, str(model))
    assert edges.shape == orientation.shape == (200, 240)
    assert edges[100, 47:53].max() > 0.5
    assert edges[95:105, 80:140].max() == 0
    boxes, _ = edge_boxes(image, max_proposals=20, max_side=640, model=str(model))
    assert np.abs(boxes[0] - [50, 60, 170, 140]).max() <= 10


def test_models_that_are_not_there_or_not_models(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="opencv_extra, testdata/cv/ximgproc/model"):
        open_forest(str(tmp_path / "nowhere.yml.gz"))
    for number, text in enumerate(
        ("", "hello", "%YAML:1.0\n---\na: 1\n", "%YAML:1.0\n---\noptions:\n   numberOfTrees: 1\nchilds:\n   - [ 0 ]\n")
    ):
        path = tmp_path / f"{number}.yml"
        path.write_text(text)
        with pytest.raises(BadInput, match="not a structured-forest edge model"):
            open_forest(str(path))


def test_another_model_than_recorded_is_refused(tmp_path: Path) -> None:
    model = write_forest(tmp_path / "a.yml")
    open_forest(str(model), digest(model.read_bytes()))
    with pytest.raises(StaleArtefact, match="not the edge model"):
        open_forest(str(model), "0" * 64)
