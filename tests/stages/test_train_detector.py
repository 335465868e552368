"""spp train-detector and spp detect --network through the command line, and their parts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import sppcli
from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.networks import recorded_training
from sppcli.detection.detector_training import TrainDetectorConfig
from sppcli.detection.labelling import match
from sppcli.detection.rois import RoiSampling, draw_rois, regression_targets
from sppcli.errors import UsageProblem
from sppcli.geometry.regression import decode
from sppcli.learn.augment import colour_jittered
from sppcli.learn.checkpoints import Checkpoints, Tensors
from sppcli.learn.detector import DetectorTraining, Example
from sppcli.learn.detector import train_detector as learn
from sppcli.learn.multisize import Machinery
from sppcli.nets.backbones import torchvision_model
from sppcli.nets.detector import TARGET_SCALE, load_detector
from sppcli.runtime.distributed import World
from sppcli.runtime.progress import NoProgress
from sppcli.stages import train_detector
from sppcli.structures import Annotations
from tests.conftest import Run, Voc, build_voc
from tests.stages.conftest import Work, write_network

SMALL = ("--weights", "net.safetensors", "--precision", "fp32", "--channels", "32", "--fc", "64", "-q")
OPTIONS = (*SMALL, "--scale", "120", "--epochs", "16", "--rate", "0.003")


@pytest.fixture(scope="session")
def detected(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """A folder with drawn shapes, region proposals, a network of fixed weights and a detector trained on it."""
    from sppcli.cli.main import main

    folder = tmp_path_factory.mktemp("detected")
    voc = build_voc(folder / "shapes", 24, per_image=4, seed=1)
    write_network(folder / "net.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["propose", "shapes", "-q", "-j", "1"]) == 0
        assert main(["train-detector", *OPTIONS, "--validation", "test"]) == 0
    return Work(folder, voc)


@pytest.fixture
def folder(detected: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Voc:
    shutil.copytree(detected.folder, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return detected.voc


def test_from_images_to_average_precision(folder: Voc, run: Run) -> None:
    code, out, _ = run("train-detector", *OPTIONS, "--validation", "test", "--json")
    summary = json.loads(out)
    assert code == 0
    assert summary["up_to_date"]
    assert (summary["images"], summary["validation_images"], summary["steps"]) == (18, 6, 16 * 18)
    first, last = summary["epochs"][0], summary["epochs"][-1]
    assert last["class_loss"] < first["class_loss"] / 2
    assert run("detect", "--network", "detector.safetensors", "-q")[0] == 0
    score = json.loads(run("evaluate", "--json", "-q")[1])["mAP"]
    assert score > 0.8
    # The validation of the last epoch was the same measurement.
    assert last["map_11"] == pytest.approx(score)
    # The detections know what made them: nothing is to do, and once their network has changed they are made again.
    assert "up to date" in run("detect", "--network", "detector.safetensors")[1]
    before = read_detections(Path("detections.h5")).header.fingerprint
    assert run("train-detector", *SMALL, "--scale", "120", "--epochs", "1", "--seed", "1")[0] == 0
    assert run("evaluate", "-q")[0] == 0
    assert read_detections(Path("detections.h5")).header.fingerprint != before


def test_a_split_new_images_and_python_find_the_same(folder: Voc, run: Run) -> None:
    names = folder.splits["test"]
    paths = [str(folder.image(name)) for name in names]
    network = ("--network", "detector.safetensors", "--min-score", "0.3", "-q")
    assert run("detect", *network, "-o", "split.h5")[0] == 0
    assert run("detect", *paths, *network, "-j", "1", "-o", "images.h5")[0] == 0
    split, images = (read_detections(Path(name)).detections for name in ("split.h5", "images.h5"))
    assert len(split.scores) >= len(names)
    for name in ("image", "label", "boxes", "scores"):
        assert np.array_equal(getattr(split, name), getattr(images, name)), name
    detector = sppcli.Detector.load("detector.safetensors", min_score=0.3)
    for row, path in enumerate(paths):
        found, stored = detector.detect(path), split.of_image(row)
        order = np.argsort(-stored.scores, kind="stable")
        assert np.array_equal(found.boxes, stored.boxes[order])
        assert np.array_equal(found.scores, stored.scores[order])
        assert found.labels == tuple(stored.classes[label] for label in stored.label[order])
    # Scores are probabilities; of new images those above one half are shown.
    assert ((split.scores > 0.3) & (split.scores <= 1)).all()
    assert (sppcli.Detector.load("detector.safetensors").detect(paths[0]).scores > 0.5).all()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["detect", "--network", "gone.safetensors"], 3, "run spp train-detector first"),
        (["detect", "--network", "net.safetensors"], 3, "not a detector that spp train-detector made"),
        (["detect", "--network", "detector.safetensors", "--svm", "svm.h5"], 2, "--network and --svm exclude"),
        (["detect", "--network", "detector.safetensors", "--nms-again"], 2, "--network and --nms-again exclude"),
        (["extract", "--weights", "detector.safetensors"], 3, "which only spp detect --network reads"),
        (["train-detector", *SMALL, "--pyramid", "4,1", "-o", "n.safetensors"], 2, "level 4 does not divide"),
        (["train-detector", *SMALL, "--train-from", "conv7", "-o", "n.safetensors"], 2, "no layer 'conv7'"),
        (["train-detector", *SMALL, "--validation", "val", "-o", "n.safetensors"], 2, "are in split trainval and in"),
        (["train-detector", *SMALL, "--split", "tset", "-o", "n.safetensors"], 3, "did you mean 'test'?"),
        (["train-detector", *SMALL, "-o", "proposals.h5"], 2, "proposals.h5 is one of the files that are read"),
    ],
)
def test_what_cannot_be_done(folder: Voc, run: Run, arguments: list[str], code: int, message: str) -> None:
    found, _, err = run(*arguments)
    assert found == code
    assert message in " ".join(err.split())


def test_a_network_detects_alone(folder: Voc) -> None:
    with pytest.raises(UsageProblem, match="detects alone"):
        sppcli.Detector.load("detector.safetensors", "detector.safetensors")


def test_info_says_what_a_detector_is(folder: Voc, run: Run) -> None:
    code, out, _ = run("info", "detector.safetensors", "--verify")
    assert code == 0
    assert "disc, square, triangle" in out


def test_curves_lie_beside_the_network(folder: Voc, run: Run) -> None:
    lines = Path("detector.csv").read_text().splitlines()
    assert lines[0] == "epoch,rate,class_loss,box_loss,seconds,map_11,map_area"
    assert len(lines) == 1 + 16
    epochs = json.loads(run("train-detector", *OPTIONS, "--validation", "test", "--json")[1])["epochs"]
    assert float(lines[-1].split(",")[2]) == epochs[-1]["class_loss"]
    assert Path("detector.png").read_bytes().startswith(b"\x89PNG")
    # Files of others are not replaced.
    Path("mine.csv").write_text("name,age\n")
    code, _, err = run("train-detector", *SMALL, "-o", "mine.safetensors")
    assert (code, "mine.csv" in err) == (2, True)


@pytest.mark.parametrize(
    ("given", "cut", "train_from"),
    [
        ((), ["features.10"], "features.7"),
        (("--cut", "features.5,features.10", "--train-from", "all"), ["features.5", "features.10"], "all"),
    ],
)
def test_each_backbone_has_its_own_defaults(
    folder: Voc, run: Run, given: tuple[str, ...], cut: list[str], train_from: str
) -> None:
    torch.manual_seed(0)
    save_file(torchvision_model("squeezenet1_0").state_dict(), "squeeze.safetensors")
    arguments = ["--weights", "squeeze.safetensors", "--epochs", "1", "--scale", "64", "--split", "val", "--rois", "8"]
    assert run("train-detector", *arguments, *given, "-o", "s.safetensors", "-q")[0] == 0
    made = recorded_training(Path("s.safetensors"))["config"]
    assert (made["cut"], made["train_from"]) == (cut, train_from)
    tensors = load_file("s.safetensors")
    # The pyramid's 14 bins of 128 channels on each map.
    assert tensors["fc.0.weight"].shape == (512, len(cut) * 14 * 128)
    before = load_file("squeeze.safetensors")
    kept = {
        name
        for name in before
        if (mine := tensors.get(f"trunk.{name}")) is not None and torch.equal(mine, before[name])
    }
    early = {name for name in before if name.startswith("features.") and int(name.split(".")[1]) < 7}
    assert kept == (early if train_from == "features.7" else set())
    assert run("detect", "--network", "s.safetensors", "-q", "-o", "d.h5")[0] == 0


def test_maps_are_named_in_the_order_of_the_backbone(folder: Voc, run: Run) -> None:
    save_file(torchvision_model("squeezenet1_0").state_dict(), "squeeze.safetensors")
    code, _, err = run("train-detector", "--weights", "squeeze.safetensors", "--cut", "features.10,features.5")
    assert (code, "--cut features.10,features.5: give the layers in the order" in " ".join(err.split())) == (2, True)


def test_two_processes_train_as_one(folder: Voc, run: Run) -> None:
    # 6 images, 5 in a step: one process has no image in the last step of an epoch.
    options = [
        *SMALL,
        "--scale",
        "96",
        "--epochs",
        "2",
        "--split",
        "val",
        "--images-per-step",
        "5",
        "--validation",
        "test",
    ]
    assert len(folder.splits["val"]) == 6
    assert run("train-detector", *options, "-o", "one.safetensors")[0] == 0
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "sppcli"]
    command = [sys.executable, *launcher, "train-detector", *options, "-o", "two.safetensors"]
    together = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert together.returncode == 0, together.stderr
    assert together.stdout.count("two.safetensors: 3 classes") == 1  # the first process speaks, the other is silent
    one, two = (recorded_training(Path(f"{name}.safetensors"))["summary"]["epochs"] for name in ("one", "two"))
    for mine, theirs in zip(one, two, strict=True):
        assert theirs["class_loss"] == pytest.approx(mine["class_loss"], rel=1e-3)
        assert theirs["map_area"] == pytest.approx(mine["map_area"], abs=0.02)
    alone, both = load_file("one.safetensors"), load_file("two.safetensors")
    assert all(torch.allclose(alone[name], both[name], atol=2e-3) for name in alone)


def test_more_processes_than_images_in_a_step_are_refused(folder: Voc) -> None:
    model, *_ = load_detector(Path("detector.safetensors"))
    on = Machinery(world=World(0, 2))
    with pytest.raises(UsageProblem, match=r"2 processes cannot share steps of 1 image; give --images-per-step 2"):
        learn(model, [], list[Example]().__getitem__, 6, DetectorTraining(), NoProgress(), on=on)


# --- exact resume ---


class Stopped(Exception):
    pass


@pytest.mark.parametrize("step", [1, 4, 7])
def test_stopped_at_any_step_it_ends_with_the_same_weights(
    folder: Voc, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainDetectorConfig(
        weights="net.safetensors",
        split="val",
        precision="fp32",
        channels=8,
        fc=(16,),
        sampling=RoiSampling(scale=96, rois=16),
        training=DetectorTraining(epochs=2, warm_up=3),
    )
    whole, parts = Path("whole.safetensors"), Path("parts.safetensors")
    train_detector.run(Path("proposals.h5"), whole, config)
    save = Checkpoints.save

    def stopping(
        self: Checkpoints, position: Callable[[], dict], tensors: Callable[[], Tensors], *, milestone: bool
    ) -> None:
        save(self, position, tensors, milestone=milestone)
        if position()["step"] == step:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", stopping)
        with pytest.raises(Stopped):
            train_detector.run(Path("proposals.h5"), parts, config, checkpoint_seconds=0)
    assert not parts.exists()
    summary = train_detector.run(Path("proposals.h5"), parts, config, checkpoint_seconds=0)
    assert summary.steps == 2 * len(folder.splits["val"]) > step
    first, second = load_file(whole), load_file(parts)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert list(Path().glob("*.checkpoint")) == []


# --- what is drawn ---


def test_shares_of_a_step() -> None:
    rng = np.random.default_rng(0)
    truth = Annotations(
        np.array([[0, 0, 40, 40], [60, 0, 100, 40], [0, 60, 40, 100]], np.float32),
        ("common", "common", "rare"),
        np.zeros(3, dtype=np.bool_),
    )

    def near(box: list[float], count: int, shift: float) -> np.ndarray:
        moved = np.array(box) + rng.uniform(-shift, shift, (count, 1)) * np.array([1, 1, 1, 1])
        return moved.astype(np.float32)

    # 200 windows show the first object, 20 each of the others; 300 overlap one a little, 300 nothing.
    boxes = np.concatenate(
        [
            near([0, 0, 40, 40], 200, 3),
            near([60, 0, 100, 40], 20, 3),
            near([0, 60, 40, 100], 20, 3),
            near([22, 0, 62, 40], 300, 2),
            near([150, 150, 180, 180], 300, 2),
        ]
    )
    found = match(boxes, truth, ("common", "rare"))
    config = RoiSampling(rois=64)
    shown, hard = np.zeros(3), 0
    for _ in range(400):
        rows, objects = draw_rois(found, np.array([1.0, 2.0]), config, rng)
        assert (len(rows), objects, len(set(rows.tolist()))) == (64, 21, 64)
        assert (found.iou[rows[:objects]] >= 0.5).all()
        rest = found.iou[rows[objects:]]
        assert (rest < 0.5).all()
        hard += int((rest >= 0.1).sum())
        shown += np.bincount(found.match[rows[:1]], minlength=3)
    # Half of the background is hard; objects are drawn evenly but for the weight of their class.
    assert hard == 400 * round(43 / 2)
    assert shown / 400 == pytest.approx([0.25, 0.25, 0.5], abs=0.08)


def test_where_one_kind_is_missing_the_others_fill_the_step() -> None:
    truth = Annotations(np.array([[0, 0, 40, 40]], np.float32), ("a",), np.zeros(1, dtype=np.bool_))
    rng = np.random.default_rng(0)
    far = np.tile(np.array([[80, 80, 90, 90]], np.float32), (50, 1))
    rows, objects = draw_rois(match(far, truth, ("a",)), np.ones(1), RoiSampling(rois=32), rng)
    assert (len(rows), objects) == (32, 0)
    both = np.concatenate([far[:5], np.tile(np.array([[0, 0, 39, 40]], np.float32), (3, 1))])
    rows, objects = draw_rois(match(both, truth, ("a",)), np.ones(1), RoiSampling(rois=32), rng)
    assert (len(rows), objects) == (8, 3)
    none = match(far, Annotations.empty(), ("a",))
    assert draw_rois(none, np.ones(1), RoiSampling(rois=32), rng)[1] == 0


def test_targets_lead_back_to_the_object() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 50, (2, 40, 2))
    boxes, truth = (np.concatenate([c, c + rng.uniform(1, 50, (40, 2))], axis=1).astype(np.float32) for c in corners)
    targets = regression_targets(boxes, truth)
    assert np.allclose(decode(boxes, targets * np.array(TARGET_SCALE)), truth, atol=1e-4)


def test_colours_vary_within_bounds() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    assert np.array_equal(colour_jittered(image, np.random.default_rng(1), 0.0), image)
    for seed in range(20):
        changed = colour_jittered(image, np.random.default_rng(seed), 0.2)
        assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
        assert 0.6 < changed.mean() / image.mean() < 1.3
        assert not np.array_equal(changed, image)


def test_the_rate_rises_then_falls() -> None:
    config = DetectorTraining(rate=1.0, warm_up=10)
    rates = [config.rate_at(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert int(np.argmax(rates)) in (8, 9)
    assert rates[-1] < 0.001
