"""The benchmark of trainings: floors counted by hand, and answers that are the peers'."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from sppcli.bench.measure import Machine
from sppcli.bench.svm import RIDGE, drawn_windows, ridge_of, rows


def test_every_row_has_its_floor() -> None:
    machine = Machine(1, {"fp32": 100.0}, 1e12)
    found = rows(machine, samples=60, dimensions=80, windows=30, classes=4, examples=90, pooled=40, repeat=1)
    svm, scoring, summed, held = found
    assert svm.floor == pytest.approx(60 * 80 * 36 / 1e12)
    assert scoring.floor == pytest.approx(30 * 80 * 4 / 100)
    assert summed.floor == pytest.approx((90 * 40 * 40 / 2 + 40**3 / 6) / 100)
    assert held.floor == pytest.approx((20 * 80 * 20 / 2 + 20**3 / 6) / 100)
    assert [row.what.rsplit(" ", 1)[1] for row in (summed, held)] == ["summed", "held"]
    assert all(row.seconds > 0 for row in found)
    assert all(row.peer_seconds and row.peer_seconds > 0 for row in found[1:])


def test_regressors_are_the_peers() -> None:
    features, positive = drawn_windows(np.random.default_rng(1), 300, 50)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 20, rtol=1e-5)
    assert positive.sum() == 30
    white = np.random.default_rng(2).standard_normal((300, 4))
    for rows_, columns in ((300, 50), (40, 50)):
        part, wanted = features[:rows_, :columns].astype(np.float16).astype(np.float32), white[:rows_]
        model = Ridge(RIDGE, fit_intercept=False, solver="cholesky")
        model.fit(np.concatenate([part, np.ones((rows_, 1))], axis=1), wanted)
        np.testing.assert_allclose(ridge_of(part, wanted), model.coef_.T, atol=1e-5 * np.abs(model.coef_).max())
