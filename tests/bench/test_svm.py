"""The benchmark of trainings: floors counted by hand, and answers that are the peers'."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from sppcli.bench.measure import Machine
from sppcli.bench.svm import RIDGE, drawn_windows, linear_svc, ridge_of, rows
from sppcli.learn.svm import SvmSettings, fit_svm


def test_every_row_has_its_floor_and_its_peer() -> None:
    machine = Machine(1, {"fp32": 100.0}, 1e12)
    found = rows(machine, samples=60, dimensions=80, windows=30, classes=4, examples=90, pooled=40, repeat=1)
    svm, scoring, summed, held = found
    visits = int(svm.floor_of.removeprefix("reading ").removesuffix(" rows").replace(",", ""))
    assert visits >= 60
    assert svm.floor == pytest.approx(visits * 80 / 100)
    assert scoring.floor == pytest.approx(30 * 80 * 4 / 100)
    assert summed.floor == pytest.approx((90 * 40 * 40 / 2 + 40**3 / 6) / 100)
    assert held.floor == pytest.approx((20 * 80 * 20 / 2 + 20**3 / 6) / 100)
    assert [row.what.rsplit(" ", 1)[1] for row in (summed, held)] == ["summed", "held"]
    assert all(row.seconds > 0 and row.peer_seconds and row.peer_seconds > 0 for row in found)


def test_ours_and_the_peers_give_the_same_answers() -> None:
    features, positive = drawn_windows(np.random.default_rng(1), 300, 50)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 20, rtol=1e-5)
    settings = SvmSettings(c=0.1, tolerance=1e-6, max_sweeps=100_000)
    ours, theirs = fit_svm(features, positive, settings), linear_svc(features, positive, settings)
    np.testing.assert_allclose(ours.weights, theirs.coef_[0], atol=1e-4 * np.abs(theirs.coef_).max())
    assert len(set(np.sign(features @ ours.weights + ours.bias))) == 2
    white = np.random.default_rng(2).standard_normal((300, 4))
    for rows_, columns in ((300, 50), (40, 50)):
        part, wanted = features[:rows_, :columns].astype(np.float16).astype(np.float32), white[:rows_]
        model = Ridge(RIDGE, fit_intercept=False, solver="cholesky")
        model.fit(np.concatenate([part, np.ones((rows_, 1))], axis=1), wanted)
        np.testing.assert_allclose(ridge_of(part, wanted), model.coef_.T, atol=1e-5 * np.abs(model.coef_).max())
