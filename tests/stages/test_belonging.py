"""Artefacts that do not belong together, and ground truth that is wanting: refused or warned of by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.stages.conftest import SCALES, Run, Work, write_network


def test_features_of_other_proposals_are_refused(work: Work, run: Run) -> None:
    assert run("propose", "shapes", "--max-proposals", "50", "-q")[0] == 0
    for command in ("train-svm", "train-bbox", "detect"):
        code, _, err = run(command, "--force")
        assert code == 4, command
        assert "features.h5" in err
        assert "proposals.h5" in err
        assert "spp extract" in err


def test_maps_are_taken_over_when_only_the_windows_have_changed(work: Work, run: Run) -> None:
    assert run("propose", "shapes", "--max-proposals", "50", "-q")[0] == 0
    code, out, _ = run("extract", "--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32", "--json")
    assert code == 0
    assert json.loads(out)["extracted"] == 0
    assert run("train-svm", "-q")[0] == 0


def test_models_of_another_network_are_refused(work: Work, run: Run) -> None:
    write_network(Path("other.safetensors"), seed=5)
    assert run("extract", "--weights", "other.safetensors", "--scales", SCALES, "--precision", "fp32", "-q")[0] == 0
    code, _, err = run("detect")
    assert code == 4
    assert "svm.h5" in err
    assert "spp train-svm" in err


def test_a_file_of_another_kind_is_refused(work: Work, run: Run) -> None:
    code, _, err = run("train-svm", "--features", "proposals.h5")
    assert code == 3
    assert "holds proposals" in err


def test_a_missing_stage_is_named(work: Work, run: Run) -> None:
    Path("features.h5").unlink()
    code, _, err = run("train-svm")
    assert code == 3
    assert "run spp extract first" in err


# Ground truth


def test_an_object_without_extent_is_skipped_with_a_warning(work: Work, run: Run) -> None:
    path = Path("shapes/Annotations/000001.xml")
    text = path.read_text()
    start, end = text.index("<xmax>"), text.index("</xmax>")
    left = text[text.index("<xmin>") + 6 : text.index("</xmin>")]
    path.write_text(text[:start] + f"<xmax>{left}" + text[end:])
    code, _, err = run("train-svm", "--dataset", "shapes")
    assert code == 0
    assert "000001.xml" in err


def test_a_class_without_an_example_is_warned_of_and_refused_when_asked_for(work: Work, run: Run) -> None:
    # The only comet lies in a test image.
    path = Path(f"shapes/Annotations/{work.voc.splits['test'][0]}.xml")
    path.write_text(path.read_text().replace(">disc<", ">comet<", 1).replace(">square<", ">comet<", 1))
    code, _, err = run("train-svm", "--dataset", "shapes")
    assert code == 0
    assert "comet" in err
    code, _, err = run("train-svm", "--dataset", "shapes", "--classes", "comet")
    assert code == 3
    assert "comet" in err
    assert "trainval" in err
    code, _, err = run("train-svm", "--dataset", "shapes", "--classes", "commet")
    assert code == 3
    code, out, _ = run("evaluate", "shapes", "--json")
    assert code == 0
    assert json.loads(out)["ap"]["comet"] == 0.0  # an object is there, and nothing was trained to find it


def test_a_class_without_ground_truth_in_the_split_is_null_and_left_out_of_the_mean(work: Work, run: Run) -> None:
    for name in work.voc.splits["test"]:
        path = Path(f"shapes/Annotations/{name}.xml")
        path.write_text(path.read_text().replace(">disc<", ">square<"))
    code, out, _ = run("evaluate", "shapes", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["ap"]["disc"] is None
    assert result["mAP"] == pytest.approx((result["ap"]["square"] + result["ap"]["triangle"]) / 2)


def test_an_annotation_for_a_missing_image_is_warned_of(work: Work, run: Run) -> None:
    Path("shapes/JPEGImages/000001.jpg").unlink()
    code, _, err = run("propose", "shapes", "-o", "p.h5")
    assert code == 0
    assert "000001" in err


def test_unknown_splits_and_folders(work: Work, run: Run) -> None:
    code, _, err = run("train-svm", "--split", "trainvall")
    assert code == 3
    assert "trainval" in err
    code, _, err = run("propose", "shapess")
    assert code == 3
    assert "shapess" in err
    code, _, err = run("propose", "shapes", "--max-propsals", "3")
    assert code == 2
    assert "--max-proposals" in err


def test_a_folder_without_annotations_cannot_be_trained_on(work: Work, run: Run) -> None:
    shutil.copytree("shapes/JPEGImages", "plain")
    assert run("propose", "plain", "-q")[0] == 0
    assert run("extract", "--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32", "-q")[0] == 0
    code, _, err = run("train-svm", "--split", "all")
    assert code == 3
    assert "annotations" in err


def test_a_data_set_that_moved_is_found_with_an_option(work: Work, run: Run) -> None:
    assert run("propose", "shapes", "-q", "--force")[0] == 0
    Path("shapes").rename("moved")
    code, _, err = run("train-svm", "--force")
    assert code == 3
    assert "--dataset" in err
    assert run("train-svm", "--force", "--dataset", "moved", "-q")[0] == 0
    # Found again under its new place, nothing is searched or extracted twice.
    code, out, _ = run("propose", "moved", "--json")
    assert code == 0
    assert json.loads(out)["found"] == 0
    assert "up to date" in run("extract", "--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32")[1]
    assert run("train-svm", "--force", "-q")[0] == 0
