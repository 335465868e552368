"""Result files: the golden ones, the round trip, ties, and every complaint."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sppcli.datasets import open_dataset
from sppcli.datasets.results.voc import read_results, result_classes, write_results
from sppcli.datasets.voc import from_voc, to_voc
from sppcli.errors import BadInput, MissingInput, UsageProblem
from sppcli.evaluation.voc_ap import evaluate_voc
from sppcli.structures import Detections, as_boxes

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture
def golden_tree(tmp_path):
    with zipfile.ZipFile(GOLDEN / "voc_synthetic_files.zip") as archive:
        archive.extractall(tmp_path)
    (tmp_path / "JPEGImages").mkdir()
    for annotation in (tmp_path / "Annotations").iterdir():
        (tmp_path / "JPEGImages" / f"{annotation.stem}.jpg").touch()
    return tmp_path


def test_golden_files_hold_the_golden_arrays(golden_tree):
    dataset = open_dataset([golden_tree])
    with np.load(GOLDEN / "voc_synthetic.npz") as golden:
        names, ids, det, gt = (golden[key] for key in ("class_names", "image_ids", "det", "gt"))
    classes = tuple(map(str, names))
    assert dataset.split("test") == tuple(map(str, ids))
    assert dataset.warnings == []
    found = read_results(golden_tree / "results", "test", image_ids=dataset.split("test"), classes=classes)
    for number in range(len(classes)):
        expected = det[det[:, 1] == number]
        expected = expected[np.argsort(-expected[:, 2], kind="stable")]
        rows = found.label == number
        np.testing.assert_array_equal(found.image[rows], expected[:, 0])
        np.testing.assert_array_equal(found.scores[rows], expected[:, 2].astype(np.float32))
        np.testing.assert_allclose(to_voc(found.boxes[rows]), expected[:, 3:], atol=2e-5)
    for number, image_id in enumerate(dataset.split("test")):
        rows = gt[gt[:, 0] == number]
        truth = dataset.annotations(image_id)
        np.testing.assert_array_equal(to_voc(truth.boxes), rows[:, 2:6])
        assert truth.labels == tuple(classes[int(label)] for label in rows[:, 1])
        np.testing.assert_array_equal(truth.difficult, rows[:, 6])


def test_golden_files_give_the_devkits_ap(golden_tree):
    dataset = open_dataset([golden_tree])
    ids = dataset.split("test")
    found = read_results(golden_tree / "results", "test", image_ids=ids)
    result = evaluate_voc(found, {i: dataset.annotations(i) for i in ids}, found.classes, "voc2010")
    with np.load(GOLDEN / "voc_synthetic.npz") as golden:
        expected = dict(zip(map(str, golden["class_names"]), golden["auc_octave"], strict=True))
    assert set(found.classes) == set(expected)
    for name, ap in result.ap.items():
        assert np.isnan(expected[name]) if ap is None else ap == pytest.approx(expected[name], abs=1e-12)


def some(boxes, scores, image=None, label=None, image_ids=("a", "b"), classes=("cat", "dog")):
    n = len(boxes)
    return Detections(
        image_ids,
        classes,
        np.array(image if image is not None else [0] * n, dtype=np.int64),
        np.array(label if label is not None else [0] * n, dtype=np.int64),
        as_boxes(boxes),
        np.array(scores, dtype=np.float32),
    )


def test_what_is_written(tmp_path):
    found = some([(0, 0, 10, 20), (0.5, 1.25, 10, 20)], [0.5, -1.25], image=[1, 0])
    paths = write_results(tmp_path / "new", found, "test")
    assert [path.name for path in paths] == ["comp4_det_test_cat.txt", "comp4_det_test_dog.txt"]
    assert paths[0].read_text() == "b 0.500000 1 1 10 20\na -1.250000 1.5 2.25 10 20\n"
    assert paths[1].read_text() == ""


coordinate = st.floats(-50, 3000, width=32)


@settings(deadline=None)
@given(
    st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), max_size=6),
    st.lists(st.floats(-30, 30, width=32), min_size=6, max_size=6),
)
def test_round_trip(tmp_path_factory, corners, scores):
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    given_rows = some(boxes, scores[: len(boxes)], label=[1] * len(boxes))
    folder = tmp_path_factory.mktemp("results")
    write_results(folder, given_rows, "val")
    read = read_results(folder, "val", image_ids=("a", "b"))
    order = np.argsort(-np.array([float(f"{score:.6f}") for score in given_rows.scores]), kind="stable")
    np.testing.assert_allclose(read.boxes, given_rows.boxes[order], rtol=0, atol=1e-6)
    np.testing.assert_allclose(read.scores, given_rows.scores[order], rtol=0, atol=1e-6)
    assert (read.image_ids, read.classes) == (given_rows.image_ids, given_rows.classes)


def test_law_of_the_two_conversions():
    boxes = as_boxes([(0, 0, 500, 375), (1.5, 2.25, 3, 4)])
    np.testing.assert_array_equal(from_voc(to_voc(boxes)), boxes)
    np.testing.assert_array_equal(to_voc(boxes[:1]), [[1, 1, 500, 375]])


def test_ties_keep_file_order_and_float32_makes_no_new_ones_matter(tmp_path):
    lines = ["a 0.5 1 1 2 2", "a 0.5 1 1 3 3", "a 0.9 1 1 4 4", "a 0.5 1 1 5 5"]
    # 100000.000001 and 100000.000002 are one float32, but the second counts first
    lines += ["a 100000.000001 1 1 6 6", "a 100000.000002 1 1 7 7"]
    (tmp_path / "comp4_det_test_cat.txt").write_text("\n".join(lines))
    read = read_results(tmp_path, "test", image_ids=["a"])
    assert read.boxes[:, 2].tolist() == [7, 6, 4, 2, 3, 5]


def test_layout_of_lines_and_classes(tmp_path):
    (tmp_path / "comp4_det_test_cat.txt").write_text("my photo 1 0.5 1 1 2 2\r\n\n  b\t0.4 1.5 1 2.5 2  \n")
    (tmp_path / "comp4_det_test_dining_table.txt").write_text("")
    (tmp_path / "comp4_det_val_dog.txt").write_text("garbage")
    read = read_results(tmp_path, "test", image_ids=["b", "my photo 1"])
    assert read.classes == ("cat", "dining_table") == result_classes(tmp_path, "test")
    assert read.image.tolist() == [1, 0]
    np.testing.assert_array_equal(read.boxes, as_boxes([(0, 0, 2, 2), (0.5, 0, 2.5, 2)]))
    chosen = read_results(tmp_path, "test", image_ids=["b", "my photo 1"], classes=["dog", "cat"])
    assert chosen.classes == ("dog", "cat")
    assert chosen.label.tolist() == [1, 1]


def test_comp3_is_read_where_there_is_no_comp4(tmp_path):
    (tmp_path / "comp3_det_test_cat.txt").write_text("a 0.5 1 1 2 2\n")
    assert len(read_results(tmp_path, "test", image_ids=["a"]).scores) == 1
    (tmp_path / "comp4_det_test_dog.txt").write_text("")
    assert read_results(tmp_path, "test", image_ids=["a"]).classes == ("dog",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a 0.5 1 1 2", r"expected <image id> <score> <xmin> <ymin> <xmax> <ymax>, found 'a 0.5 1 1 2'"),
        ("a high 1 1 2 2", "could not convert string to float: 'high'"),
        ("a nan 1 1 2 2", "not a finite number"),
        ("a 0.5 1 1 inf 2", "not a finite number"),
        ("a 0.5 9 1 2 2", "the box ends before it starts in 'a 0.5 9 1 2 2'"),
        ("00002 0.5 1 1 2 2", r"image '00002' is not among the images evaluated \(did you mean '000002'\?\)"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    path = tmp_path / "comp4_det_test_cat.txt"
    path.write_text(f"a 0.5 1 1 2 2\n\n{line}\n")
    with pytest.raises(BadInput, match=f"comp4_det_test_cat.txt, line 3: .*{message}"):
        read_results(tmp_path, "test", image_ids=["a", "000002"])


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "comp4_det_test_cat.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"comp4_det_test_cat\.txt cannot be read as a result file"):
        read_results(tmp_path, "test", image_ids=["a"])


def test_missing_folder_or_split(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    with pytest.raises(MissingInput, match=r"no folder of result files .*resuls \(did you mean 'results'\?\)"):
        read_results(tmp_path / "resuls", "test", image_ids=[])
    with pytest.raises(MissingInput, match=r"no result file of split 'test' .* nor of any other split"):
        read_results(folder, "test", image_ids=[])
    for name in ("comp4_det_val_cat.txt", "comp4_det_val_dog.txt", "comp4_det_trainval_cat.txt"):
        (folder / name).touch()
    with pytest.raises(
        MissingInput,
        match=r"no result file of split 'test' .* such as comp4_det_trainval_cat.txt, comp4_det_val_cat.txt:",
    ):
        result_classes(folder, "test")


def test_names_that_the_format_cannot_hold(tmp_path):
    box = [(0, 0, 1, 1)]
    with pytest.raises(UsageProblem, match="'a/b' cannot stand in the name"):
        write_results(tmp_path, some(box, [1], classes=("a/b",)), "test")
    with pytest.raises(UsageProblem, match="'' cannot stand in the name"):
        write_results(tmp_path, some(box, [1]), "")
    with pytest.raises(UsageProblem, match="image id 'a ' cannot stand"):
        write_results(tmp_path, some(box, [1], image_ids=("a ",)), "test")
    assert list(tmp_path.iterdir()) == []
