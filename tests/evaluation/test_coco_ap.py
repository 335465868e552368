"""COCO's figures: equal to pycocotools on the files, and the laws they keep."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sppcli.errors import UsageProblem
from sppcli.evaluation.coco_ap import STATS, CocoTruth, evaluate_coco
from sppcli.structures import Detections

CLASSES = ("ant", "bee", "cat")
SIDES = [8.5, 20.25, 40, 90.75, 120]


def random_set(seed: int, n_images: int = 6) -> tuple[dict, list[dict]]:
    """A COCO file with crowds, odd areas and ids, and results: some near an object, some anywhere, equal scores too."""
    rng = np.random.default_rng(seed)
    images = [{"id": int(number)} for number in rng.permutation(500)[:n_images] + 1]
    annotations, results = [], []
    for image in images:
        for _ in range(rng.integers(0, 6)):
            box = [*np.round(rng.random(2) * 200, 2).tolist(), *map(float, rng.choice(SIDES, 2))]
            category = int(rng.choice([3, 7, 20]))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": category,
                    "bbox": box,
                    "area": box[2] * box[3] * float(rng.choice([1, 0.4])),
                    "iscrowd": int(rng.random() < 0.2),
                }
            )
            for _ in range(rng.integers(0, 3)):
                moved = (np.array(box) + rng.normal(0, 2 + 3 * rng.random(), 4)).round(0)
                results.append((image["id"], category, [*moved[:2], *np.maximum(moved[2:], 1)]))
        for _ in range(rng.integers(0, 3)):
            results.append((image["id"], int(rng.choice([3, 7, 20])), [*rng.integers(0, 200, 2), 30, 50]))
    scores = rng.integers(0, 20, len(results)) / 16
    rows = [
        {"image_id": image, "category_id": category, "bbox": [float(v) for v in box], "score": float(score)}
        for (image, category, box), score in zip(results, scores, strict=True)
    ]
    categories = [{"id": number, "name": name} for number, name in zip([3, 7, 20], CLASSES, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories}, rows


def by_pycocotools(truth: dict, rows: list[dict], folder: Path) -> list[float]:
    (folder / "gt.json").write_text(json.dumps(truth))
    (folder / "dt.json").write_text(json.dumps(rows))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "gt.json"))
        evaluation = COCOeval(coco, coco.loadRes(str(folder / "dt.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def as_truth(truth: dict) -> dict[str, CocoTruth]:
    names = {row["id"]: row["name"] for row in truth["categories"]}
    found = {}
    for image in truth["images"]:
        rows = [row for row in truth["annotations"] if row["image_id"] == image["id"]]
        found[f"image {image['id']}"] = CocoTruth(
            np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4),
            tuple(names[row["category_id"]] for row in rows),
            np.array([row["area"] for row in rows], dtype=np.float64),
            np.array([row["iscrowd"] for row in rows], dtype=np.bool_),
            np.zeros(len(rows), dtype=np.bool_),
            image["id"],
        )
    return found


def as_detections(truth: dict, rows: list[dict], classes: tuple[str, ...] = CLASSES) -> Detections:
    ids = [image["id"] for image in truth["images"]]
    names = {row["id"]: row["name"] for row in truth["categories"]}
    boxes = np.array([row["bbox"] for row in rows], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Detections(
        tuple(f"image {number}" for number in ids),
        classes,
        np.array([ids.index(row["image_id"]) for row in rows], dtype=np.int64),
        np.array([classes.index(names[row["category_id"]]) for row in rows], dtype=np.int64),
        boxes,
        np.array([row["score"] for row in rows], dtype=np.float32),
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_equals_pycocotools_on_the_files(seed: int, tmp_path: Path) -> None:
    truth, rows = random_set(seed)
    if not rows:
        return
    expected = [None if value < 0 else value for value in by_pycocotools(truth, rows, tmp_path)]
    result = evaluate_coco(as_detections(truth, rows), as_truth(truth), CLASSES)
    assert [result.stats[name] for name in STATS] == expected


def test_random_sets_are_worth_comparing(tmp_path: Path) -> None:
    stats = np.array([by_pycocotools(*random_set(seed, 20), tmp_path) for seed in range(5)])
    assert ((stats > 0.05) & (stats < 0.95)).mean() > 0.8


def truth_of(boxes: list[list[float]], difficult: list[bool] | None = None) -> CocoTruth:
    xywh = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    flags = np.array(difficult or [False] * len(xywh), dtype=np.bool_)
    return CocoTruth(xywh, ("ant",) * len(xywh), xywh[:, 2:].prod(axis=1), np.zeros(len(xywh), bool), flags)


def found(*rows: tuple[list[float], float]) -> Detections:
    boxes = np.array([row[0] for row in rows], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    zeros = np.zeros(len(rows), dtype=np.int64)
    return Detections(("a",), ("ant",), zeros, zeros, boxes, np.array([row[1] for row in rows], dtype=np.float32))


def test_a_perfect_detector_has_ap_1_and_thresholds_count_alike() -> None:
    box = [10.0, 10.0, 50.0, 50.0]
    assert evaluate_coco(found((box, 0.5)), {"a": truth_of([box])}, ("ant", "bee")).stats["AP"] == pytest.approx(1)
    # IoU 0.72: a hit at 0.50 to 0.70, five of ten thresholds.
    result = evaluate_coco(found(([10, 10, 50, 36], 0.5)), {"a": truth_of([box])}, ("ant", "bee"))
    assert result.stats["AP"] == pytest.approx(0.5)
    assert result.stats["AP50"] == pytest.approx(1)
    assert result.stats["AP75"] == 0
    assert result.stats["APm"] == pytest.approx(0.5)
    assert (result.stats["APs"], result.ap["bee"], result.npos) == (None, None, {"ant": 1, "bee": 0})


def test_difficult_objects_are_neither_hit_nor_miss_but_only_once() -> None:
    easy, hard = [10.0, 10.0, 50.0, 50.0], [100.0, 100.0, 50.0, 50.0]
    truth = {"a": truth_of([easy, hard], [False, True])}
    on_both = evaluate_coco(found((hard, 0.9), (easy, 0.5)), truth, ("ant",))
    assert on_both.stats["AP"] == pytest.approx(1)
    assert on_both.npos == {"ant": 1}
    # A second one on the difficult object is a miss, ranked above the hit: precision 1/2.
    twice = evaluate_coco(found((hard, 0.9), (hard, 0.8), (easy, 0.5)), truth, ("ant",))
    assert twice.stats["AP"] == pytest.approx(0.5)


def test_detections_elsewhere_do_not_count_and_classes_must_be_named() -> None:
    box = [10.0, 10.0, 50.0, 50.0]
    rows = found((box, 0.5))
    elsewhere = Detections(("b",), rows.classes, rows.image, rows.label, rows.boxes, rows.scores)
    result = evaluate_coco(elsewhere, {"a": truth_of([box])}, ("ant",))
    assert (result.stats["AP"], result.n_detections) == (0, {"ant": 0})
    with pytest.raises(UsageProblem, match="objects of ant"):
        evaluate_coco(rows, {"a": truth_of([box])}, ("bee",))
