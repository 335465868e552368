"""Truncated SVD of fc layers: against the exact SVD, and as two layers in place of one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.errors import UsageProblem
from sppcli.nets.backbones import FcHead
from sppcli.nets.compression import compressed, truncated_svd


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(2, 60), st.floats(0, 1.5), st.data())
def test_the_best_approximation_of_its_rank(seed: int, height: int, width: int, decay: float, data: st.DataObject):
    """Singular values fall as 1 / k ^ decay: flat as of random weights, and steep as of trained ones."""
    rank = data.draw(st.integers(1, min(height, width)))
    random = np.random.default_rng(seed)
    left, _, right = np.linalg.svd(random.standard_normal((height, width)), full_matrices=False)
    values = np.arange(1, min(height, width) + 1) ** -decay
    matrix = ((left * values) @ right).astype(np.float32)
    a, b = truncated_svd(matrix, rank)
    assert (a.shape, b.shape, a.dtype, b.dtype) == ((height, rank), (rank, width), np.float32, np.float32)
    error = np.linalg.norm(matrix - a @ b)
    assert error == pytest.approx(np.linalg.norm(values[rank:]), rel=1e-3, abs=1e-4 * float(np.linalg.norm(matrix)))
    again = truncated_svd(matrix, rank)
    np.testing.assert_array_equal(again[0] @ again[1], a @ b)


def test_equal_singular_values() -> None:
    """Any vectors serve, but as many as asked for."""
    for seed in range(20):
        left, _, right = np.linalg.svd(np.random.default_rng(seed).standard_normal((24, 29)), full_matrices=False)
        matrix = (left @ right).astype(np.float32)
        for rank in (1, 12, 23):
            a, b = truncated_svd(matrix, rank)
            assert (a.shape, b.shape) == ((24, rank), (rank, 29))
            assert np.linalg.norm(matrix - a @ b) == pytest.approx(np.sqrt(24 - rank), rel=1e-3)


def head(seed: int = 0, sizes: tuple[int, ...] = (24, 10, 8)) -> FcHead:
    random = np.random.default_rng(seed)
    layers = {}
    for i, (before, after) in enumerate(pairwise(sizes)):
        weight, bias = random.standard_normal((after, before)), random.standard_normal(after)
        layers[f"fc{6 + i}"] = tuple(torch.from_numpy(value.astype(np.float32)) for value in (weight, bias))
    return FcHead((2,), layers)


def test_two_layers_with_nothing_between_them():
    plain = head()
    small = compressed(plain, "fc7", (4, 3))
    pooled = torch.from_numpy(np.random.default_rng(1).random((5, 24), dtype=np.float32))
    value = pooled.double().numpy()
    for name, rank in (("fc6", 4), ("fc7", 3)):
        weight, bias = (part.double().numpy() for part in plain.layers[name])
        left, values, right = np.linalg.svd(weight)
        best = (left[:, :rank] * values[:rank]) @ right[:rank]
        value = np.maximum(value @ best.T + bias, 0)
        np.testing.assert_allclose(small.run(pooled, name).numpy(), value, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(small.levels, plain.levels)


def test_only_the_layers_on_the_way():
    small = compressed(head(), "fc6", (4,))
    assert list(small.layers) == ["fc6"]


@pytest.mark.parametrize(
    ("layer", "ranks", "message"),
    [
        ("fc7", (4,), "--svd 4: fc7 is reached through fc6 and fc7; give 2 ranks"),
        ("fc6", (4, 3), "--svd 4,3: fc6 is reached through fc6; give 1 rank,"),
        ("fc7", (10, 3), "--svd 10,3: fc6 has rank 10 already; give one below 10"),
        ("fc7", (4, 9), "--svd 4,9: fc7 has rank 8 already"),
    ],
)
def test_ranks_that_do_not_fit(layer: str, ranks: tuple[int, ...], message: str):
    with pytest.raises(UsageProblem, match=message):
        compressed(head(), layer, ranks)


def test_bfloat16_is_near():
    plain = compressed(head(sizes=(64, 32, 16)), "fc7", (20, 10))
    moved = plain.moved(torch.device("cpu"), "bf16")
    assert moved.layers["fc6"][0].dtype == moved.narrow["fc7"].dtype == torch.bfloat16
    pooled = torch.from_numpy(np.random.default_rng(1).random((5, 64), dtype=np.float32))
    exact, near = plain.run(pooled, "fc7"), moved.run(pooled, "fc7")
    assert near.dtype == torch.bfloat16
    assert not torch.equal(near.float(), exact)
    assert (near.float() - exact).abs().max() < 0.03 * exact.abs().max()
