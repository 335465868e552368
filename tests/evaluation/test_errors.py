"""Kinds of errors and their costs: against a slow version written from the paper, and laws that always hold."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from sppcli.evaluation.errors import KINDS, Errors, costs, find_errors, mean_ap
from sppcli.evaluation.verdicts import judge_all
from sppcli.evaluation.voc_ap import evaluate_voc
from sppcli.structures import Annotations, Detections, as_boxes

CLASSES = ("cat", "dog", "owl")
Box = tuple[float, float, float, float]


def drawn(seed: int, images: int = 4, difficult: float = 0.1) -> tuple[Detections, dict[str, Annotations]]:
    """Objects at random, and detections near them, elsewhere, twice, or of another class; no two score the same."""
    rng = np.random.default_rng(seed)
    truth, rows = {}, []
    for image in range(images):
        count = int(rng.integers(0, 5))
        corner = rng.integers(0, 60, (count, 2))
        boxes = np.concatenate([corner, corner + rng.integers(8, 30, (count, 2))], axis=1)
        labels = tuple(CLASSES[i] for i in rng.integers(0, 2 if seed % 3 else 3, count))
        truth[f"image-{image}"] = Annotations(as_boxes(boxes), labels, rng.random(count) < difficult)
        for box, label in zip(boxes, labels, strict=True):
            for _ in range(int(rng.integers(0, 4))):
                moved = box + rng.integers(-8, 9, 4)
                moved[2:] = np.maximum(moved[2:], moved[:2] + 2)
                rows.append((image, label if rng.random() < 0.6 else CLASSES[int(rng.integers(0, 3))], moved))
        for _ in range(int(rng.integers(0, 3))):
            corner = rng.integers(0, 80, 2)
            rows.append((image, CLASSES[int(rng.integers(0, 3))], np.concatenate([corner, corner + 12])))
    scores = rng.permutation(len(rows)) / max(1, len(rows))
    found = Detections(
        tuple(truth),
        CLASSES,
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([CLASSES.index(row[1]) for row in rows], dtype=np.int64),
        as_boxes([row[2] for row in rows]),
        scores.astype(np.float32),
    )
    return found, truth


def found_errors(found: Detections, truth: dict[str, Annotations]) -> Errors:
    return find_errors(judge_all(found, truth, CLASSES))


def iou(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


class Slow:
    """The paper's section 2 in lists and loops: one detection after the other, one object after the other."""

    def __init__(self, found: Detections, truth: dict[str, Annotations]) -> None:
        self.objects = [
            {"image": image, "label": label, "box": tuple(map(float, box)), "difficult": bool(hard), "taken": False}
            for image, one in truth.items()
            for box, label, hard in zip(one.boxes, one.labels, one.difficult, strict=True)
        ]
        order = sorted(range(len(found.scores)), key=lambda i: -found.scores[i])
        self.detections = [
            {
                "image": found.image_ids[found.image[i]],
                "label": found.classes[found.label[i]],
                "box": tuple(map(float, found.boxes[i])),
            }
            for i in order
        ]
        for detection in self.detections:
            self.judge(detection)
        self.missed = [
            thing
            for thing in self.objects
            if not thing["difficult"] and not thing["taken"] and not any(d["about"] is thing for d in self.detections)
        ]

    def judge(self, detection: dict) -> None:  # type: ignore[type-arg]
        def highest(same: bool) -> tuple[float, dict | None]:  # type: ignore[type-arg]
            best: tuple[float, dict | None] = (0.0, None)  # type: ignore[type-arg]
            for thing in self.objects:
                if thing["image"] == detection["image"] and (thing["label"] == detection["label"]) == same:
                    overlap = iou(detection["box"], thing["box"])
                    if overlap > best[0]:
                        best = overlap, thing
            return best

        own, mine = highest(True)
        other, theirs = highest(False)
        detection["about"] = None
        if own >= 0.5 and mine["difficult"]:
            detection["kind"] = "ignored"
        elif own >= 0.5 and not mine["taken"]:
            mine["taken"] = True
            detection["kind"] = "right"
        elif 0.1 <= own < 0.5:
            detection["kind"], detection["about"] = "localisation", mine
        elif other >= 0.5:
            detection["kind"], detection["about"] = "classification", theirs
        elif own >= 0.5:
            detection["kind"] = "duplicate"
        elif max(own, other) < 0.1:
            detection["kind"] = "background"
        else:
            detection["kind"] = "both"

    def mean_ap(self, mended: set[str]) -> float | None:
        marks: dict[str, list[bool]] = {name: [] for name in CLASSES}
        settled = [thing for thing in self.objects if thing["taken"]]
        for detection in self.detections:
            kind, about = detection["kind"], detection["about"]
            if kind == "right":
                marks[detection["label"]].append(True)
            elif kind in mended and about is not None:
                if not about["difficult"] and not any(about is thing for thing in settled):
                    settled.append(about)
                    marks[about["label"]].append(True)
            elif kind != "ignored" and kind not in mended:
                marks[detection["label"]].append(False)
        aps = []
        for name in CLASSES:
            mine = [thing for thing in self.objects if thing["label"] == name and not thing["difficult"]]
            if not mine:
                continue
            lost = len([thing for thing in self.missed if thing["label"] == name]) if "missed" in mended else 0
            aps.append(self.area(marks[name], len(mine) - lost))
        return sum(aps) / len(aps) if aps else None

    @staticmethod
    def area(marks: list[bool], npos: int) -> float:
        if npos == 0:
            return 1.0
        curve = [(sum(marks[: i + 1]) / npos, sum(marks[: i + 1]) / (i + 1)) for i in range(len(marks))]
        recalls = sorted({0.0, *(recall for recall, _ in curve)})
        return sum((b - a) * max(precision for recall, precision in curve if recall >= b) for a, b in pairwise(recalls))


@pytest.mark.parametrize("seed", range(25))
def test_kinds_and_costs_are_those_of_the_slow_version(seed: int) -> None:
    found, truth = drawn(seed)
    errors, slow = found_errors(found, truth), Slow(found, truth)
    kinds = Counter(d["kind"] for d in slow.detections)
    assert errors.counts() == {name: kinds[name] for name in KINDS} | {"missed": len(slow.missed)}
    now = slow.mean_ap(set())
    assert mean_ap(errors, ()) == pytest.approx(now)
    if now is None:
        return
    gain = costs(errors).gain
    for name in KINDS:
        assert gain[name] == pytest.approx(slow.mean_ap({name}) - now), name
    for pair in (("classification", "localisation"), ("missed", "background"), ("duplicate", "both", "missed")):
        assert mean_ap(errors, pair) == pytest.approx(slow.mean_ap(set(pair)))


@pytest.mark.parametrize("seed", range(25))
def test_laws(seed: int) -> None:
    found, truth = drawn(seed, difficult=0.2)
    errors = found_errors(found, truth)
    if mean_ap(errors, ()) is None:
        pytest.skip("drawn without an object")
    result = costs(errors)
    assert result.ap == pytest.approx(evaluate_voc(found, truth, CLASSES, "voc2010").mAP)
    # Mending everything gives AP 1; so does removing what is false and forgetting what is not found.
    assert mean_ap(errors, KINDS) == pytest.approx(1)
    verdicts = errors.verdicts
    assert (errors.kind >= 0).tolist() == verdicts.fp.tolist()
    # Nothing that is mended makes it worse.
    assert min(*result.gain.values(), result.false_positives, result.false_negatives) >= -1e-12
    # A kind of false positive that does not occur costs nothing.
    for name, count in errors.counts().items():
        assert count or result.gain[name] == 0
    assert {name: int(table.sum()) for name, table in errors.of_class().items()} == errors.counts()
    # Every object that is to be found is found, missed, or what an error is about; and only one of these.
    objects = verdicts.objects
    hit, about = np.zeros((2, len(objects.label)), dtype=bool)
    hit[verdicts.own[verdicts.tp]] = True
    about[errors.target[errors.target >= 0]] = True
    assert ((hit | about | errors.missed)[objects.counted]).all()
    assert not (errors.missed & (hit | about)).any()


def one(*rows: tuple[str, Box, float], truth: list[tuple[str, Box]]) -> Errors:
    found = Detections(
        ("a",),
        CLASSES,
        np.zeros(len(rows), dtype=np.int64),
        np.array([CLASSES.index(row[0]) for row in rows], dtype=np.int64),
        as_boxes([row[1] for row in rows]),
        np.array([row[2] for row in rows], dtype=np.float32),
    )
    objects = Annotations(
        as_boxes([box for _, box in truth]), tuple(name for name, _ in truth), np.zeros(len(truth), dtype=bool)
    )
    return found_errors(found, {"a": objects})


def test_one_detection_of_every_kind() -> None:
    objects = [("cat", (0, 0, 10, 10)), ("dog", (40, 0, 50, 10)), ("owl", (80, 0, 90, 10))]
    errors = one(
        ("cat", (0, 0, 10, 10), 0.9),
        ("cat", (0, 0, 10, 8), 0.8),
        ("cat", (40, 0, 50, 8), 0.7),
        ("dog", (40, 0, 50, 4), 0.6),
        ("cat", (40, 0, 50, 4), 0.5),
        ("cat", (20, 40, 30, 50), 0.4),
        truth=objects,
    )
    assert [KINDS[i] if i >= 0 else "right" for i in errors.kind] == [
        *("right", "duplicate", "classification", "localisation", "both", "background")
    ]
    assert errors.missed.tolist() == [False, False, True]
    result = costs(errors)
    # The dog is found by either of the errors about it: AP of its class from 0 to 1, of three classes.
    assert result.gain["classification"] == pytest.approx(1 / 3)
    assert result.gain["localisation"] == pytest.approx(1 / 3)
    assert result.gain["missed"] == pytest.approx(1 / 3)


def test_nothing_found_at_all() -> None:
    errors = one(truth=[("cat", (0, 0, 10, 10))])
    result = costs(errors)
    assert (result.ap, result.gain["missed"], result.false_positives, result.false_negatives) == (0, 1, 0, 1)
    assert costs(one(("cat", (0, 0, 9, 9), 0.5), truth=[])).ap is None
