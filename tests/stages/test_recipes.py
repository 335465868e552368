"""--recipe chooses values, options override them, artefacts record them; the release's mining pass in its order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.features import Features, open_features
from sppcli.artefacts.models import read_bbox, read_svm
from sppcli.detection.networks import network_of_maps, window_reader
from sppcli.detection.split import open_split
from sppcli.geometry.boxes import iou
from sppcli.images import INPUTS, Normalisation
from sppcli.learn.svm import SvmSettings, fit_svm
from sppcli.nets.backbones import Network
from sppcli.paper import PAPER, RELEASE
from tests.stages.conftest import SCALES, Run, Work


def load_recorded(features: Features) -> Network:
    """The network that the maps are of, as later stages find it."""
    return network_of_maps(features, None)


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


def test_a_recipe_decides_pixels_where_weights_do_not_say(work: Work, run: Run) -> None:
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_0(weights=None).state_dict(), "squeeze.pth")
    arguments = ("--backbone", "squeezenet1_0", "--weights", "squeeze.pth", "--scales", "96", "-q")
    for options, pixels in (
        (("--recipe", "release"), INPUTS["caffe-128"]),
        (("--recipe", "paper"), INPUTS["imagenet"]),
        (("--recipe", "release", "--input", "inception"), INPUTS["inception"]),
    ):
        assert run("extract", *arguments, *options, "-o", "other.h5")[0] == 0
        with open_features(Path("other.h5")) as features:
            assert load_recorded(features).normalisation == pixels
            assert features.header.summary["recipe"] == options[1]
    # Later stages run the same network in the same way.
    assert run("train-svm", "--features", "other.h5", "-o", "other-svm.h5", "-q")[0] == 0
    network = ("--features", "other.h5", "--svm", "other-svm.h5", "--no-bbox")
    image = next(Path("shapes/JPEGImages").glob("*.jpg"))
    code, _, err = run("detect", *network, str(image), "-o", "other.jsonl")
    assert code == 0, err


def test_a_network_that_says_its_pixels_keeps_them_and_it_is_said(work: Work, run: Run) -> None:
    code, _, err = run("extract", "--weights", "net.safetensors", "--recipe", "release", "--scales", SCALES)
    assert code == 0
    assert "net.safetensors says itself how its pixels are normalised, and not as caffe-128" in err
    with open_features(Path("features.h5")) as features:
        assert load_recorded(features).normalisation == Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_every_artefact_says_its_recipe(work: Work, run: Run) -> None:
    commands = {
        "features.h5": ("extract", "--weights", "net.safetensors", "--scales", "96", "--force"),
        "finetuned.safetensors": ("finetune", "--iterations", "2"),
        "svm.h5": ("train-svm",),
        "bbox.h5": ("train-bbox",),
        "detections.h5": ("detect",),
    }
    for path, command in commands.items():
        assert run(*command, "--recipe", "release", "-q")[0] == 0
        code, out, _ = run("info", path, "--json")
        assert code == 0
        assert '"recipe": "release"' in out, path


def test_numbers_of_negatives_are_options(work: Work, run: Run) -> None:
    rows = {}
    for first, hard in ((1, 1), (200, 1), (1, 30)):
        options = ("--first-negatives", str(first), "--hard-per-image", str(hard), "--evict-score", "-1e9")
        code, out, _ = run("train-svm", *options, "--hard-score", "-1e9", "--duplicate-iou", "1", "--json")
        assert code == 0
        rows[first, hard] = [row["negatives"] for row in json.loads(out)["classes"]]
    with open_split(Path("proposals.h5"), Path("features.h5"), "trainval") as data:
        images = len(data.images)
    # One of each image at random, then one hard one of each.
    assert max(rows[1, 1]) <= 2 * images
    assert min(rows[1, 1]) > images
    assert max(rows[200, 1]) > 2 * images
    assert max(rows[1, 30]) > 20 * images


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
