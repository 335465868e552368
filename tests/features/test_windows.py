"""What counts as the same window: reading computes it once, and its features are those of each window by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.features.windows import HeldMaps, UniqueWindows, WindowReader
from sppcli.geometry.projection import CellGrid
from tests.golden_convention import golden, half_open

SCALES = (40, 64)
CELLS = {40: (5, 7), 64: (8, 11)}
# A channel per cell, so that a bin's maxima tell which cells it covers: random cells may have a maximum in common.
CHANNELS = max(rows * columns for rows, columns in CELLS.values())
READER = WindowReader(SCALES, CellGrid(8, 4), 32, channels=CHANNELS, levels=(2, 1))
MAPS = HeldMaps(
    (40, 56),
    tuple(np.eye(r * c, CHANNELS, dtype=np.float32).reshape(r, c, CHANNELS) for r, c in CELLS.values()),
)


@dataclass(frozen=True)
class Table:
    """Vectors of windows that come without maps: the boxes themselves."""

    size: tuple[int, int] = (40, 56)

    def of(self, boxes: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        return np.asarray(boxes, dtype=np.float32)


ENDS = st.tuples(st.integers(0, 50), st.integers(1, 30)).map(lambda v: (v[0], v[0] + v[1]))
BOXES = st.lists(
    st.tuples(ENDS, ENDS).map(lambda e: (e[0][0], e[1][0], e[0][1], e[1][1])), min_size=1, max_size=25
).map(lambda rows: np.array(rows, dtype=np.float32))


def check(unique: UniqueWindows, boxes: np.ndarray, features: np.ndarray) -> None:
    np.testing.assert_array_equal(unique.spread(unique.values), features)
    assert len(np.unique(unique.values, axis=0)) == len(unique.values)
    # The first window of each row, and rows of them.
    assert sorted(unique.rows[unique.firsts].tolist()) == list(range(len(unique.values)))
    for window, row in enumerate(unique.rows.tolist()):
        assert unique.firsts[row] <= window


@settings(max_examples=100, deadline=None)
@given(BOXES)
def test_windows_are_the_same_exactly_when_their_features_are(boxes: np.ndarray):
    alone = np.concatenate([READER.features(MAPS, box[None]) for box in boxes])
    unique = READER.unique(MAPS, boxes)
    check(unique, boxes, alone)
    keys = READER.keys(MAPS, boxes)
    for i in range(len(boxes)):
        same = (keys == keys[i]).all(axis=1)
        np.testing.assert_array_equal(same, (alone == alone[i]).all(axis=1))
    assert READER.firsts(MAPS, boxes).tolist() == sorted(unique.firsts.tolist())


@settings(max_examples=50, deadline=None)
@given(BOXES)
def test_windows_without_maps_are_the_same_by_their_boxes(boxes: np.ndarray):
    unique = READER.unique(Table(), boxes)
    check(unique, boxes, boxes)
    assert unique.firsts.tolist() == sorted(unique.firsts.tolist()) == READER.firsts(Table(), boxes).tolist()


def test_windows_that_see_the_same_border_cells_are_the_same():
    """Beyond the last centre, and between two: the release tells them apart by cells that are not there."""
    boxes = np.array([[0, 0, 3, 3], [1, 1, 4, 4], [0, 0, 4, 4], [13, 13, 15, 15]], np.float32)
    keys = WindowReader((40,), CellGrid(8, 4), 32, channels=3, levels=(1,)).keys(
        HeldMaps((40, 56), MAPS.maps[:1]), boxes
    )
    assert keys[:3].tolist() == [keys[0].tolist()] * 3
    assert keys[3].tolist() != keys[0].tolist()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_the_release_takes_for_the_same_is_the_same(number: int):
    """Golden boxes: of those that the release keeps, ours are some, and every one it drops is like one before it."""
    case = golden("scale_choice")
    scales = case[f"scales_{number}"].tolist()
    reader = WindowReader(tuple(scales), CellGrid(16, 20, 1.5), 208, channels=1, levels=(1,), scale_rule="side")
    fewer = 0
    for image, (height, width) in enumerate(case["image_hw"].tolist()):
        mine = case["image_index"] == image
        sides = [(round(height * s / min(height, width)), round(width * s / min(height, width))) for s in scales]
        maps = HeldMaps((height, width), tuple(np.zeros((h // 16 - 1, w // 16 - 1, 1), np.float32) for h, w in sides))
        firsts = reader.firsts(maps, half_open(case["boxes"][mine]))
        kept = np.flatnonzero(case[f"dedup_keep_f64_{number}"][mine])
        assert set(firsts.tolist()) <= set(kept.tolist())
        fewer += len(kept) - len(firsts)
    assert fewer > 0
