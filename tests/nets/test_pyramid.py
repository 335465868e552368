"""The pyramid as a layer of its own: Appendix A's bins, any size in, gradients, and every way to take it elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.nets.pyramid import SpatialPyramidPool, bins_in, pool_bins
from tests.devices import DEVICES


def slow(maps: np.ndarray, levels: tuple[int, ...]) -> np.ndarray:
    """Appendix A, bin by bin."""
    count, _, height, width = maps.shape
    out = []
    for n in levels:
        for i in range(n):
            for j in range(n):
                top, bottom = int(np.floor(i * height / n)), int(np.ceil((i + 1) * height / n))
                left, right = int(np.floor(j * width / n)), int(np.ceil((j + 1) * width / n))
                out.append(maps[:, :, top:bottom, left:right].max(axis=(2, 3)))
    return np.concatenate(out, axis=1).reshape(count, -1)


@pytest.mark.parametrize("levels", [(3, 2, 1), (6,), (1, 6, 2)])
def test_bins_of_many_regions_are_pooled_alike(levels: tuple[int, ...]) -> None:
    bins = torch.randn(5, 7, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pool_bins(bins, levels), SpatialPyramidPool(levels)(bins))
    assert torch.equal(pool_bins(bins[:0], levels), SpatialPyramidPool(levels)(bins)[:0])


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_appendix_a(device: str, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 19)), data.draw(st.integers(1, 19))
    levels = tuple(data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=4)))
    maps = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(2, 3, height, width)).astype(np.float32)
    got = SpatialPyramidPool(levels)(torch.from_numpy(maps).to(device)).cpu().numpy()
    assert got.shape == (2, bins_in(levels) * 3)
    np.testing.assert_array_equal(got, slow(maps, levels))


@pytest.mark.parametrize("device", DEVICES)
def test_a_ramp(device: str) -> None:
    ramp = torch.arange(25, dtype=torch.float32, device=device).reshape(1, 1, 5, 5)
    assert SpatialPyramidPool((2, 1))(ramp).tolist() == [[12, 14, 22, 24, 24]]


@pytest.mark.parametrize("device", DEVICES)
def test_the_gradient_goes_to_each_bins_greatest(device: str) -> None:
    maps = torch.randperm(2 * 3 * 7 * 5).double().reshape(2, 3, 7, 5).to(device).requires_grad_()
    assert torch.autograd.gradcheck(SpatialPyramidPool((3, 2, 1)), (maps,))


@pytest.mark.parametrize("levels", [(), (0, 1), (-2,)])
def test_levels_that_are_none(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="pyramid levels must be positive"):
        SpatialPyramidPool(levels)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")  # deprecated, and still in use
def test_scripted(tmp_path: Path) -> None:
    layer = SpatialPyramidPool((6, 3, 2, 1))
    torch.jit.save(torch.jit.script(layer), str(tmp_path / "layer.pt"))
    again = torch.jit.load(str(tmp_path / "layer.pt"))
    for shape in ((1, 4, 13, 13), (2, 4, 9, 21)):
        maps = torch.randn(shape)
        assert torch.equal(again(maps), layer(maps))


def test_exported() -> None:
    layer, maps = SpatialPyramidPool((6, 3, 2, 1)), torch.randn(1, 4, 13, 17)
    assert torch.equal(torch.export.export(layer, (maps,)).module()(maps), layer(maps))


def test_onnx(tmp_path: Path) -> None:
    layer, maps = SpatialPyramidPool((6, 3, 2, 1)).eval(), torch.randn(1, 4, 13, 17)
    torch.onnx.export(layer, (maps,), str(tmp_path / "layer.onnx"), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "layer.onnx"))
    (got,) = session.run(None, {session.get_inputs()[0].name: maps.numpy()})
    np.testing.assert_array_equal(got, layer(maps).numpy())
