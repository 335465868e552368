"""Normalisation of features: mean length 20 as in the release, each kind by hand, nothing lost on empty vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sppcli.features.normalise import NORMALISATIONS, Normaliser, fit_normaliser
from tests.golden_convention import golden

VECTORS = arrays(
    np.float32,
    st.tuples(st.integers(1, 8), st.integers(1, 6)),
    elements=st.floats(0, 1000, width=32).map(lambda v: np.float32(v if v > 1e-3 else 0)),
)
laws = settings(max_examples=100, deadline=None)


def lengths(features: np.ndarray) -> np.ndarray:
    return np.sqrt((features.astype(np.float64) ** 2).sum(axis=1))


def test_scaling_of_the_release():
    case = golden("fc_layers")
    ours = Normaliser("none", 20 / float(case["feat_norm_mean"])).apply(case["layer7"].copy())
    np.testing.assert_allclose(ours, case["layer7_scaled"], rtol=2e-7, atol=0)


def test_the_factor_of_the_release():
    """The mean of the lengths, not the length of the mean nor a root of a mean of squares."""
    sample = np.array([[3, 4], [0, 0], [0, 10]], dtype=np.float32)
    assert fit_normaliser("none", sample).factor == pytest.approx(20 / 5)


@laws
@given(VECTORS, st.sampled_from(NORMALISATIONS))
def test_the_sample_gets_a_mean_length_of_20(sample: np.ndarray, kind: str):
    before = sample.copy()
    normaliser = fit_normaliser(kind, sample)
    np.testing.assert_array_equal(sample, before)  # only `apply` writes
    after = lengths(normaliser.apply(sample))
    if before.any():
        assert after.mean() == pytest.approx(20, rel=1e-4)
    else:
        assert normaliser.factor == 1.0
        assert (after == 0).all()


@laws
@given(VECTORS, st.floats(0.5, 50))
def test_l2_makes_every_vector_as_long(features: np.ndarray, factor: float):
    for kind in ("l2", "sqrt-l2"):
        after = lengths(Normaliser(kind, factor).apply(features.copy()))
        expected = np.where(features.any(axis=1), factor, 0)
        np.testing.assert_allclose(after, expected, rtol=1e-4)


@laws
@given(VECTORS)
def test_l2_does_not_depend_on_the_length(features: np.ndarray):
    for kind in ("l2", "sqrt-l2"):
        normaliser = Normaliser(kind, 20)
        np.testing.assert_allclose(normaliser.apply(features * 4), normaliser.apply(features.copy()), rtol=1e-5)


def test_by_hand():
    features = np.array([[9, 16, 0], [0, 0, 0]], dtype=np.float32)
    assert Normaliser("none", 2).apply(features.copy()).tolist() == [[18, 32, 0], [0, 0, 0]]
    l2 = Normaliser("l2", 2).apply(features.copy())
    np.testing.assert_allclose(l2, 2 * features / np.sqrt(81 + 256), rtol=1e-6)
    root = Normaliser("sqrt-l2", 10).apply(features.copy())  # 3, 4, 0: length 5
    np.testing.assert_allclose(root, [[6, 8, 0], [0, 0, 0]], rtol=1e-6)


def test_the_root_takes_what_is_below_0_as_0():
    features = np.array([[-9, 16]], dtype=np.float32)
    assert Normaliser("sqrt-l2", 1).apply(features).tolist() == [[0, 1]]


def test_in_place():
    features = np.ones((3, 2), dtype=np.float32)
    for kind in NORMALISATIONS:
        assert Normaliser(kind, 3).apply(features) is features


def test_no_sample():
    assert fit_normaliser("l2", np.zeros((0, 4), np.float32)) == Normaliser("l2", 1.0)


def test_unknown_kind():
    with pytest.raises(ValueError, match="unknown normalisation 'l3'; choose one of none, l2, sqrt-l2"):
        fit_normaliser("l3", np.ones((1, 1), np.float32))
    with pytest.raises(ValueError, match="unknown normalisation"):
        Normaliser("L2", 1.0)
