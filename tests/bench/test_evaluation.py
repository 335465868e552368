"""The loop that our AP is compared with finds the same AP, and what it is given is worth comparing on."""

import numpy as np
import pytest

from sppcli.bench import evaluation
from sppcli.bench.measure import Machine
from sppcli.evaluation.voc_ap import evaluate_voc
from sppcli.structures import Annotations, Detections

MACHINE = Machine(1, {"fp32": 1.0}, 1000.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_loop_finds_the_same_ap(seed):
    found, truth = evaluation.synthetic(60, 4, 3000, seed)
    ours = evaluate_voc(found, truth, found.classes, points="octave")
    assert evaluation.loop_ap(found, truth, found.classes) == ours.ap
    # Hits, second detections of one object and difficult objects are all among them.
    assert 0.01 < ours.mAP < 0.9
    assert all(0.3 < value <= 1 for value in ours.max_recall.values())
    assert any(objects.difficult.any() for objects in truth.values())
    assert len(np.unique(found.scores)) < len(found.scores)


def test_the_loop_on_a_case_worked_by_hand():
    """Best to worst: a hit, another detection of the same object, a difficult object, a miss, a hit; 2 objects."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [50, 50, 60, 60], [0, 20, 10, 30]], np.float32)
    truth = {
        "a": Annotations(boxes[[0, 2, 4]], ("x", "x", "x"), np.array([False, True, False])),
        "b": Annotations(boxes[[0]], ("y",), np.array([False])),
    }
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32)
    found = Detections(("a", "b"), ("x", "y"), np.zeros(5, np.int64), np.zeros(5, np.int64), boxes, scores)
    # Precision 1 up to recall 0.5 (6 points), then 2 / 4 (5 points).
    assert evaluation.loop_ap(found, truth, ("x", "y")) == {"x": pytest.approx(8.5 / 11), "y": pytest.approx(0)}


def test_row():
    (row,) = evaluation.rows(MACHINE, 30, 3, 1000, 1)
    assert row.what == "1,000 detections of 3 classes in 30 images"
    assert row.floor == 36.0
    assert row.seconds > 0
    assert row.peer_seconds > 0


def test_disagreement_is_no_result(monkeypatch):
    monkeypatch.setattr(evaluation, "loop_ap", lambda *_: {})
    with pytest.raises(AssertionError, match="differs"):
        evaluation.rows(MACHINE, 30, 3, 1000, 1)
