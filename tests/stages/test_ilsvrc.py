"""An ILSVRC folder through spp evaluate and spp propose, and every complaint about its files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sppcli.artefacts.calibration import HeldOutScores, write_calibration
from sppcli.artefacts.store import Header
from sppcli.datasets import open_dataset
from sppcli.datasets.ilsvrc import IlsvrcDataset
from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.structures import Calibration, ScoreMap
from tests.conftest import SHAPES, Voc, build_voc
from tests.small_artefacts import write_detections
from tests.stages.conftest import Run

WORDNET = {"disc": "n00000001", "square": "n00000002", "triangle": "n00000003"}


def build_ilsvrc(root: Path, task: str = "DET") -> Voc:
    """The drawn shapes in ILSVRC's layout: 0-based inclusive corners, WordNet ids, .JPEG."""
    voc = build_voc(root.parent / "made", 8)
    for image_id in voc.ids:
        folder = next(name for name in ("train", "val", "test") if image_id in voc.splits[name])
        name = f"{folder}/ILSVRC2013_train/{image_id}" if folder == "train" else f"{folder}/{image_id}"
        picture = root / "Data" / task / f"{name}.JPEG"
        picture.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(voc.image(image_id), picture)
        if folder == "test":
            continue
        objects = "".join(
            f"<object><name>{WORDNET[thing.label]}</name><bndbox>"
            f"<xmin>{thing.box[0]}</xmin><xmax>{thing.box[2] - 1}</xmax>"
            f"<ymin>{thing.box[1]}</ymin><ymax>{thing.box[3] - 1}</ymax></bndbox></object>"
            for thing in voc.things[image_id]
        )
        path = root / "Annotations" / task / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = "<size><width>128</width><height>96</height></size>"
        path.write_text(f"<annotation><folder>x</folder>{size}{objects}</annotation>")
    lists = root / "ImageSets" / task
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("".join(f"{name} {i}\n" for i, name in enumerate(voc.splits["val"], start=1)))
    (lists / "val1.txt").write_text(f"{voc.splits['val'][0]} 1\n")
    (lists / "train_1.txt").write_text(f"ILSVRC2013_train/{voc.splits['train'][0]} 1\n")
    (lists / "train_pos_2.txt").write_text("")
    return voc


def write_names(root: Path) -> Path:
    path = root / "devkit" / "data" / "map_det.txt"
    path.parent.mkdir(parents=True)
    path.write_text(
        "".join(f"{number} {i} {name}\n" for i, (name, number) in enumerate(WORDNET.items())) + "n00000004 4 eel\n"
    )
    return path


def test_splits_names_and_corners(tmp_path: Path) -> None:
    voc = build_ilsvrc(tmp_path / "ILSVRC")
    for source in (tmp_path, tmp_path / "ILSVRC", tmp_path / "ILSVRC/Data/DET"):
        dataset = open_dataset([source])
        assert (dataset.kind, len(dataset.images)) == ("ilsvrc", 8)
        assert dataset.split_names() == ("test", "train", "val", "val1")
        assert dataset.split("val1") == (f"val/{voc.splits['val'][0]}",)
        assert dataset.split("val") == tuple(f"val/{name}" for name in voc.splits["val"])
        assert dataset.classes == tuple(sorted(WORDNET.values()))
    for name in voc.splits["val"]:
        truth = dataset.annotations(f"val/{name}")
        assert truth.boxes.tolist() == [list(thing.box) for thing in voc.things[name]]
        assert truth.labels == tuple(WORDNET[thing.label] for thing in voc.things[name])
    with pytest.raises(MissingInput, match="has no annotation"):
        dataset.annotations(dataset.split("test")[0])
    write_names(tmp_path / "ILSVRC")
    named = open_dataset([tmp_path])
    assert isinstance(named, IlsvrcDataset)
    assert named.classes == ("disc", "eel", "square", "triangle")
    assert named.wordnet["eel"] == "n00000004"
    assert named.annotations(f"val/{name}").labels == tuple(thing.label for thing in voc.things[name])


def test_evaluate_with_a_blacklist(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "ILSVRC"
    voc = build_ilsvrc(root)
    write_names(root)
    found = {f"val/{name}": [(thing.label, thing.box, 0.5) for thing in voc.things[name]] for name in voc.splits["val"]}
    second = list(found)[1]
    label = found[second][0][0]
    found[second] = [row for row in found[second] if row[0] != label]
    write_detections(tmp_path / "detections.h5", voc, found)
    arguments = ["evaluate", str(root), "--ilsvrc", "--split", "val", "--detections", str(tmp_path / "detections.h5")]
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    counts = [sum(thing.label == label for thing in voc.things[name]) for name in voc.splits["val"]]
    assert result["ap"][label] == pytest.approx(counts[0] / sum(counts))
    blacklist = root / "devkit/data/ILSVRC2013_det_validation_blacklist.txt"
    blacklist.write_text(f"2 {WORDNET[label]}\n")
    code, out, _ = run(*arguments)
    assert code == 0
    assert out.endswith("ilsvrc (area), IoU by object size, 2 images of val, 1 pair blacklisted\n")
    assert out.splitlines()[-2].split() == ["mAP", "1.0000"]
    blacklist.write_text(f"{second.removeprefix('val/')} {WORDNET[label]}\n")
    assert run(*arguments)[1] == out
    # Of a calibrated detector, precision and recall leave the pair out too: its object, and a detection there.
    found[second].append((label, (0, 0, 5, 5), 0.4))
    write_detections(tmp_path / "detections.h5", voc, found)
    maps = tuple(ScoreMap("isotonic", np.array([[0.0, 0.0], [1.0, 1.0]])) for _ in SHAPES)
    held = HeldOutScores(np.zeros(1, np.int64), np.ones(1, np.float32), np.ones(1, np.bool_), np.ones(3, np.int64))
    config = {"at": "f1", "scores": "margin", "settings": {"min_score": 0.0}}
    calibration = Calibration(tuple(sorted(SHAPES)), maps, np.zeros(3))
    write_calibration(tmp_path / "calibration.h5", Header("calibration", config, {"svm": "ab" * 32}), calibration, held)
    at = json.loads(run(*arguments, "--json")[1])["at_threshold"]
    assert {name: one["precision"] for name, one in at["classes"].items() if one["objects"]}[label] == 1.0
    assert at["classes"][label]["objects"] == counts[0]
    assert at["all"]["recall"] == 1.0
    blacklist.unlink()
    at = json.loads(run(*arguments, "--json")[1])["at_threshold"]
    assert at["classes"][label]["objects"] == sum(counts)
    assert at["classes"][label]["precision"] == pytest.approx(counts[0] / (counts[0] + 1))
    blacklist.write_text("2\n")
    code, _, err = run(*arguments)
    assert code == 3
    assert f"{blacklist}, line 1: '2' is not an image and a WordNet id" in err


def test_propose_and_convert_take_it(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    build_ilsvrc(tmp_path / "ILSVRC")
    write_names(tmp_path / "ILSVRC")
    assert run("propose", "ILSVRC", "-j", "1", "--dry-run")[1].startswith("would search 8 of 8 images")
    assert run("convert", "ILSVRC", "coco", "--to", "coco", "-q")[0] == 0
    converted, original = open_dataset(["coco"]), open_dataset(["ILSVRC"])
    ids = original.split("train") + original.split("val")
    assert converted.annotation_digest(ids) == original.annotation_digest(ids)
    assert converted.declared == ("disc", "square", "triangle", "eel")


def test_localisation_through_the_command(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "ILSVRC"
    voc = build_ilsvrc(root, "CLS-LOC")
    (root / "LOC_synset_mapping.txt").write_text(
        "".join(f"{number} {name}, other\n" for name, number in WORDNET.items())
    )
    first, second = voc.splits["val"]
    thing = voc.things[first][0]
    x0, y0, x1, y1 = thing.box
    wrong = next(
        number
        for name, number in WORDNET.items()
        if name not in {t.label for t in voc.things[first]} or name != thing.label
    )
    path = tmp_path / "localisations.csv"
    path.write_text(
        f"ImageId,PredictionString\n{first},{wrong} 0 0 1 1 {WORDNET[thing.label]} {x0} {y0} {x1 - 1} {y1 - 1} \n"
        f"val/{second},\n"
    )
    arguments = ["evaluate", str(root), "--localization", str(path), "--split", "val"]
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split() == ["class", "and", "box", "1.0000", "0.5000"]
    assert out.splitlines()[-1] == "IoU 0.5, 2 images of val, 1 without a prediction"
    code, out, _ = run(*arguments, "--json")
    assert json.loads(out)["top5"] == 0.5
    assert run("evaluate", "--localization", str(path))[0] == 2
    for content, message in (
        ("nothing,a 0 0 1 1", "'nothing' is not one image of the split"),
        (f"{first},a 0 0 1", "found 4 fields"),
        (f"{first},{'a 0 0 1 1 ' * 6}", "found 30 fields"),
        (f"{first},a 0 0 1 x", "0 0 1 x is not xmin ymin xmax ymax"),
        (f"{first},a 9 0 1 1", "ends before it starts"),
        (f"{first},a 0 0 1 1\nval/{first},", "stands there twice"),
    ):
        path.write_text(content)
        code, _, err = run(*arguments)
        assert code == 3
        assert f"{path}, line " in err
        assert message in err


def test_complaints(tmp_path: Path) -> None:
    root = tmp_path / "ILSVRC"
    build_ilsvrc(root)
    path = write_names(root)
    path.write_text("disc\n")
    with pytest.raises(BadInput, match=r"map_det.txt, line 1: 'disc' is not a WordNet id and a name"):
        open_dataset([root])
    path.unlink()
    for part in ("Annotations", "Data"):
        shutil.copytree(root / part / "DET", root / part / "CLS-LOC")
    with pytest.raises(UsageProblem, match=r"holds two ILSVRC data sets: give .*Data/DET or .*Data/CLS-LOC"):
        open_dataset([root])
    assert len(open_dataset([root / "Data/CLS-LOC"]).images) == 8
    shutil.rmtree(root / "Data/DET")
    (root / "Data/DET").mkdir()
    with pytest.raises(MissingInput, match="holds no image: put train, val and test of ILSVRC DET there"):
        open_dataset([root / "Data/DET"])
