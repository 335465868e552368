"""Blocks and compiled normalisation against torch's own layers, strip by strip and for every geometry."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sppcli.bench.networks import random_network
from sppcli.nets import local
from sppcli.nets.backbones import cut_trunk, run_trunk, torchvision_model
from sppcli.nets.local import Block, for_inference
from sppcli.nets.lrn import AcrossChannels, WithinChannel


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def _images(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(memory_format=torch.channels_last)


def _norm(kind: str, channels: int, size: int) -> nn.Module | None:
    layers: dict[str, nn.Module] = {
        "within": WithinChannel(2 * (size // 2) + 1, 0.8, 0.75),
        "across": AcrossChannels(channels, size, 0.8, 0.75),
    }
    return layers.get(kind)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["within", "across", ""]),
    size=st.integers(1, 6),
    channels=st.integers(1, 9),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 1),
    ceil=st.booleans(),
    conv=st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)),
    sides=st.tuples(st.integers(12, 60), st.integers(12, 60)),
    strip=st.sampled_from([200, 2000, 1 << 20]),
    seed=st.integers(0, 99),
)
def test_a_block_is_its_layers_whatever_the_strips(
    kind: str,
    size: int,
    channels: int,
    kernel: int,
    stride: int,
    padding: int,
    ceil: bool,
    conv: tuple[int, int, int, int],
    sides: tuple[int, int],
    strip: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    first = nn.Conv2d(3, channels, conv[0], conv[1], conv[2], conv[3])
    pool = nn.MaxPool2d(kernel, stride, min(padding, kernel // 2), ceil_mode=ceil)
    norm = _norm(kind, channels, size)
    images = _images(seed, 2, 3, *sides)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        expected = torch.relu(first(images))
        if norm is not None:
            expected = norm.plain(expected)  # type: ignore[operator]
        if min(expected.shape[2:]) < kernel:
            return
        expected = pool(expected)
        patch.setattr(local, "STRIP_BYTES", strip)
        patch.setattr(local, "STRIP_COLUMNS", 3)
        got = Block(first, norm, pool)(images)
    torch.testing.assert_close(got, expected, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["within", "across"])
def test_gradients_are_those_of_torchs_operations(kind: str, threads: int) -> None:
    for size in (1, 3, 4, 5):
        layer = _norm(kind, 7, size)
        assert layer is not None
        maps = (3 * _images(size, 2, 7, 13, 9)).requires_grad_()
        exact = maps.detach().double().requires_grad_()
        slopes = _images(size + 1, 2, 7, 13, 9)
        got = layer(maps)
        expected = copy.deepcopy(layer).double().plain(exact)  # type: ignore[operator]
        got.backward(slopes)
        expected.backward(slopes.double())
        torch.testing.assert_close(got.double(), expected, rtol=1e-6, atol=1e-6)
        assert maps.grad is not None
        torch.testing.assert_close(maps.grad.double(), exact.grad, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", ["zf5", "convnet5", "overfeat5"])
def test_a_trunk_keeps_its_maps(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = random_network(name).trunk.to(memory_format=torch.channels_last)
    images = _images(5, 1, 3, 151, 170)
    monkeypatch.setattr(local, "STRIP_BYTES", 100_000)
    fast = for_inference(trunk)
    assert sum(isinstance(layer, Block) for layer in fast) >= 2
    with torch.inference_mode():
        expected = images
        for layer in trunk:
            expected = layer.plain(expected) if hasattr(layer, "plain") else layer(expected)
        torch.testing.assert_close(run_trunk(fast, images), expected, rtol=1e-4, atol=1e-5)
    assert [id(p) for p in fast.parameters()] == [id(p) for p in trunk.parameters()], "weights are not copied"


def test_torchvision_without_branches_has_blocks_and_with_branches_stays() -> None:
    alexnet = cut_trunk(torchvision_model("alexnet"), "alexnet", "features.11").eval()
    fast = for_inference(alexnet)
    assert isinstance(fast, nn.Sequential)
    images = _images(1, 1, 3, 131, 97)
    with torch.inference_mode():
        torch.testing.assert_close(run_trunk(fast, images), run_trunk(alexnet, images), rtol=1e-4, atol=1e-5)
    squeezenet = cut_trunk(torchvision_model("squeezenet1_0"), "squeezenet1_0", "features.12")
    assert for_inference(squeezenet) is squeezenet


@pytest.mark.parametrize("kind", ["within", "across"])
def test_bfloat16_is_computed_in_float32_and_rounded_once(kind: str) -> None:
    maps = _images(3, 1, 6, 11, 12).bfloat16()
    layer = _norm(kind, 6, 5)
    assert layer is not None
    with torch.no_grad():
        got = layer(maps)
        expected = layer.plain(maps.float()).bfloat16()  # type: ignore[operator]
    assert got.dtype == torch.bfloat16
    # The last bit of float32 may decide a tie.
    torch.testing.assert_close(got.float(), expected.float(), rtol=2**-8, atol=0)
    assert (got == expected).float().mean() > 0.99


def test_what_is_not_a_number_stays_none() -> None:
    images = _images(1, 1, 1, 9, 9)
    images[0, 0, 4, 4] = float("nan")
    conv = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        got = Block(conv, WithinChannel(3, 0.1, 0.75), nn.MaxPool2d(3, 2))(images)
        expected = nn.MaxPool2d(3, 2)(WithinChannel(3, 0.1, 0.75).plain(torch.relu(conv(images))))
    assert torch.isnan(expected).any()
    assert torch.equal(torch.isnan(got), torch.isnan(expected))
