"""What is drawn on an image: which detections are false, which objects are missed, how it is counted."""

from __future__ import annotations

import numpy as np

from sppcli.report.drawing import class_colours
from sppcli.report.overlays import detection_overlay, judge, legend, proposal_overlay, truth_overlay
from sppcli.structures import Annotations, Detections, as_boxes

CLASSES = ("disc", "square")
COLOURS = class_colours(CLASSES)
OBJECTS = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]


def truth(difficult: tuple[bool, ...] = (False, False, False)) -> Annotations:
    return Annotations(as_boxes(OBJECTS), ("disc", "disc", "square"), np.array(difficult))


def found(*rows: tuple[str, list[float], float]) -> Detections:
    return Detections(
        ("000001",),
        CLASSES,
        np.zeros(len(rows), dtype=np.int64),
        np.array([CLASSES.index(row[0]) for row in rows], dtype=np.int64),
        as_boxes([row[1] for row in rows]),
        np.array([row[2] for row in rows], dtype=np.float32),
    )


def all_rows(detections: Detections) -> np.ndarray:
    return np.arange(len(detections.scores))


def test_right_twice_wrong_class_and_nowhere() -> None:
    detections = found(
        ("disc", [0, 0, 10, 9], 0.5),  # right, but second to the next
        ("disc", [0, 0, 10, 10], 0.9),
        ("square", [20, 0, 30, 10], 0.8),  # there is a disc
        ("square", [60, 0, 70, 10], 0.7),
        ("square", [40, 0, 50, 5], 0.6),  # IoU of exactly one half counts
    )
    false, hit = judge(detections, all_rows(detections), truth())
    assert false.tolist() == [True, False, True, True, False]
    assert hit.tolist() == [True, False, True]


def test_difficult_objects_are_neither_right_nor_missed() -> None:
    detections = found(("disc", [0, 0, 10, 10], 0.9))
    false, hit = judge(detections, all_rows(detections), truth((True, False, False)))
    assert false.tolist() == [False]
    assert hit.tolist() == [False, False, False]
    overlay = detection_overlay(detections, truth((True, False, False)), COLOURS, 0.0, 100)
    assert [mark.label for mark in overlay.marks] == ["", "missed disc", "missed square", "disc 0.90"]
    assert overlay.caption == "0 of 2 found, 0 false"


def test_detections_over_ground_truth() -> None:
    detections = found(("disc", [0, 0, 10, 10], 0.2), ("disc", [60, 0, 70, 10], 0.9), ("square", [40, 0, 50, 10], -0.1))
    overlay = detection_overlay(detections, truth(), COLOURS, 0.0, 100)
    assert [(mark.line, mark.label) for mark in overlay.marks] == [
        ("dashed", ""),
        ("dashed", "missed disc"),
        ("dashed", "missed square"),  # found only by a detection that scores too little
        ("solid", "disc 0.20"),
        ("dotted", "disc 0.90"),
    ]
    assert overlay.caption == "1 of 3 found, 1 false"
    assert (overlay.boxes, overlay.drawn, overlay.objects, overlay.found) == (2, 2, 3, 1)
    lower = detection_overlay(detections, truth(), COLOURS, -1.0, 100)
    assert lower.caption == "2 of 3 found, 1 false"


def test_a_bound_on_boxes_is_said_and_changes_no_count() -> None:
    detections = found(("disc", [0, 0, 10, 10], 0.2), ("disc", [60, 0, 70, 10], 0.9))
    overlay = detection_overlay(detections, truth(), COLOURS, 0.0, 1)
    assert [mark.label for mark in overlay.marks if mark.line != "dashed"] == ["disc 0.90"]
    assert overlay.caption == "1 of 3 found, 1 false (1 more not drawn)"
    assert (overlay.boxes, overlay.drawn) == (2, 1)


def test_without_ground_truth_nothing_is_false() -> None:
    overlay = detection_overlay(found(("disc", [0, 0, 10, 10], 0.2)), None, COLOURS, 0.0, 100)
    assert [mark.line for mark in overlay.marks] == ["solid"]
    assert overlay.caption == "1 detection"
    assert overlay.objects is None


def test_proposals_and_the_best_for_each_object() -> None:
    boxes = as_boxes([[0, 0, 10, 8], [20, 0, 24, 10], [100, 0, 110, 10], [0, 0, 5, 5]])
    scores = np.array([0.1, 0.2, 0.9, 0.8], dtype=np.float32)
    overlay = proposal_overlay(boxes, scores, truth(), COLOURS, 2)
    thin = [mark.box for mark in overlay.marks if mark.line == "thin"]
    assert thin == [(0, 0, 5, 5), (100, 0, 110, 10)]
    # The best window of an object is looked for among all, not only among those drawn.
    assert [(mark.line, mark.label) for mark in overlay.marks if mark.label] == [
        ("solid", "disc 0.80"),
        ("dotted", "disc 0.40"),
    ]
    assert overlay.caption == "2 of 4 proposals, 1 of 3 objects covered"


def test_proposals_without_windows_or_objects() -> None:
    none = as_boxes([])
    no_scores = np.zeros(0, dtype=np.float32)
    assert proposal_overlay(none, no_scores, truth(), COLOURS, 9).caption == "0 of 0 proposals, 0 of 3 objects covered"
    assert proposal_overlay(none, no_scores, Annotations.empty(), COLOURS, 9).caption == "0 of 0 proposals"
    assert proposal_overlay(none, no_scores, None, COLOURS, 9).caption == "0 of 0 proposals"


def test_ground_truth_names_every_object() -> None:
    overlay = truth_overlay(truth((False, True, False)), COLOURS)
    assert [mark.label for mark in overlay.marks] == ["disc", "disc (difficult)", "square"]
    assert {mark.line for mark in overlay.marks} == {"dashed"}
    assert overlay.caption == "3 objects, 1 of them difficult"
    assert overlay.objects == 2


def test_the_legend_names_what_is_there() -> None:
    with_truth = detection_overlay(found(("disc", [0, 0, 10, 10], 0.2)), truth(), COLOURS, 0.0, 100)
    without = detection_overlay(found(("disc", [0, 0, 10, 10], 0.2)), None, COLOURS, 0.0, 100)
    assert [key.text for key in legend("detections", [without], COLOURS)] == ["disc"]
    assert [key.text for key in legend("detections", [without, with_truth], COLOURS)] == [
        "disc",
        "square",
        "right (IoU >= 0.5)",
        "false",
        "ground truth, named where missed",
    ]
    boxes = as_boxes([[0, 0, 10, 10]])
    proposals = proposal_overlay(boxes, np.ones(1, dtype=np.float32), None, COLOURS, 1)
    assert [key.text for key in legend("proposals", [proposals], COLOURS)] == ["proposal"]
    assert [key.line for key in legend("ground-truth", [truth_overlay(truth(), COLOURS)], COLOURS)] == ["dashed"] * 2


def test_difficult_objects_are_in_the_legend() -> None:
    detections = found(("disc", [0, 0, 10, 10], 0.9))
    hard = detection_overlay(detections, truth((True, False, False)), COLOURS, 0.0, 100)
    easy = detection_overlay(detections, truth(), COLOURS, 0.0, 100)
    text = "difficult object, counts neither way"
    assert text in [key.text for key in legend("detections", [easy, hard], COLOURS)]
    assert text not in [key.text for key in legend("detections", [easy], COLOURS)]
    assert len({mark.colour for mark in hard.marks if mark.line == "dashed"}) == 2


def test_only_false_missed_or_one_class() -> None:
    detections = found(("disc", [0, 0, 10, 10], 0.9), ("disc", [60, 0, 70, 10], 0.8), ("square", [80, 0, 90, 10], 0.7))

    def drawn(only: str) -> list[str]:
        return [mark.label for mark in detection_overlay(detections, truth(), COLOURS, 0.0, 100, only).marks]

    assert drawn("false") == ["square 0.70", "disc 0.80"]
    assert drawn("missed") == ["missed disc", "missed square"]
    assert drawn("square") == ["missed square", "square 0.70"]
    one = detection_overlay(detections, truth(), COLOURS, 0.0, 100, "square")
    assert (one.objects, one.found, one.false, one.mistakes) == (1, 0, 1, 2)
