"""What trainings hold stays within what they are given: planned, and measured."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.learn.budget import IMAGES, LEAST, PROGRAM, TORCH, TRAINED, WORKER, SvmBudget, for_samples
from sppcli.learn.mining import ClassMiner, MiningSettings
from sppcli.learn.ridge import MINIMUM_EXAMPLES, HeldExamples, NormalEquations, RidgePlan, plan_ridge
from sppcli.learn.svm import SvmSettings

MIB = 2**20


@settings(max_examples=200, deadline=None)
@given(
    st.integers(100 * MIB, 8000 * MIB), st.integers(10, 26_000), st.integers(1, 200), st.integers(0, 2500), st.data()
)
def test_all_classes_and_those_being_trained_fit(
    memory: int, dimensions: int, classes: int, windows: int, data: st.DataObject
) -> None:
    head = data.draw(st.sampled_from([0, 200 * MIB]))
    budget = SvmBudget(for_samples(memory, dimensions, windows, head), dimensions, classes)
    each = budget.samples
    assert each >= LEAST
    held = PROGRAM + IMAGES * windows * dimensions * 4 + classes * each * dimensions * 2
    if head:
        held += head + TORCH
    now = data.draw(st.lists(st.integers(1, each), min_size=1, max_size=classes))
    at_once = budget.at_once(now)
    assert at_once >= 1
    if each > LEAST:
        assert at_once == 1 or held + sum(sorted(now)[-at_once:]) * dimensions * TRAINED + at_once * WORKER <= memory
        assert held + max(now) * dimensions * TRAINED <= memory
        # One more sample a class would not have fitted.
        assert held + each * dimensions * TRAINED + dimensions * (2 * classes + TRAINED) > memory


def test_no_memory_is_left_rather_than_less_than_none() -> None:
    assert for_samples(PROGRAM // 2, 100, 100) == 0
    assert for_samples(PROGRAM + 5, 0, 0) == 5


def test_a_training_takes_eight_bytes_a_number_of_numpys_and_holds_two() -> None:
    dimensions, capacity = 2000, 800
    rng = np.random.default_rng(0)
    positives = rng.random((200, dimensions)).astype(np.float32) + 0.1
    miner = ClassMiner("disc", positives, SvmSettings(max_sweeps=3), MiningSettings(capacity=capacity, evict_score=-99))
    batch = rng.random((300, dimensions)).astype(np.float32)
    miner.add(0, range(300), batch)
    miner.train()  # imported
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for image in range(1, 12):
            miner.add(image, range(300), batch)
        added = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.reset_peak()
        miner.train()
        trained = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    # Rows being copied in, and 512 at a time being moved.
    assert added < 2 * 300 * dimensions * 4
    # liblinear's own list is not numpy's, and not seen here.
    assert 1000 * dimensions * 8 <= trained < 1000 * dimensions * 8 + 3 * MIB + 512 * dimensions * 4
    assert miner.negatives == capacity


# --- box regression ---


def planned_bytes(counts: list[int], dimensions: int, plan: RidgePlan) -> int:
    """What the systems of all classes take, counted from what they hold; blocks of rows aside."""
    held = [used for used, summed in zip(plan.used, plan.summed, strict=True) if not summed]
    square = (dimensions + 1) ** 2 * 8
    return sum(plan.summed) * square + 2 * dimensions * sum(held) + 8 * max(held, default=0) ** 2


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 60_000), min_size=1, max_size=30), st.integers(5, 26_000), st.integers(MIB, 12_000 * MIB)
)
def test_the_plan_fits_and_draws_only_what_it_must(counts: list[int], dimensions: int, memory: int) -> None:
    plan = plan_ridge(counts, dimensions, memory)
    share = max((used for used, summed in zip(plan.used, plan.summed, strict=True) if not summed), default=0)
    for count, used, summed in zip(counts, plan.used, plan.summed, strict=True):
        assert used == count if summed or count <= share else used == share
        assert not summed or count > dimensions
    if share > MINIMUM_EXAMPLES:
        assert planned_bytes(counts, dimensions, plan) <= memory
    # Where every class of more examples than dimensions is summed, nothing of them is lost; else there was no room.
    square = (dimensions + 1) ** 2 * 8
    if any(count > dimensions and not s for count, s in zip(counts, plan.summed, strict=True)):
        assert (sum(plan.summed) + 1) * (square + 1024 * (dimensions + 1) * 8) > memory - memory // 2 - 1


def test_forms_by_size() -> None:
    # 1,000 numbers: 8 MB a class to sum, whatever the examples.
    assert plan_ridge([50_000, 300, 5], 1000, 200 * MIB) == RidgePlan((True, False, False), (50_000, 300, 5))
    # No room for that: both are held, and drawn evenly.
    plan = plan_ridge([50_000, 300, 5], 20_000, 200 * MIB)
    assert plan.summed == (False, False, False)
    assert plan.used[1:] == (300, 5)
    assert 300 < plan.used[0] < 50_000
    assert isinstance(plan.system(0, 20), HeldExamples)
    assert isinstance(RidgePlan((True,), (5,)).system(0, 20), NormalEquations)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(("count", "dimensions"), [(3000, 40), (500, 700), (1500, 1100)])
def test_both_forms_solve_alike_in_whatever_parts(count: int, dimensions: int, kind: type) -> None:
    rng = np.random.default_rng(count)
    features = rng.random((count, dimensions)).astype(np.float16).astype(kind)
    white = rng.normal(size=(count, 4)) + features[:, :1]
    summed, held = NormalEquations(dimensions, kind), HeldExamples(dimensions, count)
    for start in range(0, count, 271):
        for system in (summed, held):
            system.add(features[start : start + 271], white[start : start + 271])
    rows = np.concatenate([features.astype(np.float64), np.ones((count, 1))], axis=1)
    expected = np.linalg.solve(rows.T @ rows + 100 * np.eye(dimensions + 1), rows.T @ white)
    left = white - rows @ expected
    for system in (summed, held):
        solution, residuals = system.solve(100.0)
        np.testing.assert_allclose(solution, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
        np.testing.assert_allclose(residuals, left.T @ left, rtol=1e-4, atol=1e-4 * count)
