"""``spp detect --second-pass``: corrected boxes are pooled, scored and corrected again; the best of both stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.features import open_features
from sppcli.artefacts.models import read_bbox, read_svm
from sppcli.detection.scoring import Scorer
from sppcli.geometry.nms import nms
from tests.conftest import Run
from tests.stages.conftest import Work

LEAST = ("--min-score", "-1.5", "-q")


def found(name: str) -> dict[tuple[str, int], np.ndarray]:
    """Boxes and scores (N, 5) by image and class."""
    file = read_detections(Path(name))
    rows = np.column_stack([file.detections.boxes, file.detections.scores])
    keys = list(zip(np.array(file.detections.image_ids)[file.detections.image], file.detections.label, strict=True))
    return {key: rows[[other == key for other in keys]] for key in keys}


def test_both_passes_are_suppressed_together(work: Work, run: Run) -> None:
    assert run("detect", *LEAST, "-o", "one.h5")[0] == 0
    assert run("detect", "--second-pass", *LEAST, "-o", "two.h5")[0] == 0
    first, both = found("one.h5"), found("two.h5")
    svm, bbox = read_svm(Path("svm.h5")), read_bbox(Path("bbox.h5"))
    checked = 0
    with open_features(Path("features.h5")) as features:
        scorer = Scorer(svm, bbox, tuple(svm.header.summary["scales"]))
        for (image, label), rows in first.items():
            maps = features.maps(features.images.ids.index(image))
            boxes = rows[:, :4].astype(np.float32)
            unique, _ = scorer.score(maps, boxes)
            scores = unique.spread(unique.values @ svm.weights[label] + svm.biases[label])
            again = scorer.corrected(maps, boxes, unique.of(np.arange(len(boxes))), label)
            all_boxes = np.concatenate([boxes, again])
            all_scores = np.concatenate([rows[:, 4], scores])
            above = np.flatnonzero(all_scores > -1.5)
            kept = above[nms(all_boxes[above], all_scores[above], 0.3)]
            expected = np.column_stack([all_boxes, all_scores])[kept]
            np.testing.assert_allclose(both[image, label], expected, rtol=1e-4, atol=1e-4)
            checked += len(kept)
    assert checked > 20
    assert any(len(both[key]) != len(rows) or not np.allclose(both[key], rows) for key, rows in first.items())


def test_without_box_regression_nothing_is_scored_again(work: Work, run: Run) -> None:
    assert run("detect", "--no-bbox", *LEAST, "-o", "one.h5")[0] == 0
    assert run("detect", "--no-bbox", "--second-pass", *LEAST, "-o", "two.h5")[0] == 0
    first, both = found("one.h5"), found("two.h5")
    assert all(np.array_equal(first[key], both[key]) for key in first)


def test_the_features_of_rcnn_have_no_second_pass(work: Work, run: Run) -> None:
    common = ("--features", "rcnn.h5", "--svm", "rcnn-svm.h5")
    assert run("extract", "--method", "rcnn", "--weights", "net.safetensors", "-o", "rcnn.h5", "-q")[0] == 0
    assert run("train-svm", "--features", "rcnn.h5", "-o", "rcnn-svm.h5", "-q")[0] == 0
    assert run("train-bbox", "--features", "rcnn.h5", "-o", "rcnn-bbox.h5", "-q")[0] == 0
    code, _, err = run("detect", *common, "--bbox", "rcnn-bbox.h5", "--second-pass", *LEAST, "-o", "two.h5")
    assert code == 2
    assert "a second pass needs conv maps, and R-CNN's features have none; give --no-second-pass" in err
