"""The stages through the command line: what they make, when they refuse, and that nothing is done twice or lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sppcli.artefacts.detections import read_detections
from sppcli.artefacts.features import open_features
from sppcli.artefacts.models import read_svm
from sppcli.artefacts.proposals import Proposals, read_proposals
from sppcli.features import conv_maps as maps
from sppcli.structures import FloatArray
from tests.stages.conftest import SCALES, Run, Work, write_network


def same_windows(a: Proposals, b: Proposals) -> bool:
    by_digest = {digest: a.of(i) for i, digest in enumerate(a.images.digests)}
    return set(by_digest) == set(b.images.digests) and all(
        np.array_equal(by_digest[digest], b.of(i)) for i, digest in enumerate(b.images.digests)
    )


# The main job


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


# propose


def test_windows_do_not_depend_on_processes_order_or_earlier_images(work: Work, run: Run) -> None:
    images = sorted(str(path) for path in Path("shapes/JPEGImages").glob("*.jpg"))[:6]
    assert run("propose", *images, "-j", "1", "--max-proposals", "20", "-q", "-o", "one.h5")[0] == 0
    assert run("propose", *images[::-1], "-j", "2", "--max-proposals", "20", "-q", "-o", "two.h5")[0] == 0
    assert run("propose", images[3], "--max-proposals", "20", "-q", "-o", "alone.h5")[0] == 0
    one, two, alone = (read_proposals(Path(name)) for name in ("one.h5", "two.h5", "alone.h5"))
    assert one.images.ids == two.images.ids
    assert np.array_equal(one.boxes, two.boxes)
    index = one.images.digests.index(alone.images.digests[0])
    assert np.array_equal(one.of(index), alone.boxes)
    assert len(alone.boxes) == 20


def test_another_seed_draws_other_windows_of_the_same_set(work: Work, run: Run) -> None:
    image = "shapes/JPEGImages/000001.jpg"
    for name, options in (
        ("all", ()),
        ("a", ("--max-proposals", "15")),
        ("b", ("--max-proposals", "15", "--seed", "1")),
    ):
        assert run("propose", image, *options, "-q", "-o", f"{name}.h5")[0] == 0
    everything, a, b = ({tuple(x) for x in read_proposals(Path(f"{n}.h5")).boxes.tolist()} for n in ("all", "a", "b"))
    assert a != b
    assert a < everything
    assert b < everything


def test_paths_on_standard_input(work: Work, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("shapes/JPEGImages/000001.jpg\n\nshapes/JPEGImages/000002.jpg\n"))
    assert run("propose", "-", "-q", "-o", "listed.h5")[0] == 0
    assert read_proposals(Path("listed.h5")).images.ids == ("000001", "000002")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    code, _, err = run("propose", "-", "-o", "none.h5")
    assert code == 3
    assert "standard input" in err


def test_large_images_are_searched_small_and_boxes_mapped_back(work: Work, run: Run) -> None:
    small = Image.open("shapes/JPEGImages/000001.jpg")
    small.resize((small.width * 5, small.height * 5), Image.Resampling.NEAREST).save("large.png")
    assert run("propose", "large.png", "--max-side", "128", "-q", "-o", "large.h5")[0] == 0
    found = read_proposals(Path("large.h5"))
    assert found.images.sizes.tolist() == [[480, 640]]
    assert found.boxes.max() > 400
    assert (found.boxes[:, 2] <= 640).all()
    assert (found.boxes[:, 3] <= 480).all()
    assert np.array_equal(found.boxes % 5, np.zeros_like(found.boxes))


@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA", "P", "CMYK", "1"])
def test_images_of_every_mode_are_searched(work: Work, run: Run, mode: str) -> None:
    picture = Image.open("shapes/JPEGImages/000001.jpg")
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    name = "odd.tif" if mode == "CMYK" else "odd.png"
    picture.save(name)
    code, _, err = run("propose", name, "-q", "-o", "odd.h5")
    assert code == 0, err
    assert len(read_proposals(Path("odd.h5")).boxes) >= 1


@pytest.mark.parametrize("size", [(1, 50), (50, 1), (1, 1), (2, 2)])
def test_images_one_pixel_across(work: Work, run: Run, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (10, 200, 30)).save("thin.png")
    assert run("propose", "thin.png", "-q", "-o", "thin.h5")[0] == 0
    assert (
        run("extract", "--proposals", "thin.h5", "--weights", "net.safetensors", "--scales", "24", "-o", "f.h5")[0] == 0
    )
    with open_features(Path("f.h5")) as features:
        assert features.maps(0).read(0).shape[2] == 24


def test_a_truncated_image_among_good_ones_is_named_skipped_and_listed(work: Work, run: Run) -> None:
    bad = Path("shapes/JPEGImages/000002.jpg")
    bad.write_bytes(bad.read_bytes()[:900])
    code, out, err = run("propose", "shapes", "-o", "p.h5")
    assert code == 0
    assert "000002.jpg" in err
    assert "truncated" in err
    assert "1 skipped" in out
    stored = read_proposals(Path("p.h5"))
    assert "000002" not in stored.images.ids
    assert [item.name for item in stored.images.skipped] == ["JPEGImages/000002.jpg"]
    code, _, err = run("propose", "shapes", "--strict", "-o", "q.h5")
    assert code == 3
    assert not Path("q.h5").exists()


def test_nothing_but_bad_images_is_an_error(work: Work, run: Run) -> None:
    Path("bad.jpg").write_text("no image")
    code, _, err = run("propose", "bad.jpg", "-o", "p.h5")
    assert code == 3
    assert "bad.jpg" in err


def test_adding_an_image_searches_only_that_one(work: Work, run: Run) -> None:
    # The folder's copy holds the same images as the data set that proposals.h5 names, under other paths.
    assert run("propose", "shapes", "-q")[0] == 0
    shutil.copy("shapes/JPEGImages/000001.jpg", "shapes/JPEGImages/extra.png")
    Image.open("shapes/JPEGImages/000001.jpg").rotate(180).save("shapes/JPEGImages/extra.png")
    with Path("shapes/ImageSets/Main/test.txt").open("a") as file:
        file.write("extra\n")
    code, out, _ = run("propose", "shapes", "--dry-run")
    assert code == 0
    assert "would search 1 of 17" in out
    code, out, _ = run("propose", "shapes", "--json")
    assert json.loads(out)["found"] == 1
    code, out, _ = run("extract", "--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32", "--json")
    assert code == 0
    assert json.loads(out)["extracted"] == 1


def test_a_killed_search_goes_on_from_its_parts_and_ends_the_same(work: Work, run: Run) -> None:
    command = [sys.executable, "-m", "sppcli", "propose", "shapes", "-j", "1", "-o", "killed.h5", "--mode", "quality"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parts = Path("killed.h5.parts")
    deadline = time.monotonic() + 60
    while len(list(parts.glob("*.h5"))) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(parts.glob("*.h5")))
    assert not Path("killed.h5").exists()
    assert 2 <= done < 16
    code, out, _ = run("propose", "shapes", "-j", "1", "-o", "killed.h5", "--mode", "quality", "--json")
    assert code == 0
    assert json.loads(out)["found"] == 16 - done
    assert not parts.exists()
    assert run("propose", "shapes", "-j", "1", "-o", "whole.h5", "--mode", "quality", "-q")[0] == 0
    assert Path("killed.h5").read_bytes() == Path("whole.h5").read_bytes()


# extract


def test_an_interrupted_extraction_goes_on_and_ends_the_same(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = maps.Extractor.batch
    calls = {"count": 0}

    def stopping(self: maps.Extractor, *arguments: Any) -> list[FloatArray]:
        calls["count"] += 1
        if calls["count"] == 5:
            raise KeyboardInterrupt
        return plain(self, *arguments)

    options = ("--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32", "-o", "again.h5")
    monkeypatch.setattr(maps.Extractor, "batch", stopping)
    assert run("extract", *options)[0] == 130
    assert not Path("again.h5").exists()
    monkeypatch.setattr(maps.Extractor, "batch", plain)
    code, out, _ = run("extract", *options, "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary["extracted"] < 16
    assert summary["kept"] >= 3
    assert run("extract", *options[:-1], "whole.h5", "-q")[0] == 0
    assert Path("again.h5").read_bytes() == Path("whole.h5").read_bytes()


def test_maps_are_those_of_the_network_on_the_resized_image(work: Work) -> None:
    import torch

    from sppcli.images import read_image, resize, size_at
    from sppcli.nets.weights import read_classifier

    model = read_classifier(Path("net.safetensors"))
    with open_features(Path("features.h5")) as features:
        image = read_image(features.images.absolute(features.root, 2))
        height, width = size_at(*image.shape[:2], 160)
        pixels = resize(image, height, width).astype(np.float32) / 255
        tensor = torch.from_numpy((pixels - 0.5) / 0.25).permute(2, 0, 1)[None]
        with torch.inference_mode():
            expected = model.trunk(tensor)[0].permute(1, 2, 0).numpy()
        stored = features.maps(2).read(1)
    assert stored.shape == expected.shape
    assert np.abs(stored - expected).max() <= 2e-3 * max(1, np.abs(expected).max())  # float16 keeps 11 bits


def test_an_image_that_changed_since_propose_is_skipped_by_name(work: Work, run: Run) -> None:
    assert run("propose", "shapes", "-q")[0] == 0
    Image.open("shapes/JPEGImages/000003.jpg").rotate(180).save("shapes/JPEGImages/000003.jpg")
    code, out, err = run("extract", "--weights", "net.safetensors", "--scales", "96", "-o", "f.h5")
    assert code == 0
    assert "000003.jpg has changed" in err
    assert "1 skipped" in out


def test_without_weights_one_sentence_says_how_to_get_them(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import urllib.error
    import urllib.request

    def offline(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setenv("TORCH_HOME", str(work.folder / "torch-home"))
    code, _, err = run("extract", "--force")
    assert code == 3
    assert "alexnet" in err
    assert "--weights FILE" in err
    assert len(err.strip().splitlines()[-1:]) == 1


# What does not belong together


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


# Detections


def test_new_images_get_what_the_same_images_in_a_data_set_get(work: Work, run: Run) -> None:
    image = work.voc.splits["test"][0]
    code, out, err = run("detect", f"shapes/JPEGImages/{image}.jpg", "--min-score", "-1.5", "--format", "jsonl")
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert run("detect", "--format", "jsonl", "-o", "all.jsonl")[0] == 0
    known = [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()]
    known = [{**line, "path": f"{image}.jpg"} for line in known if line["image"] == image]
    assert lines == known
    assert lines
    scores = [line["score"] for line in lines]
    assert scores == sorted(scores, reverse=True)


def test_a_bad_new_image_is_skipped_and_strict_stops(work: Work, run: Run) -> None:
    Path("bad.jpg").write_bytes(b"\xff\xd8 no image")
    code, out, err = run("detect", "shapes/JPEGImages/000004.jpg", "bad.jpg")
    assert code == 0
    assert "bad.jpg" in err
    assert all(json.loads(line)["image"] != "bad" for line in out.splitlines())
    assert run("detect", "bad.jpg", "shapes/JPEGImages/000004.jpg", "--strict")[0] == 3


def test_voc_results_written_and_evaluated_give_the_same_ap(work: Work, run: Run) -> None:
    assert run("detect", "--format", "voc", "-o", "results")[0] == 0
    assert sorted(path.name for path in Path("results").iterdir()) == [
        f"comp4_det_test_{name}.txt" for name in ("disc", "square", "triangle")
    ]
    own = json.loads(run("evaluate", "--json")[1])
    theirs = json.loads(run("evaluate", "shapes", "--results", "results", "--split", "test", "--json")[1])
    assert theirs["mAP"] == pytest.approx(own["mAP"], abs=1e-3)


def test_coco_results_hold_every_detection(work: Work, run: Run) -> None:
    assert run("detect", "-q")[0] == 0
    code, out, _ = run("detect", "--format", "coco", "-o", "-")
    assert code == 0
    records = json.loads(out)
    found = read_detections(Path("detections.h5")).detections
    assert len(records) == len(found.scores)
    assert all(record["bbox"][2] > 0 and record["bbox"][3] > 0 for record in records)
    assert {record["category_id"] for record in records} <= {1, 2, 3}


def test_at_most_so_many_of_a_class_in_an_image(work: Work, run: Run) -> None:
    assert run("detect", "--max-per-image", "2", "-q")[0] == 0
    found = read_detections(Path("detections.h5")).detections
    counts = np.zeros((len(found.image_ids), 3), int)
    np.add.at(counts, (found.image, found.label), 1)
    assert counts.max() == 2


def test_an_unknown_format_by_name_asks_for_one(work: Work, run: Run) -> None:
    code, _, err = run("detect", "-o", "found.txt")
    assert code == 2
    assert "--format" in err


def test_results_without_data_set_is_a_usage_error(work: Work, run: Run) -> None:
    assert run("evaluate", "--results", "somewhere")[0] == 2


@pytest.mark.parametrize(
    ("options", "column"),
    [
        (("--recall-points", "matlab"), "ap11_matlab_grid"),
        (("--recall-points", "octave"), "ap11_octave"),
        (("--voc2010",), "auc_octave"),
        ((), "ap11_matlab_grid"),
    ],
)
def test_result_files_are_scored_as_the_devkit_scores_them(
    tmp_path: Path, run: Run, options: tuple[str, ...], column: str
) -> None:
    """Against annotations alone, as the devkit does: the golden files have no images."""
    golden = Path(__file__).parents[1] / "golden"
    shutil.unpack_archive(golden / "voc_synthetic_files.zip", tmp_path)
    code, out, err = run("evaluate", str(tmp_path), "--results", str(tmp_path / "results"), "--json", *options)
    assert code == 0, err
    ap = json.loads(out)["ap"]
    with np.load(golden / "voc_synthetic.npz") as case:
        expected = dict(zip(case["class_names"].tolist(), case[column].tolist(), strict=True))
        npos = dict(zip(case["class_names"].tolist(), case["npos"].tolist(), strict=True))
    assert set(ap) == set(expected)
    for name, value in expected.items():
        if npos[name] == 0:
            assert ap[name] is None  # no object, no AP; the devkit says 0 or not-a-number
        elif not options and name == "cc":
            assert ap[name] == pytest.approx(0.637891, abs=1e-6)  # 12 of 40 reach 3/10, which MATLAB's grid misses
        else:
            assert ap[name] == pytest.approx(value, abs=1e-9)
