"""``spp detect --model A --model B``: suppression over the union of both networks' scored windows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sppcli.artefacts.detections import DetectionsFile, read_detections
from sppcli.artefacts.models import read_svm
from sppcli.artefacts.proposals import read_proposals
from sppcli.detection.networks import window_reader
from sppcli.detection.split import open_split
from sppcli.features.normalise import Normaliser
from sppcli.images import Normalisation
from sppcli.nets.classifier import Architecture, Layer, SppClassifier
from sppcli.nets.weights import save_network
from tests.conftest import SHAPES
from tests.stages.conftest import Run, Work
from tests.ties import assert_suppressed

MODELS = ("svm.h5", "bbox.h5", "features.h5")


def write_other_network(path: Path) -> None:
    """Another seed, another stride (8, not 4), another number of channels and another normalisation."""
    torch.manual_seed(7)
    layers = (Layer("conv", 7, 2, 3, 12), Layer("maxpool", 3, 2), Layer("conv", 3, 2, 1, 20))
    normalisation = Normalisation((0.4, 0.4, 0.4), (0.3, 0.3, 0.3))
    architecture = Architecture("three-layers", layers, (3, 1), (16,), SHAPES, normalisation, 64)
    save_network(path, SppClassifier(architecture), {"seed": 7})


@pytest.fixture(scope="module")
def folders(trained: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with proposals.h5 and models in ``a`` (that of ``trained``) and ``b`` (another network and scales)."""
    from sppcli.cli.main import main

    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(trained.folder / "shapes", folder / "shapes")
    shutil.copy(trained.folder / "net.safetensors", folder)
    shutil.copy(trained.folder / "proposals.h5", folder)
    (folder / "a").mkdir()
    for name in MODELS:
        shutil.copy(trained.folder / name, folder / "a")
    write_other_network(folder / "other.safetensors")
    (folder / "b").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        options = ("--weights", "other.safetensors", "--scales", "128", "--precision", "fp32")
        assert main(["extract", "-q", *options, "-o", "b/features.h5"]) == 0
        for stage, name in (("train-svm", "svm.h5"), ("train-bbox", "bbox.h5")):
            assert main([stage, "-q", "--features", "b/features.h5", "-o", f"b/{name}"]) == 0
    return folder


@pytest.fixture
def two(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "two"
    shutil.copytree(folders, folder)
    monkeypatch.chdir(folder)
    return folder


def per_class(found: DetectionsFile) -> Iterator[tuple[str, int, npt.NDArray[np.float32]]]:
    """(image id, label, rows of x0 y0 x1 y1 score, best first) for every image and class."""
    one = found.detections
    for i, name in enumerate(one.image_ids):
        for label in range(len(one.classes)):
            rows = (one.image == i) & (one.label == label)
            values = np.concatenate([one.boxes[rows], one.scores[rows, None]], axis=1)
            yield name, label, values[np.lexsort(values.T)[::-1]]


def test_a_model_given_twice_detects_what_it_detects_alone(two: Path, run: Run) -> None:
    assert run("detect", "--model", "a", "-q", "-o", "alone.h5")[0] == 0
    assert run("detect", "--model", "a", "--model", "a", "-q", "-o", "twice.h5")[0] == 0
    alone, twice = read_detections(Path("alone.h5")), read_detections(Path("twice.h5"))
    assert len(alone.detections.scores) > 10
    for one, other in zip(per_class(alone), per_class(twice), strict=True):
        assert one[:2] == other[:2]
        assert np.array_equal(one[2], other[2])
    for name in MODELS:
        shutil.copy(Path("a") / name, name)
    assert run("detect", "-q", "-o", "here.h5")[0] == 0
    assert np.array_equal(read_detections(Path("here.h5")).detections.boxes, alone.detections.boxes)


def test_suppression_goes_over_the_union_of_scored_windows(two: Path, run: Run) -> None:
    """Against scores of either model worked out alone: what is kept is what greedy suppression leaves of both."""
    least = -1.2
    options = ("--no-bbox", "--min-score", str(least), "--max-per-image", "1000")
    assert run("detect", "--model", "a", "--model", "b", *options, "-q", "-o", "union.h5")[0] == 0
    found = read_detections(Path("union.h5"))
    scores: dict[str, dict[str, npt.NDArray[np.float32]]] = {}
    windows: dict[str, npt.NDArray[np.float32]] = {}
    for folder in ("a", "b"):
        svm = read_svm(Path(folder, "svm.h5"))
        with open_split(Path("proposals.h5"), Path(folder, "features.h5"), "test") as data:
            reader = window_reader(data.features.scales, svm.record, None)
            normaliser = Normaliser(svm.record.normalize, svm.record.factor)
            for row in data.images:
                name = data.image_id(row)
                windows[name] = data.windows(row)
                x = normaliser.apply(reader.features(data.maps(row), windows[name]))
                scores.setdefault(name, {})[folder] = x @ svm.weights.T + svm.biases
    assert set(found.detections.image_ids) == set(scores)
    seen = {"a": 0, "b": 0}
    for name, label, rows in per_class(found):
        union = np.concatenate([np.c_[windows[name], scores[name][folder][:, label]] for folder in ("a", "b")])
        owners = np.repeat(["a", "b"], len(windows[name]))
        for i in assert_suppressed(rows, union, 0.3, least):
            seen[owners[i]] += 1
    assert min(seen.values()) > 5  # both networks contribute


def test_each_window_is_corrected_by_the_regressor_of_its_own_network(two: Path, run: Run) -> None:
    Path("b/bbox.h5").unlink()
    options = ("--model", "a", "--model", "b", "--no-nms-again", "-q")
    assert run("detect", *options, "-o", "some.h5")[0] == 0
    assert run("detect", *options, "--no-bbox", "-o", "none.h5")[0] == 0
    some, none = (read_detections(Path(name)).detections for name in ("some.h5", "none.h5"))
    assert np.array_equal(some.scores, none.scores)
    moved = (some.boxes != none.boxes).any(axis=1)
    only = {}
    for folder in ("a", "b"):
        assert run("detect", "--model", folder, "--no-bbox", "--nms", "1", "--max-per-image", "9999", "-q")[0] == 0
        alone = read_detections(Path("detections.h5")).detections
        only[folder] = {
            (i, label, *box, score)
            for i, label, box, score in zip(
                alone.image, alone.label, map(tuple, alone.boxes.tolist()), alone.scores, strict=True
            )
        }
    keys = [
        (i, label, *box, score)
        for i, label, box, score in zip(
            none.image, none.label, map(tuple, none.boxes.tolist()), none.scores, strict=True
        )
    ]
    from_b = np.array([key in only["b"] for key in keys])
    assert from_b.any()
    assert not moved[from_b].any()
    assert moved[~from_b].mean() > 0.8


def test_new_images_get_what_the_same_images_of_the_data_set_get(two: Path, run: Run, trained: Work) -> None:
    image = trained.voc.splits["test"][0]
    both = ("--model", "a", "--model", "b", "--min-score", "-1.5")
    code, out, err = run("detect", f"shapes/JPEGImages/{image}.jpg", *both, "--format", "jsonl")
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert run("detect", *both, "--format", "jsonl", "-o", "all.jsonl")[0] == 0
    known = [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()]
    assert lines == [{**line, "path": f"{image}.jpg"} for line in known if line["image"] == image]
    assert lines


def test_the_file_names_both_models_and_evaluate_makes_it_again_from_them(two: Path, run: Run) -> None:
    assert run("detect", "--model", "a", "--model", "b", "-q")[0] == 0
    header = read_detections(Path("detections.h5")).header
    assert {"features", "features 2", "svm", "svm 2", "bbox", "bbox 2", "proposals"} <= set(header.inputs)
    assert header.inputs["svm 2"] == read_svm(Path("b/svm.h5")).header.fingerprint
    assert "up to date" in run("detect", "--model", "a", "--model", "b")[1]
    assert run("train-svm", "--features", "b/features.h5", "-o", "b/svm.h5", "--c", "0.02", "-q")[0] == 0
    code, out, err = run("evaluate", "--json")
    assert code == 0, err
    assert json.loads(out)["mAP"] > 0.5
    again = read_detections(Path("detections.h5")).header.inputs
    assert again["svm 2"] == read_svm(Path("b/svm.h5")).header.fingerprint != header.inputs["svm 2"]
    assert again["svm"] == header.inputs["svm"]


def test_models_of_other_proposals_or_classes_are_refused(two: Path, run: Run) -> None:
    both = ("--model", "a", "--model", "b")
    assert run("train-svm", "--features", "b/features.h5", "-o", "b/svm.h5", "--classes", "disc", "-q")[0] == 0
    code, _, err = run("detect", *both)
    assert code == 4
    assert "b/svm.h5" in err
    assert "classes" in err
    assert run("propose", "shapes", "--max-proposals", "40", "-q", "-o", "few.h5")[0] == 0
    few = ("--proposals", "few.h5", "--features", "b/features.h5")
    network = ("--weights", "other.safetensors", "--scales", "128", "--precision", "fp32")
    assert run("extract", "--proposals", "few.h5", *network, "-q", "-o", "b/features.h5")[0] == 0
    assert run("train-svm", *few, "-q", "-o", "b/svm.h5")[0] == 0
    assert run("train-bbox", *few, "-q", "-o", "b/bbox.h5")[0] == 0
    code, _, err = run("detect", *both)
    assert code == 4
    assert "b/features.h5" in err
    code, _, err = run("detect", "shapes/JPEGImages/000004.jpg", *both)
    assert code == 4
    assert "b/svm.h5" in err
    assert len(read_proposals(Path("few.h5")).boxes) > 0


def test_options_that_exclude_each_other(two: Path, run: Run) -> None:
    assert run("detect", "--model", "a", "--svm", "b/svm.h5")[0] == 2
    assert run("detect", "--model", "a", "--model", "b", "--weights", "net.safetensors", "x.jpg")[0] == 2
    code, _, err = run("detect", "--model", "a", "--model", "nowhere")
    assert code == 3
    assert "nowhere/svm.h5" in err
