"""``spp calibrate --held-out``: one training anew, of SVMs or of a network, on a part of the images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sppcli.artefacts.calibration import CalibrationFile, read_calibration
from sppcli.cli.main import main
from sppcli.detection import held_out, network_held_out
from sppcli.detection.held_out import divided
from sppcli.detection.svm_training import SvmTrainer
from sppcli.errors import BadInput
from sppcli.learn.checkpoints import Checkpoints, Tensors
from tests.conftest import Run, Voc
from tests.stages.conftest import Work

NETWORK = ("calibrate", "--network", "detector.safetensors", "--held-out", "0.25")


@pytest.fixture(scope="module")
def networked(trained: Work, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The trained folder with a small detector of one network, trained on trainval."""
    folder = tmp_path_factory.mktemp("networked") / "work"
    shutil.copytree(trained.folder, folder)
    small = ("--channels", "16", "--fc", "32", "--scale", "96", "--epochs", "3", "--precision", "fp32")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train-detector", "--weights", "net.safetensors", *small, "-q"]) == 0
    return Work(folder, trained.voc)


@pytest.fixture
def there(networked: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Voc:
    shutil.copytree(networked.folder, tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    return networked.voc


def stored() -> CalibrationFile:
    return read_calibration(Path("calibration.h5"))


def never(*_: object, **__: object) -> None:
    raise AssertionError("trained again")


def test_svms_of_the_others_detect_in_the_part(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[set[str]] = []
    found: list[set[str]] = []
    train, find = SvmTrainer.train, held_out._found

    def training(self: SvmTrainer) -> object:
        trained.append({self.data.image_id(image) for image in self.data.images})
        return train(self)

    def finding(models: object, splits: object, *more: object) -> object:
        (data,) = splits  # type: ignore[misc]
        found.append({data.image_id(image) for image in data.images})
        return find(models, splits, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(SvmTrainer, "train", training)
    monkeypatch.setattr(held_out, "_found", finding)
    code, out, err = run("calibrate", "--held-out", "0.25", "--json")
    assert code == 0, err
    assert "training on 9 images, detecting in the other 3" in err
    assert (len(trained), len(trained[0]), len(found[0])) == (1, 9, 3)
    assert trained[0] | found[0] == set(work.voc.splits["trainval"])
    summary = json.loads(out)
    assert (summary["images"], summary["folds"], summary["held_out"], summary["split"]) == (3, 0, 0.25, "trainval")
    objects = [thing for name in found[0] for thing in work.voc.things[name]]
    assert summary["overall"]["objects"] == len(objects)
    monkeypatch.setattr(SvmTrainer, "train", never)
    assert "3 images, held out of trainval (up to date)" in run("calibrate", "--held-out", "0.25")[1]
    assert run("calibrate", "--held-out", "0.25", "--at", "recall=0.5")[0] == 0
    assert "trained again" in run("calibrate", "--held-out", "0.5")[2]
    assert "trained again" in run("calibrate", "--held-out", "0.25", "--seed", "1")[2]


def test_a_network_of_the_others_detects_in_the_part(there: Voc, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path("detector.safetensors").read_bytes()
    trained: list[set[str]] = []
    detected: list[set[str]] = []
    train, find = network_held_out.train_detector, network_held_out.in_split

    def training(model: object, trunk: object, draw: object, count: int, *more: object, **named: object) -> object:
        data = draw.split  # type: ignore[attr-defined]
        trained.append({data.image_id(image) for image in data.images})
        assert count == len(trained[-1])
        return train(model, trunk, draw, count, *more, **named)  # type: ignore[arg-type]

    def finding(data: object, *more: object) -> object:
        detected.append({data.image_id(image) for image in data.images})  # type: ignore[attr-defined]
        return find(data, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(network_held_out, "train_detector", training)
    monkeypatch.setattr(network_held_out, "in_split", finding)
    code, out, err = run(*NETWORK, "--json")
    assert code == 0, err
    assert (len(trained), len(trained[0]), len(detected[0])) == (1, 9, 3)
    assert trained[0] | detected[0] == set(there.splits["trainval"])
    summary = json.loads(out)
    assert (summary["images"], summary["held_out"], summary["split"]) == (3, 0.25, "trainval")
    assert Path("detector.safetensors").read_bytes() == before
    assert not Path("calibration.h5.checkpoint").exists()
    # Probabilities of new images are those of the file.
    code, out, _ = run("detect", "--network", "detector.safetensors", str(there.image("000004")), "--min-score", "0.1")
    assert code == 0
    calibration = stored().calibration
    for row in map(json.loads, out.splitlines()):
        score_map = calibration.maps[calibration.classes.index(row["class"])]
        assert row["probability"] == pytest.approx(score_map(np.array([row["score"]]))[0], abs=1e-3)
    monkeypatch.setattr(network_held_out, "train_detector", never)
    assert run(*NETWORK, "--at", "recall=0.5")[0] == 0
    assert "trained again" in run(*NETWORK, "--seed", "1")[2]


class Stopped(Exception):
    pass


def test_a_training_that_was_killed_goes_on(there: Voc, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(*NETWORK, "-o", "whole.h5", "-q")[0] == 0
    save = Checkpoints.save

    def stopping(
        self: Checkpoints, position: Callable[[], dict], tensors: Callable[[], Tensors], *, milestone: bool
    ) -> None:
        save(self, position, tensors, milestone=milestone)
        if position()["step"] == 11:
            raise Stopped

    monkeypatch.setattr(network_held_out, "CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", stopping)
        assert "Stopped" in run(*NETWORK, "-q")[2]
    assert Path("calibration.h5.checkpoint").exists()
    taken: list[int] = []
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, position, tensors, milestone: taken.append(position()["step"])
    )
    assert run(*NETWORK, "--at", "recall=0.5", "-q")[0] == 0
    assert taken[0] == 12
    assert not Path("calibration.h5.checkpoint").exists()
    assert run(*NETWORK, "-q")[0] == 0
    whole, parts = read_calibration(Path("whole.h5")), stored()
    np.testing.assert_array_equal(whole.held_out.scores, parts.held_out.scores)  # type: ignore[union-attr]
    np.testing.assert_array_equal(whole.calibration.thresholds, parts.calibration.thresholds)


def test_a_network_whose_images_have_changed(there: Voc, run: Run) -> None:
    assert run("calibrate", "--network", "detector.safetensors", "-q")[0] == 2  # val is among what it was trained on
    path = Path("shapes/Annotations/000001.xml")
    path.write_text(path.read_text().replace("disc", "square"))
    code, _, err = run(*NETWORK, "--dataset", "shapes", "-q")
    assert code == 4
    assert "detector.safetensors was trained on other images, annotations, region proposals or weights" in err
    assert not Path("calibration.h5").exists()


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--held-out", "0.25", "--split", "val"), 2, "--split and --held-out exclude each other"),
        (("--held-out", "0.25", "--folds", "2"), 2, "--folds and --held-out exclude each other"),
        (("--held-out", "1"), 2, "'1' is not a number between 0 and 1, such as 0.25"),
        (("--held-out", "0"), 2, "'0' is not a number between 0 and 1, such as 0.25"),
        (("--held-out", "0.01"), 3, "split trainval has 12 images, too few to hold 0.01 of them out"),
    ],
)
def test_what_cannot_be_held_out(work: Work, run: Run, options: tuple[str, ...], code: int, text: str) -> None:
    found, _, err = run("calibrate", *options, "-q")
    assert found == code
    assert text in " ".join(err.split())


def test_a_flag_overrules_the_file(work: Work, run: Run) -> None:
    Path("spp.toml").write_text("[calibrate]\nheld-out = 0.25\n")
    code, out, _ = run("calibrate", "--folds", "2", "--json", "-q")
    assert code == 0
    assert (json.loads(out)["folds"], json.loads(out)["held_out"]) == (2, None)
    Path("spp.toml").write_text('[calibrate]\nfolds = 2\nsplit = "val"\n')
    code, out, _ = run("calibrate", "--held-out", "0.25", "--json", "-q")
    assert code == 0
    assert (json.loads(out)["split"], json.loads(out)["held_out"]) == ("trainval", 0.25)


def test_rare_classes_lie_on_both_sides() -> None:
    labels = [["often"]] * 20 + [["often", "rare"], ["rare"], ["rare"], ["rare"], [], []]
    inside, outside = divided(labels, 0.25, 0, "trainval")
    assert (len(inside), len(outside)) == (6, 20)
    assert sorted([*inside, *outside]) == list(range(26))
    assert len({20, 21, 22, 23} & set(inside.tolist())) == 1
    assert (divided(labels, 0.25, 0, "trainval")[0] == inside).all()
    assert not np.array_equal(divided(labels, 0.25, 1, "trainval")[0], inside)
    with pytest.raises(BadInput, match="has 2 images, too few"):
        divided([["a"], ["b"]], 0.25, 0, "trainval")
