"""Local response normalisation against torch's, against Caffe's definition written out, and by its gradients."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sppcli.nets.lrn import AcrossChannels, WithinChannel


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 12),
    size=st.integers(1, 7),
    alpha=st.floats(1e-5, 2),
    beta=st.sampled_from([0.5, 0.75, 1.0]),
    seed=st.integers(0, 99),
)
def test_across_channels_is_torchs(channels: int, size: int, alpha: float, beta: float, seed: int) -> None:
    maps = torch.randn(2, channels, 4, 5, generator=torch.Generator().manual_seed(seed)) * 3
    expected = nn.LocalResponseNorm(size, alpha, beta, 1.0)(maps)
    torch.testing.assert_close(AcrossChannels(channels, size, alpha, beta)(maps), expected, rtol=2e-6, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(size=st.sampled_from([1, 3, 5]), alpha=st.floats(1e-5, 2), seed=st.integers(0, 99))
def test_within_a_channel_is_caffes(size: int, alpha: float, seed: int) -> None:
    maps = np.random.default_rng(seed).normal(0, 3, size=(1, 2, 6, 4))
    around = np.pad(maps, ((0, 0), (0, 0), (size // 2,) * 2, (size // 2,) * 2))
    expected = np.empty_like(maps)
    for y in range(6):
        for x in range(4):
            # Caffe averages over the whole square, zeros beyond the border included.
            mean = (around[:, :, y : y + size, x : x + size] ** 2).sum(axis=(2, 3)) / size**2
            expected[:, :, y, x] = maps[:, :, y, x] / (1 + alpha * mean) ** 0.75
    got = WithinChannel(size, alpha, 0.75)(torch.from_numpy(maps)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.parametrize("layer", [AcrossChannels(6, 5, 0.7, 0.75), WithinChannel(3, 0.7, 0.75)])
def test_gradients(layer: nn.Module) -> None:
    maps = torch.randn(1, 6, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer.double(), (maps,))


@pytest.mark.parametrize("layer", [AcrossChannels(6, 5, 0.7, 0.75), WithinChannel(3, 0.7, 0.75)])
def test_scripted_and_exported_layers_compute_the_same(layer: nn.Module, tmp_path: Path) -> None:
    maps = torch.randn(1, 6, 7, 5, generator=torch.Generator().manual_seed(1))
    expected = layer(maps)
    with warnings.catch_warnings():
        # torch 2.15 deprecates torch.jit as a whole; networks are still deployed with it.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(layer)
    torch.testing.assert_close(scripted(maps), expected, rtol=2e-6, atol=1e-6)
    exported = torch.export.export(layer.eval(), (maps,)).module()
    torch.testing.assert_close(exported(maps), expected, rtol=2e-6, atol=1e-6)
    torch.onnx.export(layer, (maps,), str(tmp_path / "layer.onnx"), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "layer.onnx"))
    (got,) = session.run(None, {session.get_inputs()[0].name: maps.numpy()})
    np.testing.assert_allclose(got, expected.numpy(), rtol=2e-6, atol=1e-6)
