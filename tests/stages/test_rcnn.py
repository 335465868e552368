"""R-CNN through the command line: the same stages over features of windows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.features import open_features
from sppcli.artefacts.models import read_svm
from sppcli.artefacts.proposals import read_proposals, write_proposals
from sppcli.features import rcnn as crops_module
from sppcli.features.rcnn import RcnnReader, warped
from sppcli.images import read_image
from sppcli.nets.weights import read_classifier
from tests.stages.conftest import Run, Work

EXTRACT = ("extract", "--method", "rcnn", "--weights", "net.safetensors", "--precision", "fp32", "--context", "6")


@pytest.fixture(scope="module")
def made(trained: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything up to bbox.h5, with R-CNN, from few windows an image."""
    from sppcli.cli.main import main

    folder = tmp_path_factory.mktemp("rcnn")
    shutil.copytree(trained.folder / "shapes", folder / "shapes")
    shutil.copy(trained.folder / "net.safetensors", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["propose", "shapes", "-q", "-j", "1"]) == 0
        assert main([*EXTRACT, "-q"]) == 0
        assert main(["train-svm", "-q"]) == 0
        assert main(["train-bbox", "-q"]) == 0
    return folder


@pytest.fixture
def rcnn(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "rcnn"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


def test_five_commands_make_a_detector_that_works(rcnn: Path, run: Run) -> None:
    assert run("detect", "-q")[0] == 0
    code, out, err = run("evaluate", "--json")
    assert code == 0, err
    assert json.loads(out)["mAP"] > 0.6
    record = read_svm(Path("svm.h5")).record
    assert record.layer == "fc6"
    assert record.rcnn is not None
    assert (record.rcnn.side, record.rcnn.context) == (48, 6)
    assert read_svm(Path("svm.h5")).weights.shape == (3, 32)
    proposals = read_proposals(Path("proposals.h5"))
    windows = {tuple(box) for box in proposals.boxes.tolist()}
    found = read_detections(Path("detections.h5")).detections
    assert not all(tuple(box) in windows for box in found.boxes.tolist())  # corrected
    code, out, _ = run("info", "features.h5")
    assert code == 0
    assert "fc6" in out
    with open_features(Path("features.h5")) as features:
        count = sum(len(features.boxes(i)) for i in range(16))
    assert count > len(proposals.boxes)
    assert str(count) in out


def test_what_is_stored_is_the_networks_output_on_the_cut(rcnn: Path, trained: Work) -> None:
    model = read_classifier(Path("net.safetensors"))
    proposals = read_proposals(Path("proposals.h5"))
    with open_features(Path("features.h5")) as features:
        image = read_image(features.images.absolute(features.root, 3))
        boxes, objects = features.boxes(3), trained.voc.things[features.images.ids[3]]
        assert boxes[: len(objects)].tolist() == [list(map(float, thing.box)) for thing in objects]
        np.testing.assert_array_equal(boxes[len(objects) :], proposals.of(3))
        chosen = boxes[[0, 1, 9, -1]]
        stored = features.vectors(3).of(chosen)
    cuts = np.stack([warped(image, box, 48, 6, model.architecture.normalisation) for box in chosen.tolist()])
    with torch.inference_mode():
        pooled = model.pool(model.trunk(torch.from_numpy(cuts).permute(0, 3, 1, 2)))
        expected = torch.relu(model.fc["fc6"](pooled)).numpy()
    np.testing.assert_allclose(stored, expected, rtol=2e-3, atol=2e-3)


def test_pool5_is_stored_on_request(rcnn: Path, run: Run) -> None:
    assert run(*EXTRACT, "--layer", "pool5", "--side", "40", "-q")[0] == 0
    code, out, _ = run("train-svm")
    assert code == 0
    assert "pool5" in out
    model = read_svm(Path("svm.h5"))
    assert model.weights.shape == (3, 21 * 24)
    code, _, err = run("detect")  # bbox.h5 is of fc6
    assert code == 4
    assert "bbox.h5" in err
    assert "spp train-bbox" in err
    code, out, _ = run("detect", "--no-bbox")
    assert code == 0


def test_new_images_get_what_the_same_images_of_the_data_set_get(rcnn: Path, run: Run, trained: Work) -> None:
    image = trained.voc.splits["test"][0]
    options = ("--min-score", "-1.5", "--format", "jsonl")
    code, out, err = run("detect", f"shapes/JPEGImages/{image}.jpg", *options)
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert run("detect", *options, "-o", "all.jsonl")[0] == 0
    known = [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()]
    known = [line for line in known if line["image"] == image]
    # A window's features depend by a rounding on the others of its batch, and objects are not among these.
    assert len(lines) == len(known) > 0
    for one, other in zip(lines, known, strict=True):
        assert one["class"] == other["class"]
        assert one["score"] == pytest.approx(other["score"], abs=0.02)


def test_spp_and_rcnn_detect_together(rcnn: Path, run: Run, trained: Work) -> None:
    """Both methods as two models over the same proposals."""
    Path("spp").mkdir()
    options = ("--weights", "net.safetensors", "--scales", "96,160", "--precision", "fp32")
    assert run("extract", *options, "-q", "-o", "spp/features.h5")[0] == 0
    assert run("train-svm", "--features", "spp/features.h5", "-q", "-o", "spp/svm.h5")[0] == 0
    assert run("detect", "--model", ".", "--model", "spp", "-q")[0] == 0
    image = trained.voc.splits["test"][0]
    assert run("detect", "--model", ".", "--model", "spp", f"shapes/JPEGImages/{image}.jpg")[0] == 0
    assert json.loads(run("evaluate", "--json")[1])["mAP"] > 0.6


def test_nothing_is_done_twice_and_changed_annotations_redo_their_image(rcnn: Path, run: Run) -> None:
    code, out, _ = run(*EXTRACT)
    assert code == 0
    assert "up to date" in out
    path = Path("shapes/Annotations/000001.xml")
    assert run("propose", "shapes", "-q", "--force")[0] == 0  # from here on of the copy
    assert run(*EXTRACT, "-q")[0] == 0
    text = path.read_text()
    start, end = text.index("<xmax>"), text.index("</xmax>")
    path.write_text(text[: start + 6] + str(int(text[start + 6 : end]) - 2) + text[end:])
    code, _, err = run("train-svm")
    assert code == 4
    assert "features.h5" in err
    assert "000001" in err
    assert "spp extract --method rcnn" in err
    code, out, _ = run(*EXTRACT, "--dry-run")
    assert "would extract 1 of 16" in out
    code, out, _ = run(*EXTRACT, "--json")
    assert json.loads(out)["extracted"] == 1
    assert run("train-svm", "-q")[0] == 0


def test_an_interrupted_extraction_goes_on_and_ends_the_same(
    rcnn: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = RcnnReader.__call__
    calls = {"count": 0}

    def stopping(self: RcnnReader, *arguments: object) -> object:
        calls["count"] += 1
        if calls["count"] == 6:
            raise KeyboardInterrupt
        return plain(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(crops_module.RcnnReader, "__call__", stopping)
    assert run(*EXTRACT, "-o", "again.h5")[0] == 130
    monkeypatch.setattr(crops_module.RcnnReader, "__call__", plain)
    code, out, _ = run(*EXTRACT, "-o", "again.h5", "--json")
    assert code == 0
    assert 0 < json.loads(out)["extracted"] < 16
    assert run(*EXTRACT, "-o", "whole.h5", "-q")[0] == 0
    assert Path("again.h5").read_bytes() == Path("whole.h5").read_bytes()


def test_images_without_annotations_have_features_of_their_windows(rcnn: Path, run: Run) -> None:
    Path("plain").mkdir()
    Image.open("shapes/JPEGImages/000001.jpg").save("plain/one.png")
    assert run("propose", "plain", "-q", "-o", "p.h5")[0] == 0
    assert run(*EXTRACT, "--proposals", "p.h5", "-q", "-o", "f.h5")[0] == 0
    with open_features(Path("f.h5")) as features:
        np.testing.assert_array_equal(features.boxes(0), read_proposals(Path("p.h5")).of(0))
    assert run("detect", "--proposals", "p.h5", "--features", "f.h5", "--split", "all", "-q")[0] == 0


def test_what_has_no_meaning_is_refused(rcnn: Path, run: Run) -> None:
    assert run(*EXTRACT, "--scales", "96")[0] == 2
    assert run("extract", "--weights", "net.safetensors", "--layer", "fc6")[0] == 2
    assert run(*EXTRACT, "--side", "12")[0] == 2
    code, _, err = run(*EXTRACT, "--layer", "fc7")
    assert code == 2
    assert "fc6" in err
    for options in (("--layer", "pool5"), ("--pyramid", "3,1"), ("--weights", "net.safetensors")):
        code, _, err = run("train-svm", *options)
        assert code == 2, options
        assert "features.h5 holds fc6" in err
    assert run("train-svm", "--layer", "fc6", "-q")[0] == 0


def test_models_of_maps_and_of_windows_do_not_mix(rcnn: Path, run: Run, trained: Work) -> None:
    code, _, err = run("detect", "--svm", str(trained.folder / "svm.h5"), "--no-bbox")
    assert code == 4
    assert "conv maps" in err
    image = "shapes/JPEGImages/000004.jpg"
    code, _, err = run("detect", "--bbox", str(trained.folder / "bbox.h5"), image)
    assert code == 4
    assert "spp train-bbox" in err


@pytest.mark.parametrize("method", ["spp", "rcnn"])
def test_an_image_without_windows_has_no_detections(rcnn: Path, run: Run, trained: Work, method: str) -> None:
    Path("plain").mkdir()
    Image.open("shapes/JPEGImages/000001.jpg").save("plain/one.png")
    assert run("propose", "plain", "-q", "-o", "p.h5")[0] == 0
    some = read_proposals(Path("p.h5"))
    write_proposals(Path("p.h5"), some.header, some.images, [(some.boxes[:0], some.scores[:0])])
    options = EXTRACT if method == "rcnn" else ("extract", *EXTRACT[3:7], "--scales", "96,160")
    assert run(*options, "--proposals", "p.h5", "-q", "-o", "f.h5")[0] == 0
    models = Path() if method == "rcnn" else trained.folder
    paths = ("--features", "f.h5", "--svm", str(models / "svm.h5"), "--bbox", str(models / "bbox.h5"))
    code, _, err = run("detect", "--proposals", "p.h5", *paths, "--split", "all", "-q")
    assert code == 0, err
    assert len(read_detections(Path("detections.h5")).detections.scores) == 0
