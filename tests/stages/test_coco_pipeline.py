"""The commands on a COCO data set, and spp evaluate --coco beside pycocotools on the same files."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sppcli.artefacts.detections import read_detections
from sppcli.evaluation.coco_ap import STATS
from sppcli.structures import ImageRef
from tests.conftest import Voc
from tests.datasets.annotated_sets import image_file, write_coco_file
from tests.small_artefacts import write_detections
from tests.stages.conftest import SCALES, Run, Work


def renumber(folder: Path) -> None:
    """Image and category ids that nobody could guess; their order, in which means are summed, stays."""
    for path in folder.glob("*.json"):
        body = json.loads(path.read_text())
        for row in body["images"]:
            row["id"] += 1000
        for row in body["categories"]:
            row["id"] = 3 * row["id"] + 4
        for row in body["annotations"]:
            row["image_id"] += 1000
            row["category_id"] = 3 * row["category_id"] + 4
        path.write_text(json.dumps(body))


def pycocotools_stats(results: str) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO("coco/annotations/instances_test.json")
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def test_from_windows_to_ap_on_coco_files(work: Work, run: Run) -> None:
    assert run("convert", "shapes", "coco", "--to", "coco", "-q")[0] == 0
    path = Path("coco/annotations/instances_trainval.json")
    body = json.loads(path.read_text())
    # A crowd in a class of its own is nothing to train on.
    body["categories"].append({"id": 9, "name": "swarm"})
    body["annotations"].append(
        {"id": 999, "image_id": body["images"][0]["id"], "category_id": 9, "bbox": [0, 0, 90, 60], "iscrowd": 1}
    )
    path.write_text(json.dumps(body))
    for name in ("train", "val"):
        Path(f"coco/annotations/instances_{name}.json").unlink()
    renumber(Path("coco/annotations"))
    for name in ("proposals.h5", "features.h5", "svm.h5", "bbox.h5"):
        Path(name).unlink()
    assert run("propose", "coco", "-j", "1", "-q")[0] == 0
    code, _, err = run("extract", "-q", "--weights", "net.safetensors", "--scales", SCALES, "--precision", "fp32")
    assert code == 0, err
    code, out, err = run("train-svm", "-q")
    assert code == 0, err
    assert "swarm" not in out
    assert run("train-bbox", "-q")[0] == 0
    assert run("detect", "-q")[0] == 0
    code, out, err = run("evaluate", "--coco", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)

    truth = json.loads(Path("coco/annotations/instances_test.json").read_text())
    numbers = {Path(image["file_name"]).stem: image["id"] for image in truth["images"]}
    categories = {row["name"]: row["id"] for row in truth["categories"]}
    found = read_detections(Path("detections.h5")).detections
    rows = []
    for image, label, box, score in zip(found.image, found.label, found.boxes, found.scores, strict=True):
        x0, y0, x1, y1 = map(float, box)
        rows.append(
            {
                "image_id": numbers[found.image_ids[image]],
                "category_id": categories[found.classes[label]],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": float(score),
            }
        )
    Path("results.json").write_text(json.dumps(rows))
    stats = [-1 if result[name] is None else result[name] for name in STATS]
    assert stats == pycocotools_stats("results.json")
    assert 0.05 < result["AP"] < 1

    # The list that spp detect writes says the same, to COCO's tools and to spp.
    assert run("detect", "--format", "coco", "-o", "own.json", "-q")[0] == 0
    own = [{name: row[name] for name in rows[0]} for row in json.loads(Path("own.json").read_text())]
    assert sorted(own, key=str) == sorted(rows, key=str)
    assert stats == pycocotools_stats("own.json")
    code, out, err = run("evaluate", "coco", "--coco", "--results", "own.json", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == result
    # And its boxes can be imported as region proposals, whatever their images are called.
    code, out, err = run("propose", "coco", "--import", "own.json", "-o", "imported.h5", "-q")
    assert code == 0, err
    assert "outside the data set" not in err


def test_the_table_of_a_voc_data_set(make_voc: object, tmp_path: Path, run: Run) -> None:
    voc: Voc = make_voc(8, difficult_every=3)  # type: ignore[operator]
    found = {name: [(thing.label, thing.box, 0.5) for thing in voc.things[name]] for name in voc.splits["test"]}
    write_detections(tmp_path / "detections.h5", voc, found)
    code, out, err = run("evaluate", "--coco", "--detections", str(tmp_path / "detections.h5"))
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["class", "AP", "objects", "detections"]
    things = [thing for name in voc.splits["test"] for thing in voc.things[name]]
    for line in lines[1:4]:
        mine = [thing for thing in things if thing.label == line[0]]
        counted = sum(not thing.difficult for thing in mine)
        assert line[1:] == ["1.0000" if counted else "-", str(counted), str(len(mine))]
    assert lines[4] == ["mean", "1.0000"]
    assert lines[6] == list(STATS)
    assert out.endswith("coco, IoU 0.50:0.95, 2 images of test\n")


def test_result_files_of_others(tmp_path: Path, run: Run) -> None:
    """Categories 3 and 7, images 40 and 41 in two splits: ids as the files have them, not as we would number them."""
    names = {3: "cat", 7: "dog"}
    for number, split in ((40, "val"), (41, "test")):
        image_file(tmp_path / split / "a.jpg")
        rows = [{"image_id": number, "category_id": 7, "bbox": [1.5, 2, 20, 20], "area": 400, "iscrowd": 0}]
        path = tmp_path / "annotations" / f"instances_{split}.json"
        write_coco_file(path, [{"id": number, "file_name": "a.jpg", "width": 64, "height": 48}], rows, names)
    results = tmp_path / "results.json"
    # The same id in another split is another image.
    image_file(tmp_path / "train" / "b.jpg")
    rows = [{"id": 40, "file_name": "b.jpg"}]
    write_coco_file(tmp_path / "annotations" / "instances_train.json", rows, [], names)
    good = {"image_id": 40, "category_id": 7, "bbox": [1.5, 2, 20, 20], "score": 0.5}
    elsewhere = {"image_id": 41, "category_id": 3, "bbox": [1, 1, 5, 5], "score": 0.9}
    arguments = ["evaluate", str(tmp_path), "--coco", "--results", str(results), "--split"]
    results.write_text(json.dumps([good, elsewhere]))
    code, out, err = run(*arguments, "val", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["ap"]["dog"] == pytest.approx(1)
    assert json.loads(run(*arguments, "test", "--json")[1])["AP"] == 0
    for content, message in (
        ("{}", "is not a list of COCO results"),
        ("[", "is not JSON"),
        (json.dumps([{**good, "score": "x"}]), "entry 0 needs image_id"),
        (json.dumps([good, {**good, "image_id": 4}]), "entry 1: "),
        (json.dumps([{**good, "bbox": [1, 2, -3, 4]}]), "entry 0 has a bbox of negative width or height"),
        (json.dumps([{**good, "category_id": 4}]), "has no category of id 4"),
    ):
        results.write_text(content)
        code, _, err = run(*arguments, "val")
        assert code == 3
        assert str(results) in err
        assert message in err
    results.unlink()
    assert run(*arguments, "val")[0] == 3


def test_result_files_score_as_pycocotools_scores_them(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boxes and scores of many digits, half of them at an IoU of exactly 0.5, 0.6 or 0.75 in what the files say."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    names = {3: "cat", 7: "dog"}
    images, objects, found = [], [], []
    for number in range(1, 41):
        name = f"{number}.jpg"
        image_file(tmp_path / "coco" / "images" / name, (320, 240))
        images.append({"id": number, "file_name": name, "width": 320, "height": 240})
        for _ in range(int(rng.integers(1, 5))):
            digits = int(rng.integers(1, 15))
            x, y = (round(value, digits) for value in rng.uniform(0, 150, 2).tolist())
            width, height = (round(value, digits) for value in rng.uniform(10, 80, 2).tolist())
            category = int(rng.choice([3, 7]))
            of = {"image_id": number, "category_id": category}
            objects.append({**of, "bbox": [x, y, width, height], "area": width * height, "iscrowd": 0})
            share = float(rng.choice([0.5, 0.6, 0.75, rng.uniform(0.4, 1)]))
            # Scores that differ in the last digits only: in single precision they would be equal.
            score = 0.7 + float(rng.integers(0, 400)) * 1e-10
            found.append({**of, "bbox": [x, y, width * share, height], "score": score})
    write_coco_file(tmp_path / "coco" / "annotations" / "instances_test.json", images, objects, names)
    Path("results.json").write_text(json.dumps(found))
    code, out, err = run("evaluate", "coco", "--coco", "--split", "test", "--results", "results.json", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    stats = [-1 if result[name] is None else result[name] for name in STATS]
    assert stats == pytest.approx(pycocotools_stats("results.json"), rel=0, abs=1e-12)
    assert 0.1 < result["AP"] < 0.9


def test_results_go_by_the_ids_of_their_own_splits_file(tmp_path: Path, run: Run) -> None:
    """The two files number categories and images the other way round, as exports made one after the other do."""
    for split, numbers in (("train", {1: "cat", 2: "dog"}), ("val", {1: "dog", 2: "cat"})):
        for name in "ab":
            image_file(tmp_path / split / f"{name}{split}.jpg")
        images = [
            {"id": i, "file_name": f"{name}{split}.jpg", "width": 64, "height": 48} for i, name in enumerate("ab", 1)
        ]
        rows = [
            {"id": i, "image_id": i, "category_id": i, "bbox": [i, 2, 20, 20], "area": 400, "iscrowd": 0}
            for i in (1, 2)
        ]
        write_coco_file(tmp_path / "annotations" / f"instances_{split}.json", images, rows, numbers)
    results = tmp_path / "results.json"
    found = [{"image_id": i, "category_id": i, "bbox": [i, 2, 20, 20], "score": 0.5} for i in (1, 2)]
    results.write_text(json.dumps(found))
    arguments = ["evaluate", str(tmp_path), "--coco", "--results", str(results), "--json", "--split"]
    for split in ("train", "val"):
        code, out, err = run(*arguments, split)
        assert (code, err) == (0, "")
        assert json.loads(out)["ap"] == {"cat": pytest.approx(1), "dog": pytest.approx(1)}
    # Of both files together nobody knows which is meant.
    code, _, err = run(*arguments, "all")
    assert code == 3
    assert "instances_train.json" in err
    assert "instances_val.json" in err
    assert "give the image id 1 to 'train/atrain' and 'val/aval'" in err
    for wrong in (True, [1], "1", 1.5):
        results.write_text(json.dumps([{**found[0], "image_id": wrong}]))
        assert "has no image of id" in run(*arguments, "val")[2]


def test_files_and_folders_of_results_are_told_apart(voc: Voc, tmp_path: Path, run: Run) -> None:
    (tmp_path / "r.json").write_text("[]")
    code, _, err = run("evaluate", str(voc.root), "--results", str(tmp_path / "r.json"))
    assert code == 2
    assert "r.json is a file: with --coco it is scored as COCO's results, and VOC result files are given by" in err
    (tmp_path / "results").mkdir()
    image_file(tmp_path / "set" / "val" / "a.jpg")
    write_coco_file(
        tmp_path / "set" / "annotations" / "instances_val.json", [{"id": 1, "file_name": "a.jpg"}], [], {1: "cat"}
    )
    arguments = ("evaluate", str(tmp_path / "set"), "--coco", "--split", "val", "--results")
    code, _, err = run(*arguments, str(tmp_path / "results"))
    assert code == 2
    assert "results is a folder: --coco scores one file of COCO's results" in err


def test_voc_results_as_other_systems_save_them(voc: Voc, tmp_path: Path, run: Run) -> None:
    """Byte order marks and line ends of two characters are no part of an id; nor is the ending of a name."""
    name = voc.splits["test"][0]
    thing = voc.things[name][0]
    line = f"{{}} 0.9 {thing.box[0] + 1} {thing.box[1] + 1} {thing.box[2]} {thing.box[3]}"
    path = tmp_path / "results" / f"comp4_det_test_{thing.label}.txt"
    path.parent.mkdir()
    path.write_bytes(b"\xef\xbb\xbf" + f"{line.format(name)}\r\n".encode())
    arguments = ("evaluate", str(voc.root), "--results", str(path.parent), "--json")
    code, out, err = run(*arguments)
    assert code == 0, err
    assert json.loads(out)["ap"][thing.label] > 0
    path.write_text(line.format(f"{name}.jpg"))
    code, _, err = run(*arguments)
    assert code == 3
    assert f"{path}, line 1: image '{name}.jpg' is not among the images evaluated: an image's id has no ending" in err


def test_what_coco_and_ilsvrc_do_not_score(voc: Voc, tmp_path: Path, run: Run) -> None:
    code, _, err = run("evaluate", str(voc.root), "--coco", "--results", str(tmp_path / "results.json"))
    assert code == 2
    assert "is no COCO data set" in err
    code, _, err = run("evaluate", str(voc.root), "--ilsvrc", "--results", str(tmp_path))
    assert code == 2
    assert "--ilsvrc scores --detections" in err


def test_crowds_are_no_positives_and_what_lies_in_them_no_negative(
    work: Work, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crowd over the whole image leaves the other images' windows as the only negatives of its class."""
    from sppcli.learn.mining import ClassMiner
    from sppcli.stages import train_svm

    assert run("convert", "shapes", "coco", "--to", "coco", "-q")[0] == 0
    ids = [row["id"] for row in json.loads(Path("coco/annotations/instances_trainval.json").read_text())["images"]]
    for path in Path("coco/annotations").glob("*.json"):
        body = json.loads(path.read_text())
        category = next(row["id"] for row in body["categories"] if row["name"] == "disc")
        if any(row["id"] == ids[0] for row in body["images"]):
            body["annotations"].append(
                {"id": 999, "image_id": ids[0], "category_id": category, "bbox": [0, 0, 128, 96], "iscrowd": 1}
            )
        path.write_text(json.dumps(body))
    seen: dict[str, list[tuple[ImageRef, int]]] = {}
    add = ClassMiner.add

    def spy(self: ClassMiner, image: ImageRef, windows: np.ndarray, *features: np.ndarray) -> int:
        seen.setdefault(self.name, []).append((image, len(windows)))
        return add(self, image, windows, *features)

    monkeypatch.setattr(ClassMiner, "add", spy)
    plain = train_svm.run(Path("proposals.h5"), Path("features.h5"), Path("a.h5"), train_svm.TrainSvmConfig())
    assert any(windows for image, windows in seen["disc"] if image == ImageRef(0))
    seen.clear()
    crowd = train_svm.run(
        Path("proposals.h5"), Path("features.h5"), Path("b.h5"), train_svm.TrainSvmConfig(), dataset=Path("coco")
    )
    assert [row.positives for row in plain.classes] == [row.positives for row in crowd.classes]
    assert {windows for image, windows in seen["disc"] if image == ImageRef(0)} == {0}
    assert any(windows for image, windows in seen["square"] if image == ImageRef(0))
