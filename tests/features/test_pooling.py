"""Pyramid pooling: the release's numbers bit for bit, torchvision's roi_pool, the torch layer, and a slow loop."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import roi_pool

from sppcli.features.pooling import pool_windows
from sppcli.geometry.projection import project
from sppcli.nets.pyramid import SpatialPyramidPool, bins_in, pool_regions
from tests.golden_convention import cell_grid, golden, half_open

PYRAMIDS = [(6, 3, 2, 1), (4, 2, 1), (4, 3, 2, 1), (5, 4), (1,), (1, 2, 3, 6), (7,), (3, 3)]
laws = settings(max_examples=60, deadline=None)


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")
    return torch.device(request.param)


def to_release_layout(pooled: np.ndarray, levels: Sequence[int]) -> np.ndarray:
    """Our vectors (N, bins * C) in the release's order.

    Both go level after level. Inside a level of n x n bins ours is (row, column, channel), channels fastest; the
    release's is (channel, row, column), columns fastest. Weights of its fc6 need the same permutation, inverted.
    """
    channels = pooled.shape[1] // bins_in(levels)
    parts, start = [], 0
    for n in levels:
        level = pooled[:, start : start + n * n * channels].reshape(-1, n, n, channels)
        parts.append(level.transpose(0, 3, 1, 2).reshape(len(pooled), -1))
        start += n * n * channels
    return np.concatenate(parts, axis=1)


def slow_pool(conv_map: np.ndarray, cells: np.ndarray, levels: Sequence[int]) -> np.ndarray:
    """Appendix A bin by bin, the limits as exact fractions."""
    rows = []
    for x0, y0, x1, y1 in cells.tolist():
        window = conv_map[y0:y1, x0:x1]
        height, width = y1 - y0, x1 - x0
        parts = []
        for n in levels:
            for i in range(n):
                for j in range(n):
                    top, bottom = floor(Fraction(i * height, n)), ceil(Fraction((i + 1) * height, n))
                    left, right = floor(Fraction(j * width, n)), ceil(Fraction((j + 1) * width, n))
                    parts.append(window[top:bottom, left:right].max(axis=(0, 1)))
        rows.append(np.concatenate(parts))
    return np.array(rows, dtype=np.float32).reshape(len(cells), -1)


def random_case(seed: int, height: int, width: int, channels: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A map of both signs, and windows: the whole map, each corner cell, and random ones."""
    rng = np.random.default_rng(seed)
    conv_map = rng.standard_normal((height, width, channels)).astype(np.float32)
    x = np.sort(rng.integers(0, width + 1, (count, 2)), axis=1)
    y = np.sort(rng.integers(0, height + 1, (count, 2)), axis=1)
    random = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)
    random = random[(x[:, 1] > x[:, 0]) & (y[:, 1] > y[:, 0])]
    fixed = [[0, 0, width, height], [0, 0, 1, 1], [width - 1, height - 1, width, height], [0, height - 1, 1, height]]
    return conv_map, np.concatenate([np.array(fixed, dtype=np.int64), random])


# --- the release ---


@pytest.mark.parametrize("kind", ["f64", "f32"])
def test_pooling_of_the_release(kind: str):
    """From boxes in the image to pooled vectors: 300 windows over five scales, among them 1-pixel and outside ones."""
    case = golden("pooling")
    height, width = (int(side) for side in case["c1_image_hw"])
    maps = [case[f"c1_feat_{i}"] for i in range(1, 6)]
    scales, levels = case["c1_scales"].tolist(), case["c1_divs"].tolist()
    boxes = half_open(case["c1_boxes"].astype({"f64": np.float64, "f32": np.float32}[kind]))
    sizes = [conv_map.shape[:2] for conv_map in maps]
    which, cells = project(boxes, height, width, scales, sizes, cell_grid(case["c1_params"]), 208)
    pooled = np.full((len(boxes), bins_in(levels) * 8), np.nan, dtype=np.float32)
    for scale in range(5):
        rows = np.flatnonzero(which == scale)
        assert len(rows)
        pool_windows(maps[scale], cells[rows], levels, pooled, rows)
    assert (pooled < 0).mean() > 0.1  # the case has channels below 0,
    # and the release starts its maximum at 0: the same on maps after a ReLU, which are all that it pools.
    ours = to_release_layout(np.maximum(pooled, 0), levels)
    np.testing.assert_array_equal(ours, case[f"c1_pooled_{kind}"])


def bins_of_pool(n: int, length: int, axis: int) -> np.ndarray:
    """(n, length) bool, which cells each bin reads, seen by pooling a map whose channel k is 1 in cell k alone."""
    cells = np.eye(length, dtype=np.float32)
    conv_map = cells[None] if axis == 1 else cells[:, None]
    window = np.array([[0, 0, length, 1] if axis == 1 else [0, 0, 1, length]])
    pooled = pool_windows(conv_map, window, (n,)).reshape(n, n, length)
    lines = pooled[0] if axis == 1 else pooled[:, 0]
    np.testing.assert_array_equal(pooled, np.broadcast_to(lines[None] if axis == 1 else lines[:, None], pooled.shape))
    return lines == 1


def bins_of_release(n: int, length: int) -> np.ndarray:
    case = golden("bins")
    start, end = case["start"][n - 1, length - 1, :n], case["end"][n - 1, length - 1, :n]
    position = np.arange(length)
    return (position >= start[:, None]) & (position < end[:, None])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 8])
def test_bins_of_the_release(n: int, axis: int):
    for length in range(1, 129):
        np.testing.assert_array_equal(bins_of_pool(n, length, axis), bins_of_release(n, length))


@pytest.mark.parametrize("n", [5, 7])
def test_bins_that_differ_from_the_release(n: int):
    """Its float32 product sometimes makes a bin one cell too long for these n; ours are Appendix A's."""
    longer = 0
    for length in range(1, 129):
        ours, theirs = bins_of_pool(n, length, 1), bins_of_release(n, length)
        assert (theirs >= ours).all()
        assert (theirs.sum(axis=1) - ours.sum(axis=1)).max() <= 1
        longer += int((theirs != ours).any())
    assert longer > 0


# --- other implementations ---


@laws
@given(st.integers(0, 10**6), st.integers(1, 24), st.integers(1, 24), st.integers(1, 5), st.sampled_from(PYRAMIDS))
def test_a_slow_loop(seed: int, height: int, width: int, channels: int, levels: tuple[int, ...]):
    conv_map, cells = random_case(seed, height, width, channels, 6)
    np.testing.assert_array_equal(pool_windows(conv_map, cells, levels), slow_pool(conv_map, cells, levels))


@pytest.mark.parametrize("levels", PYRAMIDS)
def test_the_torch_layer_on_crops(levels: tuple[int, ...]):
    conv_map, cells = random_case(1, 17, 23, 3, 40)
    ours = pool_windows(conv_map, cells, levels)
    layer = SpatialPyramidPool(levels)
    maps = torch.from_numpy(conv_map).permute(2, 0, 1)[None]
    crops = torch.cat([layer(maps[:, :, y0:y1, x0:x1]) for x0, y0, x1, y1 in cells.tolist()])
    np.testing.assert_array_equal(ours, crops.numpy())


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_roi_pool_of_torchvision(n: int):
    """Its windows hold both ends; otherwise the same pooling, in the release's layout."""
    conv_map, cells = random_case(2, 40, 60, 4, 300)
    regions = np.concatenate([np.zeros((len(cells), 1)), cells - np.array([0, 0, 1, 1])], axis=1)
    theirs = roi_pool(
        torch.from_numpy(conv_map).permute(2, 0, 1)[None].contiguous(), torch.from_numpy(regions).float(), n
    )
    ours = to_release_layout(pool_windows(conv_map, cells, (n,)), (n,))
    np.testing.assert_array_equal(ours, theirs.flatten(start_dim=1).numpy())


@pytest.mark.parametrize("levels", [*PYRAMIDS, (11, 9, 8)])
@pytest.mark.parametrize("kind", [torch.float16, torch.float32])
def test_on_a_device(levels: tuple[int, ...], kind: torch.dtype, device: torch.device):
    conv_map, cells = random_case(9, 63, 58, 5, 200)
    # Lengths that float32 divides into 7 and 11 bins one cell too large.
    cells = np.concatenate([cells, [[0, 0, 57, 58], [1, 5, 48, 63]]])
    conv_map = conv_map.astype(np.float16)
    pooled = pool_regions(torch.from_numpy(conv_map).to(device, kind), cells, levels)
    assert (pooled.dtype, pooled.device.type) == (torch.float32, device.type)
    np.testing.assert_array_equal(pooled.cpu().numpy(), pool_windows(conv_map, cells, levels))


# --- float16 ---


def halves(seed: int, height: int, width: int, channels: int, negative: bool) -> np.ndarray:
    """Any finite float16 numbers, subnormal ones among them, drawn by their bits."""
    bits = np.random.default_rng(seed).integers(0, 0x7C00, (height, width, channels), dtype=np.uint16)
    signs = np.random.default_rng(seed + 1).integers(0, 2, bits.shape, dtype=np.uint16) << 15
    return (bits | signs if negative else bits).view(np.float16)


@laws
@given(
    st.integers(0, 10**6),
    st.integers(1, 24),
    st.integers(1, 24),
    st.integers(1, 40),
    st.sampled_from(PYRAMIDS),
    st.booleans(),
)
def test_float16_in_and_out(seed: int, height: int, width: int, channels: int, levels: tuple[int, ...], negative: bool):
    conv_map = halves(seed, height, width, channels, negative)
    _, cells = random_case(seed, height, width, 1, 6)
    expected = slow_pool(conv_map.astype(np.float32), cells, levels)
    np.testing.assert_array_equal(pool_windows(conv_map, cells, levels), expected)
    half = np.full((len(cells) + 1, expected.shape[1]), -1, dtype=np.float16)
    rows = np.random.default_rng(seed).permutation(len(half))[: len(cells)]
    assert pool_windows(conv_map, cells, levels, half, rows) is half
    np.testing.assert_array_equal(half[rows], expected.astype(np.float16))
    assert (half[np.setdiff1d(np.arange(len(half)), rows)] == -1).all()


def test_every_float16_number_is_widened_exactly():
    everything = np.arange(0x7C00, dtype=np.uint16).view(np.float16).reshape(1, 1, -1)
    pooled = pool_windows(everything, np.array([[0, 0, 1, 1]]), (1,))
    np.testing.assert_array_equal(pooled[0], everything.astype(np.float32).ravel())


def test_an_infinite_float16_number():
    conv_map = np.array([[[1, np.inf]]], dtype=np.float16)
    assert pool_windows(conv_map, np.array([[0, 0, 1, 1]]), (1,)).tolist() == [[1, np.inf]]


def test_an_out_of_another_kind():
    with pytest.raises(ValueError, match="float16 or float32, not float64"):
        pool_windows(np.zeros((2, 2, 1), np.float32), np.array([[0, 0, 2, 2]]), (1,), np.zeros((1, 1)))


# --- by hand ---


def test_a_ramp_by_hand():
    ramp = np.arange(25, dtype=np.float32).reshape(5, 5, 1)  # row * 5 + column
    pooled = pool_windows(ramp, np.array([[0, 0, 5, 5], [1, 1, 4, 3], [2, 3, 3, 4]]), (2, 1))
    # 5 cells in 2 bins: 0-2 and 2-4. Columns 1-3: 1-2 and 2-3; rows 1-2: 1 and 2. One cell: itself, five times.
    assert pooled.tolist() == [[12, 14, 22, 24, 24], [7, 8, 12, 13, 13], [17] * 5]


def test_channels_are_fastest_and_levels_in_the_order_given():
    conv_map = np.array([[[1, 10], [2, 20]], [[3, 30], [4, 40]]], dtype=np.float32)
    whole = np.array([[0, 0, 2, 2]])
    assert pool_windows(conv_map, whole, (2, 1)).tolist() == [[1, 10, 2, 20, 3, 30, 4, 40, 4, 40]]
    assert pool_windows(conv_map, whole, (1, 2)).tolist() == [[4, 40, 1, 10, 2, 20, 3, 30, 4, 40]]


def test_a_negative_map_pools_to_negative_numbers():
    conv_map = np.full((3, 3, 2), -2, dtype=np.float32)
    assert (pool_windows(conv_map, np.array([[0, 0, 3, 3]]), (2, 1)) == -2).all()


def test_float16_maps():
    conv_map, cells = random_case(3, 9, 9, 4, 10)
    half = conv_map.astype(np.float16)
    pooled = pool_windows(half, cells, (3, 1))
    assert pooled.dtype == np.float32
    np.testing.assert_array_equal(pooled, pool_windows(half.astype(np.float32), cells, (3, 1)))


def test_a_transposed_map():
    conv_map, cells = random_case(4, 6, 8, 3, 10)
    channels_first = np.ascontiguousarray(conv_map.transpose(2, 0, 1))
    pooled = pool_windows(channels_first.transpose(1, 2, 0), cells, (2, 1))
    np.testing.assert_array_equal(pooled, pool_windows(conv_map, cells, (2, 1)))


# --- many windows, rows, out ---


def test_many_windows_are_each_pooled_alone():
    """Enough of them to be shared among threads."""
    conv_map, cells = random_case(5, 30, 30, 4, 500)
    together = pool_windows(conv_map, cells, (6, 3, 2, 1))
    alone = np.concatenate([pool_windows(conv_map, cells[[i]], (6, 3, 2, 1)) for i in range(len(cells))])
    np.testing.assert_array_equal(together, alone)


def test_rows_say_where_each_window_goes():
    conv_map, cells = random_case(6, 12, 12, 3, 200)
    rng = np.random.default_rng(0)
    out = np.full((2 * len(cells), 5 * 3), -99, dtype=np.float32)
    rows = rng.permutation(len(out))[: len(cells)]
    returned = pool_windows(conv_map, cells, (2, 1), out, rows)
    assert returned is out
    np.testing.assert_array_equal(out[rows], pool_windows(conv_map, cells, (2, 1)))
    untouched = np.setdiff1d(np.arange(len(out)), rows)
    assert (out[untouched] == -99).all()


def test_out_without_rows_is_filled_from_the_top():
    conv_map, cells = random_case(7, 5, 5, 2, 0)
    out = np.full((len(cells) + 1, 2), -99, dtype=np.float32)
    assert pool_windows(conv_map, cells, (1,), out) is out
    np.testing.assert_array_equal(out[:-1], pool_windows(conv_map, cells, (1,)))
    assert (out[-1] == -99).all()


def test_no_windows():
    conv_map, _ = random_case(8, 4, 4, 3, 0)
    assert pool_windows(conv_map, np.zeros((0, 4), dtype=np.int64), (6, 3, 2, 1)).shape == (0, 150)
    out = np.full((2, 150), -99, dtype=np.float32)
    assert (pool_windows(conv_map, np.zeros((0, 4)), (6, 3, 2, 1), out) == -99).all()


@pytest.mark.parametrize(
    "window", [[0, 0, 0, 1], [0, 0, 1, 0], [2, 2, 1, 3], [-1, 0, 2, 2], [0, -1, 2, 2], [0, 0, 6, 2], [0, 0, 2, 5]]
)
def test_windows_that_cannot_be_pooled(window: list[int]):
    conv_map = np.zeros((4, 5, 1), dtype=np.float32)
    with pytest.raises(ValueError, match="empty or leaves the map of 4 x 5 cells"):
        pool_windows(conv_map, np.array([[0, 0, 5, 4], window]), (1,))


@pytest.mark.parametrize("levels", [(), (0,), (3, -1)])
def test_levels_that_are_none(levels: tuple[int, ...]):
    with pytest.raises(ValueError, match="levels must be positive"):
        pool_windows(np.zeros((2, 2, 1), np.float32), np.array([[0, 0, 1, 1]]), levels)
    with pytest.raises(ValueError, match="levels must be positive"):
        SpatialPyramidPool(levels)


@pytest.mark.parametrize("rows", [[0], [0, 2], [-1, 0]])
def test_rows_that_do_not_fit(rows: list[int]):
    cells = np.array([[0, 0, 1, 1], [0, 0, 2, 2]])
    with pytest.raises(ValueError, match="rows must name"):
        pool_windows(np.zeros((2, 2, 1), np.float32), cells, (1,), np.zeros((2, 1), np.float32), np.array(rows))


def test_more_windows_than_rows_of_out():
    cells = np.array([[0, 0, 1, 1], [0, 0, 2, 2]])
    with pytest.raises(ValueError, match="rows must name"):
        pool_windows(np.zeros((2, 2, 1), np.float32), cells, (1,), np.zeros((1, 1), np.float32))


@pytest.mark.parametrize(
    "out",
    [np.zeros((1, 7), np.float32), np.zeros(5, np.float32), np.zeros((1, 10), np.float32)[:, ::2]],
    ids=["width", "axes", "not contiguous"],
)
def test_an_out_that_does_not_fit(out: np.ndarray):
    with pytest.raises(ValueError, match="contiguous rows of 5"):
        pool_windows(np.zeros((2, 2, 1), np.float32), np.array([[0, 0, 2, 2]]), (2, 1), out)


# --- the torch layer ---


@pytest.mark.parametrize("levels", PYRAMIDS)
def test_a_fixed_length_for_any_size(levels: tuple[int, ...]):
    layer = SpatialPyramidPool(levels)
    for height, width in [(1, 1), (1, 9), (2, 3), (10, 10), (13, 13), (7, 40)]:
        assert layer(torch.zeros(2, 5, height, width)).shape == (2, 5 * bins_in(levels))


def test_bins_of_the_papers_pyramids():
    assert [bins_in(levels) for levels in ((6, 3, 2, 1), (4, 3, 2, 1), (4, 2, 1))] == [50, 30, 21]


@pytest.mark.parametrize("size", [(7, 5), (2, 2), (1, 4)])
def test_gradient(size: tuple[int, int]):
    values = torch.randperm(2 * size[0] * size[1], generator=torch.Generator().manual_seed(0)).double()
    maps = values.reshape(1, 2, *size).requires_grad_()  # no two equal, so that the maximum is differentiable
    assert torch.autograd.gradcheck(SpatialPyramidPool((3, 2, 1)), (maps,))


def test_gradient_counts_the_bins_that_a_cell_wins():
    maps = torch.tensor([[[[9.0, 1.0], [2.0, 3.0]]]], requires_grad=True)
    SpatialPyramidPool((2, 1))(maps).sum().backward()
    assert maps.grad.tolist() == [[[[2, 1], [1, 1]]]]


def test_scriptable():
    layer = SpatialPyramidPool((3, 2, 1))
    with warnings.catch_warnings():
        # torch 2.15 deprecates torch.jit as a whole; networks are still deployed with it.
        warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated", category=DeprecationWarning)
        scripted = torch.jit.script(layer)
    for size in [(1, 1), (5, 7), (13, 13)]:
        maps = torch.randn(2, 3, *size)
        assert torch.equal(scripted(maps), layer(maps))


def test_exportable_at_a_fixed_size():
    layer = SpatialPyramidPool((3, 2, 1))
    program = torch.export.export(layer, (torch.zeros(1, 2, 10, 13),))
    maps = torch.randn(1, 2, 10, 13)
    assert torch.equal(program.module()(maps), layer(maps))


def test_printed_and_copied():
    layer = SpatialPyramidPool([4, 2, 1])
    assert str(layer) == "SpatialPyramidPool(4, 2, 1)"
    assert copy.deepcopy(layer).levels == (4, 2, 1)
    assert not list(layer.parameters())
