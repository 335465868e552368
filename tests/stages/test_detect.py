"""``spp detect``: new images, formats of results, and what result files score."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sppcli.artefacts.detections import read_detections
from tests.stages.conftest import Run, Work


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
    assert {json.loads(line)["image"] for line in out.splitlines()} == {"shapes/JPEGImages/000004"}
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
    assert len(records) == len(found.scores) > 10
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
