"""Laws of hard-negative mining: what is held, what is offered, when to train, what is let go."""

from __future__ import annotations

import numpy as np
import pytest

from sppcli.learn.mining import ClassMiner, MiningSettings, scores_of
from sppcli.learn.svm import LinearModel, SvmSettings, fit_svm

RNG = np.random.default_rng(0)
# Positives around (6, 0), easy negatives far to the left of them, hard ones close by.
POSITIVES = np.array([[6, 0, 1], [7, 0, 1], [6, 1, 1], [5, 0, 1]], dtype=np.float32)
EASY = np.array([[-6, 0, 1], [-7, 0, 1], [-8, 1, 1]], dtype=np.float32)
HARD = np.array([[4.5, 0, 1], [4.5, 1, 1]], dtype=np.float32)


def miner(**mining: object) -> ClassMiner:
    return ClassMiner(
        "disc", POSITIVES, SvmSettings(c=10.0, tolerance=1e-6, max_sweeps=100_000), MiningSettings(**mining)
    )


def held(m: ClassMiner, image: int, windows: range) -> list[int]:
    """The windows of an image that the miner holds: those that it would not take, however they score."""
    every = np.array(windows)
    offered = m.hard(image, every, np.full(len(every), 1e9, dtype=np.float32))
    return sorted(set(every.tolist()) - set(every[offered].tolist()))


# --- what comes in ---


def test_no_window_twice():
    m = miner()
    assert m.add(0, [3, 5], EASY[:2]) == 2
    assert m.add(0, np.array([5, 3, 8]), EASY) == 1
    assert m.add(1, [3, 5], EASY[:2]) == 2  # windows of another image
    assert m.add(0, [3], EASY[:1]) == 0
    assert m.negatives == 5
    assert held(m, 0, range(10)) == [3, 5, 8]
    assert held(m, 1, range(10)) == [3, 5]
    assert held(m, 2, range(10)) == []


def test_the_new_ones_keep_their_features():
    """Of an overlapping second call only the new window's row is taken."""
    m = miner()
    m.add(0, [1], EASY[:1])
    m.add(0, [1, 2], np.stack([HARD[0], EASY[1]]))
    m.train()
    other = miner()
    other.add(0, [1, 2], EASY[:2])
    other.train()
    np.testing.assert_array_equal(m.model.weights, other.model.weights)
    assert m.model.bias == other.model.bias


def test_hard_windows_come_best_first():
    m = miner(hard_score=-1.0)
    windows = np.array([10, 11, 12, 13, 14, 15, 16])
    scores = np.array([-0.5, -1.0, 2.0, -1.5, -0.5, 0.3, -0.999], dtype=np.float32)
    # -1 itself is not above it; equal scores in the order they have.
    assert m.hard(0, windows, scores).tolist() == [2, 5, 0, 4, 6]
    m.add(0, [12, 14], EASY[:2])
    assert m.hard(0, windows, scores).tolist() == [5, 0, 6]
    assert m.hard(1, windows, scores).tolist() == [2, 5, 0, 4, 6]
    assert m.hard(0, windows[:0], scores[:0]).tolist() == []


# --- when ---


def test_training_is_due_after_more_than_so_many_new_ones():
    m = miner(retrain_after=3)
    assert not m.due()
    m.add(0, [0, 1, 2], EASY)
    assert not m.due()  # not more than three
    m.add(0, [0, 1, 2], EASY)
    assert not m.due()  # nothing new
    m.add(0, [3], HARD[:1])
    assert m.due()
    m.train()
    assert not m.due()
    m.add(1, [0, 1, 2], HARD[[0, 0, 0]])
    assert not m.due()  # the count began again
    m.add(1, [3], HARD[:1])
    assert m.due()


def test_without_a_limit_training_waits():
    m = miner(retrain_after=None)
    m.add(0, range(2000), RNG.normal(size=(2000, 3)).astype(np.float32))
    assert not m.due()


# --- training and letting go ---


def test_training_is_that_of_the_svm():
    m = miner()
    assert m.model is None
    m.add(4, [0, 1, 2], EASY)
    m.add(4, [7, 8], HARD)
    m.train()
    samples = np.concatenate([POSITIVES, EASY, HARD]).astype(np.float16)
    expected = fit_svm(samples, np.arange(9) < 4, m.svm)
    np.testing.assert_array_equal(m.model.weights, expected.weights)
    assert m.model.bias == expected.bias
    assert m.trainings == 1


def test_easy_ones_go_and_may_come_back():
    m = miner(evict_score=-1.2)
    m.add(0, [0, 1, 2], EASY)
    m.add(0, [3, 4], HARD)
    m.train()
    assert (scores_of(EASY, m.model) < -1.2).all()
    assert (scores_of(HARD, m.model) >= -1.2).all()
    assert held(m, 0, range(6)) == [3, 4]
    assert (m.negatives, m.dropped) == (2, 3)
    assert m.add(0, [0, 3], EASY[:2]) == 1
    assert held(m, 0, range(6)) == [0, 3, 4]


def test_what_scores_the_eviction_score_stays():
    """Only what is below it goes (strictly), as in the release."""
    m = miner()
    m.add(0, [0, 1, 2], EASY)
    m.add(0, [3, 4], HARD)
    m.train()
    lowest = float(np.sort(scores_of(np.concatenate([EASY, HARD]), m.model))[2])
    for score, kept in ((lowest, 3), (float(np.nextafter(np.float32(lowest), np.float32(9))), 2)):
        again = miner(evict_score=score)
        again.add(0, [0, 1, 2], EASY)
        again.add(0, [3, 4], HARD)
        again.train()
        assert again.negatives == kept


def test_capacity_is_what_is_held_at_most():
    m = miner(capacity=20, evict_score=-1e9)
    features = np.stack([np.linspace(-7, 4, 60), np.zeros(60), np.ones(60)], axis=1).astype(np.float32)
    came = 0
    for start in range(0, 60, 10):
        came += m.add(0, range(start, start + 10), features[start : start + 10])
        assert m.negatives <= 25  # a quarter more, so that not every call sorts
    m.train()
    assert m.negatives == 20
    assert m.dropped == came - 20
    rest = held(m, 0, range(60))
    assert len(rest) == 20
    m.train()  # and those that are held are those that are trained on
    expected = fit_svm(np.concatenate([POSITIVES, features[rest]]).astype(np.float16), np.arange(24) < 4, m.svm)
    np.testing.assert_array_equal(m.model.weights, expected.weights)


def test_capacity_holds_among_equals():
    m = miner(capacity=5, evict_score=-1e9)
    m.add(0, range(40), np.repeat(HARD[:1], 40, axis=0))
    m.train()
    assert m.negatives == 5


def test_a_second_round_goes_on_from_the_first():
    """What was held is trained on together with what came."""
    m = miner(evict_score=-1e9)
    m.add(0, [0, 1, 2], EASY)
    m.train()
    first = m.model
    m.add(1, [0, 1], HARD)
    m.train()
    expected = fit_svm(np.concatenate([POSITIVES, EASY, HARD]).astype(np.float16), np.arange(9) < 4, m.svm)
    np.testing.assert_array_equal(m.model.weights, expected.weights)
    assert m.trainings == 2
    assert np.abs(first.weights - m.model.weights).max() > 0.01


def test_no_negatives_is_an_error_of_the_svm():
    with pytest.raises(ValueError, match="both positive and negative"):
        miner().train()


# --- scores ---


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("count", [0, 1, 5000])
def test_scores(count: int, dtype: type):
    features = RNG.normal(size=(count, 7)).astype(dtype)
    model = LinearModel(RNG.normal(size=7).astype(np.float32), 0.75)
    scores = scores_of(features, model)
    assert scores.dtype == np.float32
    assert scores.shape == (count,)
    np.testing.assert_allclose(scores, features.astype(np.float64) @ model.weights + 0.75, atol=1e-5)


def test_a_negative_drawn_above_the_lowest_one_held_comes_in():
    """Once there is no room for all, those with the highest of the drawn numbers stay, early or late."""
    m = miner(capacity=8)
    draws = np.random.default_rng(m.svm.seed).random(80)
    rows = np.tile(EASY[:1], (40, 1))
    for image, part in enumerate((draws[:40], draws[40:])):
        came = m.add(image, range(40), rows)
        if image == 0:
            m.problem()
            lowest = np.sort(part)[-8]
        else:
            assert came == (part >= lowest).sum() > 1
    m.problem()
    kept = [i for i in range(80) if draws[i] >= np.sort(draws)[-8]]
    assert [40 * image + window for image in (0, 1) for window in held(m, image, range(40))] == kept
