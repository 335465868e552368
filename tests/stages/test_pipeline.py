"""The stages through the command line: what they make, when they refuse, and that nothing is done twice or lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.models import read_svm
from sppcli.artefacts.proposals import Proposals, read_proposals
from tests.stages.conftest import SCALES, Run, Work


def same_windows(a: Proposals, b: Proposals) -> bool:
    by_digest = {digest: a.of(i) for i, digest in enumerate(a.images.digests)}
    return set(by_digest) == set(b.images.digests) and all(
        np.array_equal(by_digest[digest], b.of(i)) for i, digest in enumerate(b.images.digests)
    )


def test_five_commands_make_a_detector_that_works(work: Work, run: Run) -> None:
    code, out, err = run("evaluate", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["protocol"] == "voc2007"
    assert set(result["ap"]) == {"disc", "square", "triangle"}
    assert result["mAP"] == pytest.approx(np.mean(list(result["ap"].values())))
    assert result["mAP"] > 0.6  # three colours on grey: a working chain finds most of them
    assert Path("detections.h5").exists()  # it detected first


def test_evaluate_prints_a_table_with_every_class_and_the_mean(work: Work, run: Run) -> None:
    code, out, _ = run("evaluate", "--voc2010")
    assert code == 0
    for word in ("disc", "square", "triangle", "mAP", "voc2010"):
        assert word in out


def test_evaluate_detects_again_when_the_svms_have_changed(work: Work, run: Run) -> None:
    assert run("evaluate", "-q")[0] == 0
    before = read_detections(Path("detections.h5")).header.inputs
    assert run("train-svm", "--c", "0.03", "-q")[0] == 0
    assert run("evaluate", "-q")[0] == 0
    after = read_detections(Path("detections.h5")).header.inputs
    assert before["svm"] != after["svm"] == read_svm(Path("svm.h5")).header.fingerprint


def test_evaluate_keeps_the_options_of_detections_that_are_there(work: Work, run: Run) -> None:
    assert run("detect", "--nms", "0.6", "--max-per-image", "7", "-q")[0] == 0
    assert run("train-svm", "--c", "0.03", "-q")[0] == 0
    assert run("evaluate", "-q")[0] == 0
    settings = read_detections(Path("detections.h5")).header.config["settings"]
    assert (settings["nms"], settings["max_per_image"]) == (0.6, 7)


@pytest.mark.parametrize(
    ("command", "output"),
    [
        (("propose", "shapes"), "proposals.h5"),
        (("extract", "--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32"), "features.h5"),
        (("train-svm",), "svm.h5"),
        (("train-bbox",), "bbox.h5"),
    ],
)
def test_a_stage_whose_output_is_there_does_nothing_and_force_redoes(
    trained: Work, monkeypatch: pytest.MonkeyPatch, run: Run, command: tuple[str, ...], output: str
) -> None:
    monkeypatch.chdir(trained.folder)
    path = Path(output)
    before = (path.stat().st_ino, path.read_bytes())
    code, out, err = run(*command)
    assert code == 0, err
    assert "up to date" in out
    assert (path.stat().st_ino, path.read_bytes()) == before
    assert run(*command, "--force")[0] == 0
    assert path.stat().st_ino != before[0]
    assert path.read_bytes() == before[1]  # the same inputs, options and seed give the same file


def test_an_up_to_date_output_older_than_its_input_is_touched_for_make(work: Work, run: Run) -> None:
    os.utime("svm.h5", (1, 1))
    assert run("train-svm", "-q")[0] == 0
    assert Path("svm.h5").stat().st_mtime >= Path("features.h5").stat().st_mtime


def test_box_regression_is_used_when_it_is_there_and_left_out_on_request(work: Work, run: Run) -> None:
    assert run("detect", "-q", "-o", "with.h5")[0] == 0
    assert run("detect", "-q", "--no-bbox", "-o", "without.h5")[0] == 0
    corrected, plain = (read_detections(Path(name)).detections for name in ("with.h5", "without.h5"))
    proposals = read_proposals(Path("proposals.h5"))
    windows = {tuple(box) for box in proposals.boxes.tolist()}
    assert len(plain.boxes) > 10
    assert all(tuple(box) in windows for box in plain.boxes.tolist())
    assert not all(tuple(box) in windows for box in corrected.boxes.tolist())


def test_a_missing_bbox_file_that_was_asked_for_is_an_error(work: Work, run: Run) -> None:
    code, _, err = run("detect", "--bbox", "gone.h5")
    assert code == 3
    assert "gone.h5" in err
    assert "spp train-bbox" in err


def test_fc6_serves_with_the_pyramid_it_reads(work: Work, run: Run) -> None:
    assert run("train-svm", "--layer", "fc6", "-q")[0] == 0
    assert run("train-bbox", "--layer", "fc6", "-q")[0] == 0
    model = read_svm(Path("svm.h5"))
    assert model.weights.shape == (3, 32)
    code, out, _ = run("evaluate", "--json")
    assert code == 0
    assert json.loads(out)["mAP"] > 0.4
    assert run("train-svm", "--layer", "fc6", "--pyramid", "6,3")[0] == 2
    code, _, err = run("train-svm", "--layer", "fc7")
    assert code == 2
    assert "fc6" in err


@pytest.mark.parametrize("normalize", ["none", "l2", "sqrt-l2"])
def test_normalisation_is_recorded_and_brings_the_mean_length_to_twenty(work: Work, run: Run, normalize: str) -> None:
    assert run("train-svm", "--normalize", normalize, "-q", "-o", "other.h5")[0] == 0
    record = read_svm(Path("other.h5")).record
    assert record.normalize == normalize
    assert (record.factor == 20) == (normalize != "none")
