"""--recipe chooses values, options override them, artefacts record them; the release's mining pass in its order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.features import open_features
from sppcli.artefacts.models import read_bbox, read_svm
from sppcli.detection.networks import window_reader
from sppcli.detection.split import open_split
from sppcli.geometry.boxes import iou
from sppcli.learn.svm import SvmSettings, fit_svm
from sppcli.paper import PAPER, RELEASE
from tests.stages.conftest import Run, Work


def test_a_recipe_decides_and_is_recorded(work: Work, run: Run) -> None:
    assert run("train-svm", "--recipe", "release", "-q")[0] == 0
    assert run("train-bbox", "--recipe", "release", "-q")[0] == 0
    assert run("detect", "--recipe", "release", "-q")[0] == 0
    svm, bbox = read_svm(Path("svm.h5")), read_bbox(Path("bbox.h5"))
    with open_features(Path("features.h5")) as features:
        network = features.network
    assert svm.header.config["recipe"] == "release"
    assert svm.header.config["mining"] == "single-pass"
    assert svm.header.config["hard_score"] == -1.0001
    assert svm.record.normalize == "none"
    assert svm.record.scale_rule == "side"
    assert svm.record.slack == 1.5
    assert svm.record.window_side == network.input_cells * network.stride
    assert bbox.header.config["ridge"] == 4000
    assert bbox.header.config["strict_iou"] is True
    assert bbox.box_width == "inclusive"
    # Measured on the same windows, whatever is trained on them.
    assert bbox.record.factor == svm.record.factor != 1
    assert read_detections(Path("detections.h5")).header.config["settings"]["nms_again"] is True


def test_single_values_override_a_recipe(work: Work, run: Run) -> None:
    options = ("--recipe", "release", "--mining", "rounds", "--c", "0.5", "--slack", "0", "--window-side", "input")
    assert run("train-svm", *options, "-q")[0] == 0
    svm = read_svm(Path("svm.h5"))
    assert (svm.header.config["mining"], svm.header.config["c"]) == ("rounds", 0.5)
    assert (svm.record.slack, svm.record.window_side) == (0, 48)
    assert svm.record.scale_rule == "side"


def test_the_releases_scales_differ_in_one(work: Work, run: Run) -> None:
    assert set(PAPER.scales) ^ set(RELEASE.scales) == {864, 874}
    code, out, _ = run("extract", "--weights", "net.safetensors", "--recipe", "release", "--json", "--dry-run")
    assert code == 0
    assert json.loads(out)["scales"] == list(RELEASE.scales)


@pytest.mark.parametrize("recipe", ["paper", "release"])
def test_every_recipe_makes_a_detector(work: Work, run: Run, recipe: str) -> None:
    for command in ("train-svm", "train-bbox", "detect"):
        assert run(command, "--recipe", recipe, "-q")[0] == 0
    code, out, _ = run("evaluate", "--json")
    assert code == 0
    assert json.loads(out)["mAP"] > 0.5


def slow_single_pass(folder: Path, name: str, retrain_after: int) -> tuple[np.ndarray, float, int, int, int]:
    """The release's pass for one class, written out from its rules: weights, bias, negatives, trainings, dropped."""
    svm = read_svm(folder / "svm.h5")
    settings = SvmSettings(c=RELEASE.c, positive_weight=RELEASE.positive_weight, bias_feature=RELEASE.bias_feature)
    positives: list[np.ndarray] = []
    cache: dict[tuple[int, int], np.ndarray] = {}
    model = None
    new = trainings = dropped = 0

    def train() -> None:
        nonlocal model, new, trainings, dropped
        samples = np.stack([*positives, *cache.values()]).astype(np.float16)
        model = fit_svm(samples, np.arange(len(samples)) < len(positives), settings)
        trainings, new = trainings + 1, 0
        for key in list(cache):
            if cache[key].astype(np.float16).astype(np.float32) @ model.weights + model.bias < -1.2:
                del cache[key]
                dropped += 1

    with open_split(folder / "proposals.h5", folder / "features.h5", "trainval") as data:
        reader = window_reader(data.features.scales, svm.record, None)
        for row in data.images:
            truth = data.truth(row)
            for i in np.flatnonzero(truth.of_class(name)):
                positives.append(reader.features(data.maps(row), truth.boxes[i : i + 1])[0] * svm.record.factor)
        for number, row in enumerate(data.images):
            truth = data.truth(row)
            boxes = np.concatenate([truth.boxes, data.windows(row)])
            features = reader.features(data.maps(row), boxes) * np.float32(svm.record.factor)
            cells = [tuple(key) for key in reader.keys(data.maps(row), boxes).tolist()]
            mine = truth.boxes[truth.of_class(name)]
            score = None if model is None else features @ model.weights + np.float32(model.bias)
            for window in range(len(boxes)):
                if cells.index(cells[window]) != window:
                    continue  # the same cells as an earlier window of this image
                if len(mine) and iou(boxes[window : window + 1], mine).max() >= 0.3:
                    continue
                if (row, window) in cache or (score is not None and score[window] <= -1.0001):
                    continue
                cache[(row, window)] = features[window]
                new += 1
            if number == 0 or new > retrain_after:
                train()
    train()
    assert model is not None
    return model.weights, model.bias, len(cache), trainings, dropped


def test_the_single_pass_is_the_releases(work: Work, run: Run) -> None:
    code, out, _ = run("train-svm", "--recipe", "release", "--retrain-after", "60", "--json")
    assert code == 0
    summary = {row["name"]: row for row in json.loads(out)["classes"]}
    svm = read_svm(Path("svm.h5"))
    for k, name in enumerate(svm.classes):
        weights, bias, negatives, trainings, dropped = slow_single_pass(Path(), name, 60)
        # The positions of windows inside the cache differ: the solver visits samples in another order.
        assert summary[name]["trainings"] == trainings
        assert trainings >= 3
        assert abs(summary[name]["negatives"] - negatives) <= 2
        assert abs(summary[name]["dropped"] - dropped) <= 2
        assert np.abs(svm.weights[k] - weights).max() <= 0.02 * np.abs(weights).max()
        assert svm.biases[k] == pytest.approx(bias, abs=0.02)
