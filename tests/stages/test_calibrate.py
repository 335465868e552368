"""``spp calibrate``, and what uses its file: detection in new images, `Detector`, evaluation, pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import sppcli
from sppcli.artefacts.calibration import CalibrationFile, read_calibration
from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.models import read_svm
from sppcli.cli.main import main
from sppcli.detection import held_out
from sppcli.detection.held_out import folds_of
from sppcli.detection.svm_training import SvmTrainer
from sppcli.evaluation.operating_point import figures, matched
from sppcli.structures import Annotations, as_boxes
from tests.conftest import Run, Voc
from tests.stages.conftest import Work


@pytest.fixture(scope="module")
def calibrated(trained: Work, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The trained folder with a calibration of two folds, and detections of test."""
    folder = tmp_path_factory.mktemp("calibrated") / "work"
    shutil.copytree(trained.folder, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["calibrate", "--folds", "2", "-q"]) == 0
        assert main(["detect", "-q"]) == 0
    return Work(folder, trained.voc)


@pytest.fixture
def there(calibrated: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Voc:
    shutil.copytree(calibrated.folder, tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    return calibrated.voc


def stored() -> CalibrationFile:
    return read_calibration(Path("calibration.h5"))


def test_no_model_of_a_fold_has_seen_what_it_detects_in(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[set[str], set[str]]] = []
    train, find = SvmTrainer.train, held_out._found

    def training(self: SvmTrainer) -> object:
        seen.append(({self.data.image_id(image) for image in self.data.images}, set()))
        return train(self)

    def finding(models: object, splits: object, *more: object) -> object:
        (data,) = splits  # type: ignore[misc]
        seen[-1][1].update(data.image_id(image) for image in data.images)
        return find(models, splits, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(SvmTrainer, "train", training)
    monkeypatch.setattr(held_out, "_found", finding)
    code, out, err = run("calibrate", "--json")
    assert code == 0, err
    assert err.count("fold ") == 3
    trainval = set(work.voc.splits["trainval"])
    assert len(seen) == 3
    assert all(trained | detected == trainval and not trained & detected for trained, detected in seen)
    assert sorted(name for _, detected in seen for name in detected) == sorted(trainval)
    summary = json.loads(out)
    assert (summary["images"], summary["folds"], summary["split"]) == (12, 3, "trainval")
    truth = [thing.label for name in trainval for thing in work.voc.things[name]]
    assert {row["name"]: row["objects"] for row in summary["classes"]} == {n: truth.count(n) for n in set(truth)}
    assert summary["overall"]["objects"] == len(truth)
    assert "calibration" in run("info", "calibration.h5")[1]


def test_another_aim_costs_no_detection(there: Voc, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("sppcli.stages.calibrate.in_folds", never)
    before = stored()
    code, out, _ = run("calibrate", "--folds", "2")
    assert code == 0
    assert "(up to date)" in out
    code, out, err = run("calibrate", "--folds", "2", "--at", "recall=0.5", "--json")
    assert code == 0, err
    assert all(0.5 <= row["recall"] < 0.6 for row in json.loads(out)["classes"])
    after = stored()
    assert (after.calibration.thresholds > before.calibration.thresholds).all()
    np.testing.assert_array_equal(after.held_out.scores, before.held_out.scores)
    assert "trained again" in run("calibrate", "--folds", "2", "--seed", "1")[2]


def test_new_images_show_what_counts_as_an_object(there: Voc, run: Run) -> None:
    images = [str(there.image(name)) for name in there.splits["test"]]
    _, everything, _ = run("detect", "-j", "1", *images, "--no-calibration", "--min-score", "-1.5")
    code, shown, err = run("detect", "-j", "1", *images)
    assert code == 0
    assert "calibration.h5: probabilities, and the threshold of each class for f1" in err
    calibration = stored().calibration
    threshold = dict(zip(calibration.classes, calibration.thresholds, strict=True))
    rows = [json.loads(line) for line in shown.splitlines()]
    kept = [row for row in map(json.loads, everything.splitlines()) if row["score"] > threshold[row["class"]]]
    assert [{k: v for k, v in row.items() if k != "probability"} for row in rows] == kept
    assert len(kept) < len(everything.splitlines())
    for row in rows:
        score_map = calibration.maps[calibration.classes.index(row["class"])]
        assert row["probability"] == pytest.approx(score_map(np.array([row["score"]]))[0], abs=1e-3)
    # A least score takes the place of the thresholds, not of the probabilities.
    _, above, err = run("detect", "-j", "1", *images, "--min-score", "-0.5")
    assert "threshold" not in err
    assert len(above.splitlines()) > len(rows)
    assert all("probability" in json.loads(line) and json.loads(line)["score"] > -0.5 for line in above.splitlines())
    # From Python the same.
    detector = sppcli.Detector.load(".")
    found = [detector.detect(path) for path in images]
    assert [round(float(p), 4) for one in found for p in one.probabilities] == [row["probability"] for row in rows]  # type: ignore[union-attr]
    assert sppcli.Detector.load(".", calibration=False).detect(images[0]).probabilities is None
    # Other formats hold the probability too, and a file of detections the same ones.
    assert run("detect", "-j", "1", *images, "-o", "new.json", "-q")[0] == 0
    assert sorted(row["probability"] for row in json.loads(Path("new.json").read_text())) == sorted(
        row["probability"] for row in rows
    )
    assert run("detect", "-j", "1", *images, "-o", "new.h5", "-q")[0] == 0
    assert len(read_detections(Path("new.h5")).detections.scores) == len(rows)
    pictures = json.loads(run("show", "new.h5", "--json", "-q")[1])["pictures"]
    assert sum(picture["drawn"] for picture in pictures) == len(rows)


def test_without_calibration_a_line_names_the_command(work: Work, run: Run) -> None:
    code, out, err = run("detect", str(work.voc.image("000004")))
    assert code == 0
    assert "objects are what scores above 0; spp calibrate finds the best threshold of each class" in " ".join(
        err.split()
    )
    assert all("probability" not in json.loads(line) for line in out.splitlines())
    assert "spp calibrate" not in run("detect", str(work.voc.image("000004")), "--min-score", "0")[2]


def test_evaluation_at_the_thresholds(there: Voc, run: Run) -> None:
    plain = json.loads(run("evaluate", "--json", "-q")[1])
    at = plain.pop("at_threshold")
    found = read_detections(Path("detections.h5")).detections
    calibration = stored().calibration
    things = {name: there.things[name] for name in there.splits["test"]}
    truth = {
        name: Annotations(
            as_boxes([thing.box for thing in here]), tuple(thing.label for thing in here), np.zeros(len(here), np.bool_)
        )
        for name, here in things.items()
    }
    for name, one in matched(found, truth, calibration.classes).items():
        threshold = float(calibration.thresholds[calibration.classes.index(name)])
        by_hand = figures(one, threshold)
        assert at["classes"][name]["threshold"] == threshold
        assert at["classes"][name]["f1"] == by_hand.f1
        assert at["classes"][name]["shown"] == by_hand.shown < len(one.scores)
    assert at["all"]["shown"] == sum(one["shown"] for one in at["classes"].values())
    assert 0 <= at["calibration_error"] < 0.2
    # AP is that of all detections, with thresholds or without.
    Path("calibration.h5").rename("elsewhere.h5")
    assert json.loads(run("evaluate", "--json", "-q")[1]) == plain
    code, out, _ = run("evaluate", "--calibration", "elsewhere.h5")
    assert code == 0
    assert out.splitlines()[0].split() == [
        *("class", "AP", "threshold", "precision", "recall", "F1", "shown", "objects")
    ]
    assert "expected calibration error" in out
    assert max(map(len, out.splitlines())) <= 80
    # By COCO's and ILSVRC's rules AP is another, and what the thresholds give at IoU 0.5 the same.
    for protocol in ("coco", "ilsvrc"):
        arguments = ("evaluate", f"--{protocol}", "--calibration", "elsewhere.h5", "--log", "off")
        other = json.loads(run(*arguments, "--json", "-q")[1])
        assert other["at_threshold"] == at
        out = run(*arguments)[1]
        assert out.splitlines()[0].split()[2:6] == ["threshold", "precision", "recall", "F1"]
        assert f"{at['all']['f1']:.4f}" in next(line for line in out.splitlines() if line.startswith("mAP, all"))
        assert "precision, recall and F1: IoU 0.5, detections above their class's threshold" in out
        assert max(map(len, out.splitlines()[:-5])) <= 80
        assert "at_threshold" not in json.loads(run("evaluate", f"--{protocol}", "--json", "-q")[1])
    assert at["iou"] == 0.5
    assert run("evaluate", "--proposals", "--calibration", "elsewhere.h5")[0] == 2


def test_pictures_show_what_counts_as_an_object(there: Voc, run: Run) -> None:
    found = read_detections(Path("detections.h5")).detections
    count = int(stored().calibration.shown(found.scores, found.label).sum())
    drawn = json.loads(run("show", "--json", "-q")[1])["pictures"]
    assert sum(picture["drawn"] for picture in drawn) == count
    lower = json.loads(run("show", "--json", "-q", "--min-score", "-1")[1])["pictures"]
    assert sum(picture["drawn"] for picture in lower) == int((found.scores >= -1).sum()) > count


def test_a_calibration_of_other_models_is_refused(there: Voc, run: Run) -> None:
    image = str(there.image("000004"))
    assert run("train-svm", "--seed", "5", "-q")[0] == 0
    code, _, err = run("detect", image, "-q")
    assert code == 4
    assert "calibration.h5 was made for another svm.h5 than is used here; run spp calibrate again" in " ".join(
        err.split()
    )
    assert run("detect", image, "-q", "--no-calibration")[0] == 0
    # Evaluation needs none, and says that it leaves it out.
    code, out, err = run("evaluate", "-q")
    assert code == 0
    assert "threshold" not in out
    assert "thresholds are left out" in err
    assert run("evaluate", "-q", "--calibration", "calibration.h5")[0] == 4


def test_other_box_regression_makes_probabilities_less_sure(there: Voc, run: Run) -> None:
    code, _, err = run("detect", str(there.image("000004")), "--no-bbox", "-q")
    assert code == 0
    assert "calibration.h5 was made with other box regression than is used here" in " ".join(err.split())


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--split", "val"), 2, "svm.h5 was trained on split trainval, which has 4 of the 4 images of val"),
        (("--split", "test"), 2, "split test holds 4 images of the split test: thresholds chosen there"),
        (("--split", "vall"), 3, "vall"),
        (("--at", "f3"), 2, "'f3' says no aim; write f1, precision=0.95 or recall=0.9"),
        (("--folds", "13"), 3, "split trainval has 12 images, too few for 13 folds"),
        (("--svm", "gone.h5"), 3, "gone.h5: there is no such file; run spp train-svm first"),
        (("-o", "svm.h5"), 2, "svm.h5 is one of the files that are read"),
        (("--network", "net.safetensors"), 3, "not a detector that spp train-detector made"),
    ],
)
def test_what_cannot_be_calibrated(work: Work, run: Run, options: tuple[str, ...], code: int, text: str) -> None:
    found, _, err = run("calibrate", *options, "-q")
    assert found == code
    assert text in " ".join(err.split())
    assert not Path("calibration.h5").exists()


def test_annotations_that_have_changed(work: Work, run: Run) -> None:
    path = Path("shapes/Annotations/000001.xml")
    path.write_text(path.read_text().replace("<xmin>", "<xmin>0"))
    assert run("calibrate", "-q", "--dataset", "shapes")[0] == 0  # the same numbers
    path.write_text(path.read_text().replace("disc", "square"))
    code, _, err = run("calibrate", "-q", "--dataset", "shapes", "--force")
    assert code == 4
    assert "svm.h5 was trained on other images or annotations of split trainval" in " ".join(err.split())


def test_a_split_that_the_training_left_out(work: Work, run: Run) -> None:
    assert run("train-svm", "--split", "train", "-q")[0] == 0
    code, out, err = run("calibrate", "--split", "val", "--no-bbox", "--json", "-q")
    assert code == 0, err
    summary = json.loads(out)
    assert (summary["images"], summary["folds"], summary["split"]) == (4, 0, "val")
    # What it was made from is what detection finds there.
    assert run("detect", "--split", "val", "--no-bbox", "-q")[0] == 0
    found = read_detections(Path("detections.h5")).detections
    held = stored().held_out
    assert len(held.scores) == len(found.scores)
    np.testing.assert_array_equal(np.sort(held.scores), np.sort(found.scores))
    assert read_svm(Path("svm.h5")).header.fingerprint == stored().header.inputs["svm"]


def test_folds_are_even_and_share_rare_classes() -> None:
    labels = [["often"]] * 20 + [["often", "rare"], ["rare"], []]
    fold = folds_of(labels, 2, 0)
    assert sorted(np.bincount(fold)) == [11, 12]
    assert fold[20] != fold[21]
    assert (folds_of(labels, 2, 0) == fold).all()
    assert (folds_of(labels, 2, 1) != fold).any()
